"""Reading the bytes of a file that SQLite has open in this process.

POSIX drops all of a process's locks on a file as soon as it closes *any* descriptor of it, and
SQLite's safety between processes rests on those locks. So one descriptor per file is kept and
closed only after the last connection of this process is.

Source: sqlite.org/howtocorrupt.html, section 2.2.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from pathlib import Path

import numpy as np

PIECE_BYTES = 16

_WORD = 8
_CHUNK_BYTES = 1 << 22  # a whole number of words

_lock = threading.Lock()
_open: dict[tuple[int, int], tuple[int, int]] = {}
"""(device, inode) to (descriptor, how many stores use it)."""


class FileReader:
    """The bytes of one file, for as long as a connection to it is open."""

    def __init__(self, path: Path) -> None:
        status = path.stat()
        self._key = (status.st_dev, status.st_ino)
        with _lock:
            if self._key in _open:
                descriptor, users = _open[self._key]
            else:
                descriptor, users = os.open(path, os.O_RDONLY), 0
            _open[self._key] = (descriptor, users + 1)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the descriptor back; call it after the connection is closed."""
        with _lock:
            descriptor, users = _open.pop(self._key)
            if users > 1:
                _open[self._key] = (descriptor, users - 1)
            else:
                os.close(descriptor)

    def holds(self, pieces: Collection[bytes]) -> bool:
        """Whether any of these 16-byte pieces stands anywhere in the file.

        One pass, whatever their number: wherever a piece stands, an aligned word of the file lies
        whole inside it, so aligned words are looked up among the pieces' words.
        """
        if not pieces:
            return False
        wanted = _Wanted(frozenset(pieces))
        position, before = 0, b""
        while block := os.pread(self._descriptor, _CHUNK_BYTES, position):
            window = before + block
            if wanted.stands_in(window):
                return True
            position += len(block)
            before = window[-PIECE_BYTES:]
        return False


class _Wanted:
    """Pieces, and every word that can lie in them at the eight alignments."""

    def __init__(self, pieces: frozenset[bytes]) -> None:
        self._pieces = pieces
        starts = [piece[at : at + _WORD] for piece in pieces for at in range(_WORD)]
        self._words = np.unique(np.frombuffer(b"".join(starts), dtype="<u8"))
        self._possible = np.zeros(1 << 16, dtype=bool)
        self._possible[self._words.astype(np.uint16)] = True

    def stands_in(self, window: bytes) -> bool:
        """Whether a piece lies whole in these bytes, which start at a word of the file."""
        words = np.frombuffer(window + bytes(-len(window) % _WORD), dtype="<u8")
        maybe = np.flatnonzero(self._possible[words.astype(np.uint16)])
        found = maybe[np.isin(words[maybe], self._words)]
        return any(
            window[start : start + PIECE_BYTES] in self._pieces
            for end in (found * _WORD).tolist()
            for start in range(max(0, end - _WORD + 1), end + 1)
        )
