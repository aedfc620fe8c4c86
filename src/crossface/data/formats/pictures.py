"""What all stored face sets share: keys, identities, decoding and the size check."""

from __future__ import annotations

import csv
import hashlib
import io
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from crossface.core.errors import DataError, ImageError
from crossface.core.files import sha256_file
from crossface.core.images import SUFFIXES, decode_image
from crossface.core.types import UInt8Image

Labels = Literal["auto", "none"]

CROP_HW = (112, 112)
INDEX_NAME = "index.csv"
HASH_LIMIT_BYTES = 4 * 2**30
"""Above this size a digest is made of sizes and times, not of bytes."""


class StoredFaces(ABC):
    """A ``FaceSource`` over encoded pictures; a subclass says where the bytes are.

    Args:
        name: short name for messages.
        keys: one per picture.
        identities: one per picture, None where unlabelled.
    """

    def __init__(self, name: str, keys: Sequence[str], identities: Sequence[str | None]) -> None:
        self._name = name
        self._keys = tuple(keys)
        self._identities = tuple(identities)

    @property
    def name(self) -> str:
        """Short name for messages."""
        return self._name

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        """Stable name of the picture inside the set."""
        return self._keys[index]

    def identity(self, index: int) -> str | None:
        """Identity of the picture, None where unlabelled."""
        return self._identities[index]

    @abstractmethod
    def encoded(self, index: int) -> bytes:
        """The picture's bytes as stored."""

    @abstractmethod
    def digest(self) -> str:
        """Hex sha256 that changes when keys or bytes change."""

    def picture(self, index: int) -> UInt8Image:
        """(H, W, 3) uint8 RGB of any size, for sets of photos that are not aligned yet.

        Raises:
            ImageError: naming the set and the picture.
        """
        return decode_image(self.encoded(index), name=f"{self._name}: {self.key(index)}")

    def read(self, index: int) -> UInt8Image:
        """(112, 112, 3) uint8 RGB.

        Raises:
            ImageError: naming the set and the picture, also when it has another size.
        """
        picture = self.picture(index)
        if picture.shape[:2] != CROP_HW:
            height, width = picture.shape[:2]
            raise ImageError(
                f"{self._name}: {self.key(index)}: expected an aligned 112x112 crop, "
                f"got {width}x{height}"
            )
        return picture


def is_picture(name: str) -> bool:
    """Whether a member is a picture by its suffix; hidden files and macOS leftovers are not."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def key_of(name: str) -> str:
    """The key of a picture: its path inside the set without the suffix."""
    return PurePosixPath(name).with_suffix("").as_posix()


def keys_of(names: Iterable[str], *, place: str) -> list[str]:
    """Keys of pictures in the same order.

    Raises:
        DataError: if there are none, or two names give one key.
    """
    keys = [key_of(name) for name in names]
    if not keys:
        raise DataError(f"{place}: expected pictures ({', '.join(SUFFIXES)}), found none")
    if len(set(keys)) != len(keys):
        twice = Counter(keys).most_common(1)[0][0]
        raise DataError(f"{place}: two pictures share the name {twice!r}")
    return keys


def folder_identities(names: Sequence[str]) -> list[str | None]:
    """Identity of each picture from its folder, where folders mean people.

    Pictures in at least two folders are labelled by them; a set that is flat or lies in one
    single folder ("train/1.webp") is unlabelled. A picture beside the folders has no identity.
    """
    parents = [PurePosixPath(name).parent.as_posix() for name in names]
    if len(set(parents)) < 2:
        return [None] * len(names)
    return [None if parent == "." else parent for parent in parents]


def index_identities(names: Sequence[str], text: str, *, place: str) -> list[str | None]:
    """Identity of each picture from an ``index.csv`` with the columns ``file`` and ``identity``.

    An empty identity means unlabelled. A header without ``identity`` makes all unlabelled.

    Raises:
        DataError: if the header has no ``file``, or a picture is not listed.
    """
    table = csv.DictReader(io.StringIO(text))
    columns = table.fieldnames or []
    if "file" not in columns:
        raise DataError(f"{place}: {INDEX_NAME}: expected a column 'file', got {list(columns)}")
    if "identity" not in columns:
        return [None] * len(names)
    listed = {row["file"]: row["identity"] or None for row in table}
    for name in names:
        if name not in listed:
            raise DataError(f"{place}: {INDEX_NAME}: the picture {name} is not listed")
    return [listed[name] for name in names]


def entries_digest(entries: Iterable[tuple[str, int, int]]) -> str:
    """Hex sha256 of (key, size in bytes, CRC-32) triples, in any order."""
    digest = hashlib.sha256()
    for key, size, crc in sorted(entries):
        digest.update(f"{key}\x1f{size}\x1f{crc:08x}\x1e".encode())
    return digest.hexdigest()


def files_digest(*paths: Path) -> str:
    """Hex sha256 of the bytes of files, in order.

    Above ``HASH_LIMIT_BYTES`` a file's size and time of change stand in for its bytes.
    """
    digest = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        large = stat.st_size > HASH_LIMIT_BYTES
        part = f"{stat.st_size} {stat.st_mtime_ns}" if large else sha256_file(path)
        digest.update(f"{part}\x1e".encode())
    return digest.hexdigest()
