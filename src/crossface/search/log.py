"""The audit log: every change of a gallery, each entry chained to the one before it.

An entry names people by pseudonyms: a HMAC (unkeyed: SHA-256) of a random id that is erased with
the person, so a removed person's entries lead nowhere. It carries the number of persons and
templates after the change, so a record edited behind the log's back is seen.

Changed, reordered or missing entries break the chain. Entries cut off at the end do not: they are
found by comparing with a head that was exported before. Without a key the chain is a plain
SHA-256: it shows accidents, and tampering only against an exported head.
"""

from __future__ import annotations

import hmac
import json
import sqlite3
from dataclasses import dataclass

from crossface.core.errors import GalleryError, UsageError
from crossface.search.keys import Cipher

_START = b"crossface gallery log 1"
_HEAD_PARTS = 2
_ROWS = "SELECT seq, CAST(entry AS TEXT), CAST(link AS BLOB) FROM log ORDER BY seq"


@dataclass(frozen=True, slots=True)
class LogHead:
    """The last entry of a log: number and link. Kept elsewhere, it proves nothing was cut off."""

    seq: int
    link: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.link}"

    @classmethod
    def parse(cls, text: str) -> LogHead:
        """A head from ``"seq:link"``.

        Raises:
            UsageError: if the text is not of that form.
        """
        parts = text.strip().split(":")
        if len(parts) != _HEAD_PARTS or not parts[0].isdecimal():
            raise UsageError(f"a log head is written NUMBER:HEX, got {text.strip()[:40]!r}")
        return cls(int(parts[0]), parts[1])


@dataclass(frozen=True, slots=True)
class LogCheck:
    """Answer to "is the log whole?"; ``problem`` is a sentence where it is not."""

    valid: bool
    entries: int
    head: LogHead
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One change. ``subject`` is a person's pseudonym, or None for the gallery itself."""

    seq: int
    time: str
    action: str
    subject: str | None
    detail: dict[str, str | int]
    persons: int
    templates: int


class AuditLog:
    """The log table of one gallery."""

    def __init__(self, db: sqlite3.Connection, cipher: Cipher, gallery_id: bytes) -> None:
        self._db = db
        self._cipher = cipher
        self._start = cipher.link(_START, gallery_id)

    def append(
        self,
        time: str,
        action: str,
        uid: bytes | None = None,
        *,
        persons: int = 0,
        templates: int = 0,
        detail: dict[str, str | int] | None = None,
    ) -> None:
        """Add an entry, inside the transaction of the change it tells of.

        Args:
            time: UTC, ISO 8601.
            action: what was done ("enroll").
            uid: the person's random id, None where the whole gallery is meant.
            persons: how many persons came (negative: went).
            templates: how many templates came (negative: went).
            detail: what else is worth knowing; nothing that identifies a person.
        """
        head, before = self._last()
        entry = {
            "seq": head.seq + 1,
            "time": time,
            "action": action,
            "subject": None if uid is None else self._cipher.pseudonym(uid),
            "detail": detail or {},
            "persons": before[0] + persons,
            "templates": before[1] + templates,
        }
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
        link = self._cipher.link(bytes.fromhex(head.link), text.encode())
        self._db.execute("INSERT INTO log VALUES (?, ?, ?)", (head.seq + 1, text, link))

    def head(self) -> LogHead:
        """Number and link of the last entry; 0 and the start of the chain where there is none."""
        row = self._db.execute(f"{_ROWS} DESC LIMIT 1").fetchone()
        return LogHead(0, self._start.hex()) if row is None else LogHead(row[0], row[2].hex())

    def _last(self) -> tuple[LogHead, tuple[int, int]]:
        row = self._db.execute(f"{_ROWS} DESC LIMIT 1").fetchone()
        if row is None:
            return self.head(), (0, 0)
        try:
            entry = json.loads(row[1])
            totals = (int(entry["persons"]), int(entry["templates"]))
        except (ValueError, KeyError, TypeError):
            raise GalleryError("the last log entry is damaged; see verify-log") from None
        return LogHead(row[0], row[2].hex()), totals

    def entries(self) -> list[LogEntry]:
        """All entries, oldest first."""
        rows = self._db.execute(_ROWS).fetchall()
        return [LogEntry(**json.loads(text)) for _, text, _ in rows]

    def check(self, expected: LogHead | None) -> LogCheck:
        """Walk the whole chain; ``expected`` is a head exported earlier."""
        rows = self._db.execute(_ROWS).fetchall()
        problem = self._broken(rows) or self._foreign_head(rows, expected) or self._drift(rows)
        return LogCheck(problem is None, len(rows), self.head(), problem)

    def _broken(self, rows: list[tuple[int, str, bytes]]) -> str | None:
        link = self._start
        for position, (seq, text, stored) in enumerate(rows, start=1):
            if seq != position:
                return f"entry {position} is missing"
            link = self._cipher.link(link, text.encode())
            if not hmac.compare_digest(link, stored) or f'"seq":{seq},' not in text:
                return f"entry {seq} was changed, moved or written with another key"
        return None

    def _foreign_head(
        self, rows: list[tuple[int, str, bytes]], expected: LogHead | None
    ) -> str | None:
        if expected is None:
            return None
        if expected.seq > len(rows):
            return f"entries {len(rows) + 1} to {expected.seq} were cut off"
        link = self._start if expected.seq == 0 else rows[expected.seq - 1][2]
        if not hmac.compare_digest(link.hex(), expected.link):
            return f"entry {expected.seq} is not the one whose head was exported"
        return None

    def _drift(self, rows: list[tuple[int, str, bytes]]) -> str | None:
        last = json.loads(rows[-1][1]) if rows else {"persons": 0, "templates": 0}
        told = (last["persons"], last["templates"])
        found = self._totals()
        if told == found:
            return None
        return (
            f"the log ends with {told[0]} persons and {told[1]} templates, "
            f"the record holds {found[0]} and {found[1]}"
        )

    def _totals(self) -> tuple[int, int]:
        row = self._db.execute(
            "SELECT (SELECT count(*) FROM persons), (SELECT count(*) FROM templates)"
        ).fetchone()
        return row[0], row[1]
