"""Persons and templates of a gallery: sealed on the way in, opened on the way out."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.errors import GalleryError
from crossface.core.types import FloatArray
from crossface.search.keys import Cipher
from crossface.search.records import Person, Template
from crossface.search.store import Store, now

IdArray = npt.NDArray[np.int64]

_UID_BYTES = 16
_CHUNK = 500
_BESIDE = 24
_TEMPLATES = "SELECT id, person, contract_id, quality, note, created FROM templates"
_PERSONS = "SELECT id, uid, name, consent, retain_until, created FROM persons"
_VECTOR = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class Row:
    """Where a person is: number, random id and name."""

    id: int
    uid: bytes
    name: str


@dataclass(frozen=True, slots=True)
class NewTemplate:
    """A vector to enrol with what is known about its picture."""

    vector: FloatArray
    quality: float | None
    note: str | None


class People:
    """The persons and templates tables of one store. Changes belong inside ``store.change()``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cipher: Cipher = store.cipher
        self._file = store.path.name

    def find(self, name: str) -> Row | None:
        """The person of this name, or None."""
        tag = self._cipher.tag(name)
        found = self._store.rows("SELECT id, uid FROM persons WHERE tag = ?", (tag,))
        return Row(found[0][0], bytes(found[0][1]), name) if found else None

    def add(self, name: str) -> Row:
        """A new person."""
        person_id = self._next_id("persons")
        row = Row(person_id, secrets.token_bytes(_UID_BYTES), name)
        self._store.db.execute(
            "INSERT INTO persons (id, uid, name, tag, created) VALUES (?, ?, ?, ?, ?)",
            (
                person_id,
                row.uid,
                self._cipher.seal(name.encode(), _about(b"name", person_id)),
                self._cipher.tag(name),
                now(),
            ),
        )
        return row

    def describe(self, row: Row, consent: str | None, retain_until: date | None) -> None:
        """Set what is given; what is None stays as it was."""
        if consent is not None:
            sealed = self._cipher.seal(consent.encode(), _about(b"consent", row.id))
            self._store.db.execute("UPDATE persons SET consent = ? WHERE id = ?", (sealed, row.id))
        if retain_until is not None:
            self._store.db.execute(
                "UPDATE persons SET retain_until = ? WHERE id = ?",
                (retain_until.isoformat(), row.id),
            )

    def add_templates(
        self, row: Row, contract_id: str, templates: Sequence[NewTemplate]
    ) -> list[int]:
        """Enrol vectors; returns their numbers, which are never used again."""
        first, created = self._next_id("templates"), now()
        ids = list(range(first, first + len(templates)))
        self._store.db.executemany(
            "INSERT INTO templates VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    template_id,
                    row.id,
                    contract_id,
                    self._cipher.seal(
                        new.vector.astype(_VECTOR).tobytes(),
                        _about(b"vector", row.id, template_id, contract_id),
                    ),
                    new.quality,
                    None
                    if new.note is None
                    else self._cipher.seal(new.note.encode(), _about(b"note", row.id, template_id)),
                    created,
                )
                for template_id, new in zip(ids, templates, strict=True)
            ],
        )
        return ids

    def delete(self, row: Row) -> tuple[list[bytes], IdArray]:
        """Remove a person with all templates.

        Returns:
            the stored bytes that must now be found nowhere, and the template numbers (N,).
        """
        needles, ids = self.delete_templates(row, self.template_ids(row))
        stored = self._store.rows(
            "SELECT uid, name, tag, consent FROM persons WHERE id = ?", (row.id,)
        )
        for uid, name, tag, consent in stored:
            # Columns lie side by side in the file: a short plain text alone could be anyone's.
            needles += [uid, name[-_BESIDE:] + tag + (consent or b"")[:_BESIDE]]
            if self._cipher.encrypted and consent is not None:
                needles.append(consent)
        self._store.db.execute("DELETE FROM persons WHERE id = ?", (row.id,))
        return needles, ids

    def delete_templates(self, row: Row, ids: IdArray) -> tuple[list[bytes], IdArray]:
        """Remove templates of one person; returns as ``delete``."""
        needles: list[bytes] = []
        for template_id in ids.tolist():
            for vector, note in self._store.rows(
                "SELECT vector, note FROM templates WHERE id = ? AND person = ?",
                (template_id, row.id),
            ):
                needles.append(vector)
                if self._cipher.encrypted and note is not None:
                    needles.append(note)
            self._store.db.execute(
                "DELETE FROM templates WHERE id = ? AND person = ?", (template_id, row.id)
            )
        return needles, ids

    def template_ids(self, row: Row, *, other_than: str | None = None) -> IdArray:
        """(N,) numbers of a person's templates, all or those of other contracts than one."""
        found = self._store.rows(
            "SELECT id FROM templates WHERE person = ? AND contract_id IS NOT ? ORDER BY id",
            (row.id, other_than),
        )
        return np.array([row[0] for row in found], dtype=np.int64)

    def table_of(self, contract_ids: Sequence[str]) -> tuple[IdArray, IdArray]:
        """Template numbers (N,), ascending, and their persons (N,), of some contracts."""
        marks = ",".join("?" * len(contract_ids))
        found = self._store.rows(
            f"SELECT id, person FROM templates WHERE contract_id IN ({marks}) ORDER BY id",  # noqa: S608  # only question marks
            tuple(contract_ids),
        )
        pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
        return pairs[:, 0].copy(), pairs[:, 1].copy()

    def vectors(self, ids: IdArray) -> FloatArray:
        """(N, D) float32 unit rows of the templates named, in that order.

        Raises:
            GalleryError: if one is missing or does not decrypt.
        """
        blocks = [
            self._some_vectors(ids[start : start + _CHUNK]) for start in range(0, len(ids), _CHUNK)
        ]
        return np.concatenate(blocks) if blocks else np.empty((0, 0), dtype=np.float32)

    def _some_vectors(self, ids: IdArray) -> FloatArray:
        wanted = ids.tolist()
        marks = ",".join("?" * len(wanted))
        found = self._store.rows(
            f"SELECT id, person, contract_id, vector FROM templates WHERE id IN ({marks})",  # noqa: S608  # only question marks
            tuple(wanted),
        )
        plain = {row[0]: self._plain_vector(row) for row in found}
        missing = [number for number in wanted if number not in plain]
        if missing:
            raise GalleryError(f"{self._file} no longer holds template {missing[0]}")
        rows = np.frombuffer(b"".join(plain[number] for number in wanted), dtype=_VECTOR)
        return rows.reshape(len(wanted), -1).astype(np.float32)

    def _plain_vector(self, row: tuple[int, int, str, bytes]) -> bytes:
        template_id, person_id, contract_id, box = row
        try:
            return self._cipher.unseal(box, _about(b"vector", person_id, template_id, contract_id))
        except GalleryError:
            raise GalleryError(
                f"{self._file}: template {template_id} does not decrypt, the file was changed or "
                "damaged; remove its person or restore a copy"
            ) from None

    def names(self, person_ids: Collection[int]) -> dict[int, str]:
        """Names by number."""
        wanted, names = list(person_ids), {}
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(part))
            for number, name in self._store.rows(
                f"SELECT id, name FROM persons WHERE id IN ({marks})",  # noqa: S608  # only question marks
                tuple(part),
            ):
                names[number] = self._text(name, _about(b"name", number))
        return names

    def overdue(self, today: date) -> list[Row]:
        """People whose last day of retention is before ``today``."""
        found = self._store.rows(
            "SELECT id, uid, name FROM persons WHERE retain_until < ? ORDER BY id",
            (today.isoformat(),),
        )
        return [
            Row(number, bytes(uid), self._text(name, _about(b"name", number)))
            for number, uid, name in found
        ]

    def everybody(self) -> Iterator[tuple[Row, Person]]:
        """All persons with their templates, in the order of enrolment."""
        templates: dict[int, list[Template]] = {}
        for row in self._store.rows(f"{_TEMPLATES} ORDER BY id"):
            templates.setdefault(row[1], []).append(self._template(row))
        for stored in self._store.rows(f"{_PERSONS} ORDER BY id"):
            number = stored[0]
            yield (
                Row(number, bytes(stored[1]), self._text(stored[2], _about(b"name", number))),
                self._person(stored, tuple(templates.get(number, ()))),
            )

    def person(self, row: Row) -> Person:
        """All that is known of one person, without vectors."""
        found = self._store.rows(f"{_TEMPLATES} WHERE person = ? ORDER BY id", (row.id,))
        stored = self._store.rows(f"{_PERSONS} WHERE id = ?", (row.id,))[0]
        return self._person(stored, tuple(self._template(template) for template in found))

    def _template(self, stored: Any) -> Template:  # noqa: ANN401  # a row of sqlite3
        template_id, person, contract_id, quality, note, created = stored
        text = None if note is None else self._text(note, _about(b"note", person, template_id))
        return Template(template_id, contract_id, quality, text, created)

    def _person(self, stored: Any, templates: tuple[Template, ...]) -> Person:  # noqa: ANN401  # a row of sqlite3
        number, _, name, consent, retain_until, created = stored
        return Person(
            name=self._text(name, _about(b"name", number)),
            templates=templates,
            consent=None if consent is None else self._text(consent, _about(b"consent", number)),
            retain_until=None if retain_until is None else date.fromisoformat(retain_until),
            created=created,
        )

    def _text(self, box: bytes, context: bytes) -> str:
        try:
            return self._cipher.unseal(bytes(box), context).decode()
        except (GalleryError, UnicodeDecodeError):
            raise GalleryError(
                f"{self._file}: a name or note does not decrypt, the file was changed or damaged"
            ) from None

    def _next_id(self, table: str) -> int:
        found = self._store.rows("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,))
        return int(found[0][0]) + 1 if found else 1


def _about(kind: bytes, person: int, template: int = 0, contract_id: str = "") -> bytes:
    """What a box is bound to: it opens nowhere else."""
    return kind + struct.pack(">qq", person, template) + contract_id.encode()
