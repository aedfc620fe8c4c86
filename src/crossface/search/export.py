"""Exports: an inventory without names or vectors, or on request everything in plain text.

The inventory is a JSON document: ``format`` "crossface-gallery-inventory", ``version``, the
gallery's contracts, per person a pseudonym (that of the audit log), consent (yes or no), retention
date and templates (number, contract, quality, date), and the log with its head.

The plain export is an ``.npz`` without pickles: ``vectors`` (N, D) float32 a contract, named
``vectors_<contract id>``, ``template_<contract id>`` (N,) int64 template numbers, and ``people``,
a JSON document as UTF-8 bytes with names, consent notes and template numbers. It is written so
that only its owner can read it. What is exported is out of reach of a later erasure.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from crossface.core.files import atomic_path, write_json
from crossface.search.people import People
from crossface.search.records import Template
from crossface.search.store import Store

FORMAT_VERSION = 1


def write_inventory(store: Store, people: People, path: Path) -> None:
    """Write the inventory: no name, note or vector is in it."""
    document = {
        "format": "crossface-gallery-inventory",
        "version": FORMAT_VERSION,
        "encrypted": store.cipher.encrypted,
        "contracts": _contracts(store),
        "persons": [
            {
                "pseudonym": store.cipher.pseudonym(row.uid),
                "consent": person.consent is not None,
                "retain_until": _day(person.retain_until),
                "created": person.created,
                "templates": [_template(template) for template in person.templates],
            }
            for row, person in people.everybody()
        ],
        "log": [dataclasses.asdict(entry) for entry in store.log.entries()],
        "log_head": str(store.log.head()),
    }
    write_json(path, document)


def write_plain(store: Store, people: People, path: Path) -> None:
    """Write names and vectors in plain text."""
    contracts = _contracts(store)
    document = {
        "format": "crossface-gallery",
        "version": FORMAT_VERSION,
        "contracts": contracts,
        "persons": [
            {
                "name": person.name,
                "consent": person.consent,
                "retain_until": _day(person.retain_until),
                "created": person.created,
                "templates": [
                    _template(template) | {"note": template.note} for template in person.templates
                ],
            }
            for _, person in people.everybody()
        ],
    }
    text = json.dumps(document, ensure_ascii=False).encode()
    arrays: dict[str, Any] = {"people": np.frombuffer(text, dtype=np.uint8)}
    for contract_id in contracts:
        ids, _ = people.table_of([contract_id])
        arrays[f"template_{contract_id}"] = ids
        arrays[f"vectors_{contract_id}"] = people.vectors(ids)
    with atomic_path(path, private=True) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _contracts(store: Store) -> dict[str, Any]:
    return {
        contract_id: json.loads(text)
        for contract_id, text in store.rows("SELECT contract_id, json FROM contracts")
    }


def _template(template: Template) -> dict[str, Any]:
    return {
        "id": template.id,
        "contract_id": template.contract_id,
        "quality": template.quality,
        "created": template.created,
    }


def _day(day: Any) -> str | None:  # noqa: ANN401  # date or None
    return None if day is None else day.isoformat()
