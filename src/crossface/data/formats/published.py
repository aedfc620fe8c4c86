"""What readers of published benchmark layouts share: text files, and pictures named by them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from crossface.core.errors import DataError
from crossface.core.images import read_bytes
from crossface.data.formats.pictures import HASH_LIMIT_BYTES, StoredFaces, entries_digest

MAX_TEXT_BYTES = 2 * 2**30


def read_lines(path: Path) -> list[str]:
    """Lines of a UTF-8 text file without line ends; empty ones at the end are dropped.

    Raises:
        DataError: naming the file: missing, too large, not text, empty.
    """
    try:
        size = path.stat().st_size
        if size > MAX_TEXT_BYTES:
            raise DataError(f"{path.name}: expected at most {MAX_TEXT_BYTES} bytes, got {size}")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name}: expected a text file in UTF-8") from None
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError(f"{path.name}, line 1: expected rows, got an empty file")
    return lines


def bad_line(path: Path, number: int, expected: str, got: str) -> DataError:
    """The error for line ``number`` (from 1) of a text file."""
    return DataError(f"{path.name}, line {number}: expected {expected}, got {got[:80]!r}")


class PublishedFaces(StoredFaces):
    """Pictures of a benchmark in the layout in which it is published.

    A picture that a list names and the disk does not have is no error here: reading it raises an
    ``ImageError``, and the evaluation counts it as not acquired.

    Args:
        name: short name for messages.
        root: folder that ``members`` are relative to.
        members: a path per picture.
        keys: one per picture.
        identities: one per picture, None where unlabelled.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        members: Sequence[str],
        keys: Sequence[str],
        identities: Sequence[str | None],
    ) -> None:
        super().__init__(name, keys, identities)
        self._root = root
        self._members = tuple(members)

    def encoded(self, index: int) -> bytes:
        """The file's bytes.

        Raises:
            ImageError: missing, unreadable or too large.
        """
        place = f"{self._name}: {self._keys[index]}"
        return read_bytes(self._root / self._members[index], name=place)

    def digest(self) -> str:
        """Hex sha256 of keys, sizes and CRCs; a missing picture counts as empty.

        Above 4 GiB in all, times of change stand in for the CRCs.
        """
        paths = [self._root / member for member in self._members]
        stats = [path.stat() if path.is_file() else None for path in paths]
        by_time = sum(stat.st_size for stat in stats if stat is not None) > HASH_LIMIT_BYTES
        entries = []
        for key, path, stat in zip(self._keys, paths, stats, strict=True):
            if stat is None:
                entries.append((key, 0, 0))
            else:
                mark = stat.st_mtime_ns if by_time else zlib.crc32(path.read_bytes())
                entries.append((key, stat.st_size, mark))
        return entries_digest(entries)
