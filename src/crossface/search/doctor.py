"""What is wrong with a gallery: duplicate people, outliers, blurry enrolments, leftovers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np

from crossface.core.types import FloatArray
from crossface.search import erasure
from crossface.search.index import PersonIndex
from crossface.search.people import IdArray, People, Row
from crossface.search.records import Finding, Health, Person
from crossface.search.store import Store

_BLOCK = 256
_NEIGHBOURS = 8


def examine(
    store: Store,
    people: People,
    index: PersonIndex | None,
    *,
    similarity: float | None,
    min_quality: float | None,
    today: date,
) -> Health:
    """Look through a gallery.

    Args:
        store: the gallery file.
        people: its tables.
        index: its templates, None where one does not decrypt.
        similarity: the cosine from which two faces count as the same person; None does not look
            for duplicates and outliers.
        min_quality: the quality below which an enrolment is worth repeating; None does not look.
        today: the day retention dates are compared with.
    """
    findings, skipped = _of_the_file(store), []
    rows = list(people.everybody())
    for _, person in rows:
        findings += _of_the_person(person, store.enrolling().contract_id, min_quality, today)
    if min_quality is None:
        skipped.append("low-quality enrolments: no least quality was given")
    if index is None:
        skipped.append("duplicates and outliers: a template does not decrypt")
    elif similarity is None:
        skipped.append("duplicates and outliers: no card and no similarity was given")
    else:
        named = {row.id: person.name for row, person in rows}
        findings += _duplicates(index, named, similarity)
        findings += _outliers(rows, index, similarity)
    return Health(tuple(findings), tuple(skipped))


def _of_the_file(store: Store) -> list[Finding]:
    findings = []
    if not store.cipher.encrypted:
        findings.append(Finding("unencrypted", None, "names and templates stand in plain text"))
    if erasure.owed(store):
        findings.append(Finding("erasure-pending", None, "bytes of removed people may remain"))
    return findings


def _of_the_person(
    person: Person, contract_id: str, min_quality: float | None, today: date
) -> Iterator[Finding]:
    if person.retain_until is not None and person.retain_until < today:
        yield Finding("overdue", person.name, f"was to be kept until {person.retain_until}")
    for template in person.templates:
        if template.contract_id != contract_id:
            detail = f"made by contract {template.contract_id}"
            yield Finding("foreign", person.name, detail, template.id)
        if min_quality is not None and (template.quality or 0.0) < min_quality:
            told = "none" if template.quality is None else f"{template.quality:.3g}"
            detail = f"quality {told}, below {min_quality:g}"
            yield Finding("low-quality", person.name, detail, template.id)


def _duplicates(index: PersonIndex, named: dict[int, str], similarity: float) -> list[Finding]:
    closest: dict[tuple[int, int], float] = {}
    for ids, vectors in _blocks(index):
        owners = index.persons_of(ids)
        for owner, found in zip(
            owners.tolist(), index.nearest(vectors, _NEIGHBOURS, "max"), strict=True
        ):
            for other in found:
                if other.person != owner and other.similarity >= similarity:
                    pair = (min(owner, other.person), max(owner, other.person))
                    closest[pair] = max(closest.get(pair, -1.0), other.similarity)
    return [
        Finding(
            "duplicate",
            named[first],
            f"has a face as similar as {score:.3f} to one of {named[second]}",
            other=named[second],
            similarity=score,
        )
        for (first, second), score in sorted(closest.items(), key=lambda item: -item[1])
    ]


def _outliers(
    rows: list[tuple[Row, Person]], index: PersonIndex, similarity: float
) -> Iterator[Finding]:
    searchable = set(index.ids.tolist())
    for _, person in rows:
        ids = np.array([t.id for t in person.templates if t.id in searchable], dtype=np.int64)
        if len(ids) < 3:  # of two that disagree nobody knows which is wrong
            continue
        vectors = index.vectors(ids)
        others = vectors @ vectors.T
        np.fill_diagonal(others, -1.0)
        for template_id, nearest in zip(ids.tolist(), others.max(axis=1), strict=True):
            if nearest < similarity:
                detail = f"no other face of this person is closer than {nearest:.3f}"
                yield Finding(
                    "outlier", person.name, detail, template_id, similarity=float(nearest)
                )


def _blocks(index: PersonIndex) -> Iterator[tuple[IdArray, FloatArray]]:
    for start in range(0, len(index), _BLOCK):
        ids = index.ids[start : start + _BLOCK]
        yield ids, index.vectors(ids)
