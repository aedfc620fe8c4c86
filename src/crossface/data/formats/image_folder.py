"""A directory of crops: one folder per identity, or flat and unlabelled."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from crossface.core.errors import DataError
from crossface.core.images import read_bytes
from crossface.data.formats.pictures import (
    HASH_LIMIT_BYTES,
    INDEX_NAME,
    Labels,
    StoredFaces,
    entries_digest,
    folder_identities,
    index_identities,
    is_picture,
    key_of,
    keys_of,
)


class ImageFolder(StoredFaces):
    """Crops in a directory tree; the rules are those of a zip of the same tree.

    With ``labels="auto"`` the identities come from ``index.csv`` at the root if there is one, else
    from the folders if pictures lie in at least two, else the set is unlabelled. Links to
    folders are not followed.

    Args:
        path: the directory.
        labels: "auto", or "none" for an unlabelled view.

    Raises:
        DataError: naming the directory: not one, no pictures, a name twice.
    """

    def __init__(self, path: str | Path, *, labels: Labels = "auto") -> None:
        self._path = Path(path)
        place = self._path.resolve().name
        if not self._path.is_dir():
            raise DataError(f"{self._path}: expected a folder of pictures")
        self._members = sorted(_picture_names(self._path), key=key_of)
        keys = keys_of(self._members, place=place)
        super().__init__(place, keys, self._find_identities(place, labels))

    def encoded(self, index: int) -> bytes:
        """The file's bytes.

        Raises:
            ImageError: missing, unreadable or too large.
        """
        return read_bytes(
            self._path / self._members[index], name=f"{self._name}: {self._keys[index]}"
        )

    def digest(self) -> str:
        """Hex sha256 of keys, sizes and CRCs: the same as that of a zip of the same tree.

        Above 4 GiB in all, times of change stand in for the CRCs, so that a cache of a large set
        does not begin with reading it whole.
        """
        stats = [(self._path / member).stat() for member in self._members]
        by_time = sum(stat.st_size for stat in stats) > HASH_LIMIT_BYTES
        return entries_digest(
            (key, stat.st_size, stat.st_mtime_ns if by_time else zlib.crc32(self.encoded(index)))
            for index, (key, stat) in enumerate(zip(self._keys, stats, strict=True))
        )

    def _find_identities(self, place: str, labels: Labels) -> list[str | None]:
        if labels == "none":
            return [None] * len(self._members)
        index = self._path / INDEX_NAME
        if not index.is_file():
            return folder_identities(self._members)
        try:
            text = index.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            raise DataError(f"{place}: {INDEX_NAME}: expected readable UTF-8 text") from None
        return index_identities(self._members, text, place=place)


def _picture_names(root: Path) -> list[str]:
    names = []
    for folder, _, files in os.walk(root):
        inside = Path(folder).relative_to(root)
        names += [(inside / file).as_posix() for file in files]
    return [name for name in names if is_picture(name)]
