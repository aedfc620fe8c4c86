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

_CHUNK_BYTES = 1 << 22

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
        """Whether any of these non-empty byte strings stands anywhere in the file."""
        if not pieces:
            return False
        overlap = max(map(len, pieces)) - 1
        position, before = 0, b""
        while block := os.pread(self._descriptor, _CHUNK_BYTES, position):
            window = before + block
            if any(piece in window for piece in pieces):
                return True
            position += len(block)
            before = window[-overlap:] if overlap else b""
        return False
