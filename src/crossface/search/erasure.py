"""Erasure that reaches the bytes of the gallery's files.

Deleting a row overwrites it (secure_delete), but older page images stand in the write-ahead log,
and rebalancing of a b-tree can leave a stale copy of a row in a page's unused gap. So after the
deletion is committed the log is truncated, the file is searched for what was deleted, and rebuilt
(VACUUM) where a copy is found. A count in the file says what is still owed, so a crash in
between is made good when the gallery is opened again.

Out of reach: exports made before, copies and snapshots of the file, and the free blocks of the
file system and of the disk below it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from crossface.core.errors import GalleryError
from crossface.search.readers import PIECE_BYTES
from crossface.search.store import Store

_MARK = "erasure_pending"
_STRIDE = 64
_WAIT_MS = 500
_BUSY_MS = 30_000


def owe(store: Store) -> None:
    """Count one more deletion, inside its transaction, whose bytes are still to be erased."""
    store.set_meta(_MARK, str(owed(store) + 1).encode())


def owed(store: Store) -> int:
    """How many deletions still wait for erasure, of all processes."""
    value = store.meta_or_none(_MARK)
    return 0 if value is None else int(value)


class Eraser:
    """What this process still has to erase from one gallery's files."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._needles: list[bytes] = []
        self._mine = 0

    @property
    def waits(self) -> bool:
        """Whether a deletion of this process is not erased yet."""
        return self._mine > 0

    def erase(self, needles: list[bytes]) -> str | None:
        """Erase the stored bytes of a deletion that is committed; returns as ``finish``."""
        self._needles += needles
        self._mine += 1
        return self.finish()

    def finish(self) -> str | None:
        """Make the bytes of committed deletions vanish from the gallery's files.

        Where more deletions are owed than are this process's own (another one crashed), what they
        deleted is not known any more and the file is rebuilt.

        Returns:
            None when done, else why it waits.
        """
        store = self._store
        if not self._mine and not owed(store):
            return None
        store.rows(f"PRAGMA busy_timeout={_WAIT_MS}")
        try:
            reason = self._finish(store)
        except (sqlite3.Error, GalleryError) as error:
            return f"erasure pending: {error}"
        finally:
            store.rows(f"PRAGMA busy_timeout={_BUSY_MS}")
        if reason is None:
            self._needles, self._mine = [], 0
        return reason

    def _finish(self, store: Store) -> str | None:
        waits = "erasure pending: another process is using the gallery"
        total = owed(store)
        rebuild = total > self._mine
        if rebuild:
            store.db.execute("VACUUM")
        if not _truncated(store):
            return waits
        if not rebuild and store.reader.holds(_pieces(self._needles)):
            store.db.execute("VACUUM")
            if not _truncated(store):
                return waits
        with store.change():
            left = owed(store) - total
            store.set_meta(_MARK, str(left).encode() if left > 0 else None)
        return None


def _truncated(store: Store) -> bool:
    busy, _, _ = store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def _pieces(needles: Iterable[bytes]) -> set[bytes]:
    """Pieces from all over each: a stale copy may have lost its beginning or its end."""
    pieces = set()
    for needle in needles:
        last = len(needle) - PIECE_BYTES
        pieces |= {needle[at : at + PIECE_BYTES] for at in (*range(0, last, _STRIDE), last)}
    return pieces
