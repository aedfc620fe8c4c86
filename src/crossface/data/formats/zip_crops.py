"""A zip of crops: read in place, never extracted, every member name checked first."""

from __future__ import annotations

import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

from crossface.core.errors import DataError
from crossface.core.images import DEFAULT_LIMITS, ImageLimits
from crossface.data.formats.pictures import (
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

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class ZipCrops(StoredFaces):
    """Crops in a zip, a folder per identity inside.

    With ``labels="auto"`` the identities come from ``index.csv`` at the root (columns ``file`` and
    ``identity``) if there is one; else from the folders if there are at least two; else the set
    is unlabelled. Other members are ignored.

    Args:
        path: the archive.
        labels: "auto", or "none" for an unlabelled view.
        limits: a larger member is refused before it is read.

    Raises:
        DataError: naming the archive and the member: not a zip, encrypted, an unsafe or
            repeated name, too large, no pictures.
    """

    def __init__(
        self, path: str | Path, *, labels: Labels = "auto", limits: ImageLimits = DEFAULT_LIMITS
    ) -> None:
        self._path = Path(path)
        self._limits = limits
        self._lock = threading.Lock()
        self._zip = self._open()
        infos = self._zip.infolist()
        _check_members(infos, self._path.name, limits)
        pictures = [info for info in infos if is_picture(info.filename)]
        pictures.sort(key=lambda info: key_of(info.filename))
        names = [info.filename for info in pictures]
        keys = keys_of(names, place=self._path.name)
        super().__init__(self._path.name, keys, self._find_identities(names, labels))
        self._members = names
        self._entries = [
            (key, info.file_size, info.CRC) for key, info in zip(keys, pictures, strict=True)
        ]

    def encoded(self, index: int) -> bytes:
        """The member's bytes, checked against its CRC.

        Raises:
            DataError: naming the archive and the member.
        """
        return self._member(self._members[index])

    def digest(self) -> str:
        """Hex sha256 of keys, sizes and CRCs in the archive's directory; nothing is decoded."""
        return entries_digest(self._entries)

    def _find_identities(self, names: list[str], labels: Labels) -> list[str | None]:
        if labels == "none":
            return [None] * len(names)
        if INDEX_NAME not in self._zip.namelist():
            return folder_identities(names)
        try:
            text = self._member(INDEX_NAME).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise DataError(f"{self._path.name}: {INDEX_NAME}: expected UTF-8 text") from None
        return index_identities(names, text, place=self._path.name)

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._path)
        except _BROKEN as error:
            raise DataError(f"{self._path.name}: expected a zip archive: {error}") from None

    def _member(self, name: str) -> bytes:
        try:
            with self._lock:  # one file position for all threads
                return self._zip.read(name)
        except _BROKEN as error:
            raise DataError(f"{self._path.name}: {name}: broken member: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_zip"], state["_lock"]  # a worker process opens its own
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._zip = self._open()

    def close(self) -> None:
        """Close the archive; reading again fails."""
        self._zip.close()


def _check_members(infos: list[zipfile.ZipInfo], place: str, limits: ImageLimits) -> None:
    seen: set[str] = set()
    for info in infos:
        name = info.orig_filename
        problem = _name_problem(name)
        if problem is None and name in seen:
            problem = "expected each name once"
        if problem is None and info.flag_bits & 1:
            problem = "expected an archive without encryption"
        if problem is None and info.file_size > limits.max_bytes:
            problem = f"expected at most {limits.max_bytes} bytes, got {info.file_size}"
        if problem is not None:
            raise DataError(f"{place}: member {name!r} refused: {problem}")
        seen.add(name)


def _name_problem(name: str) -> str | None:
    if "\\" in name or "\0" in name:
        return "expected '/' between folders, got a backslash or a zero byte"
    if name.startswith("/") or name[1:2] == ":":
        return "expected a name inside the archive, got an absolute one"
    if ".." in name.split("/"):
        return "expected a name inside the archive, got one with '..'"
    return None
