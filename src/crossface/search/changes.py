"""The transactions that change who is enrolled, each with its log entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from crossface.core.errors import ContractMismatch, GalleryError
from crossface.core.types import FloatArray
from crossface.search import erasure, migration
from crossface.search.door import Enrolling
from crossface.search.people import IdArray, NewTemplate, People, Row
from crossface.search.store import Store, now


@dataclass(frozen=True, slots=True, eq=False)
class Added:
    """A person's committed templates: numbers and (N, D) vectors."""

    row: Row
    ids: tuple[int, ...]
    vectors: FloatArray


class Changes:
    """Changes to one gallery by vectors of one model.

    Args:
        store: the gallery file.
        people: its tables.
        contract_id: the model whose vectors are enrolled.
    """

    def __init__(self, store: Store, people: People, contract_id: str) -> None:
        self._store = store
        self._people = people
        self._contract_id = contract_id

    def enroll(self, ready: Sequence[tuple[Enrolling, list[NewTemplate]]]) -> list[Added]:
        """Enrol everybody or, on an error, nobody.

        Raises:
            ContractMismatch: if the gallery enrols with another model.
        """
        done = []
        with self._store.change():
            self._check_contract()
            for person, templates in ready:
                known = self._people.find(person.name)
                row = known or self._people.add(person.name)
                self._people.describe(row, person.consent, person.retain_until)
                done.append(self._add(row, templates))
                self._store.log.append(
                    now(), "enroll", row.uid, persons=int(known is None), templates=len(templates)
                )
        return done

    def replace(
        self, name: str, templates: list[NewTemplate]
    ) -> tuple[Added, IdArray, list[bytes]]:
        """Give a person new templates and take the old ones away, all at once.

        Returns:
            what was added, the numbers (N,) taken away, and their stored bytes to erase.

        Raises:
            GalleryError: if nobody has this name.
            ContractMismatch: if the gallery enrols with another model.
        """
        with self._store.change():
            self._check_contract()
            row = self.known(name)
            needles, gone = self._people.delete_templates(row, self._people.template_ids(row))
            added = self._add(row, templates)
            self._store.log.append(
                now(), "re-enroll", row.uid, templates=len(templates) - len(gone)
            )
            migration.settle(self._store)
            erasure.owe(self._store)
        return added, gone, needles

    def remove(
        self, action: str, choose: Callable[[], Sequence[Row]]
    ) -> tuple[Sequence[Row], IdArray, list[bytes]]:
        """Remove the people chosen inside the transaction; returns as ``replace``."""
        needles: list[bytes] = []
        gone = [np.empty(0, dtype=np.int64)]
        with self._store.change():
            rows = choose()
            for row in rows:
                stored, ids = self._people.delete(row)
                needles += stored
                gone.append(ids)
                self._store.log.append(now(), action, row.uid, persons=-1, templates=-len(ids))
            if rows:
                migration.settle(self._store)
                erasure.owe(self._store)
        return rows, np.concatenate(gone), needles

    def known(self, name: str) -> Row:
        """The person of this name.

        Raises:
            GalleryError: if nobody has it.
        """
        row = self._people.find(name)
        if row is None:
            raise GalleryError(f"nobody named {name!r} is enrolled in {self._store.path.name}")
        return row

    def _add(self, row: Row, templates: list[NewTemplate]) -> Added:
        ids = self._people.add_templates(row, self._contract_id, templates)
        return Added(row, tuple(ids), np.stack([new.vector for new in templates]))

    def _check_contract(self) -> None:
        wanted = self._store.enrolling()
        if wanted.contract_id != self._contract_id:
            raise ContractMismatch(
                f"{self._store.path.name} enrols with {wanted.model_id} (contract "
                f"{wanted.contract_id}); contract {self._contract_id} may only search it"
            )
