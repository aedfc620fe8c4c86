"""InsightFace verification sets (``lfw.bin``, ``cfp_fp.bin``), read without unpickling anything."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from crossface.core.errors import DataError
from crossface.data.formats.opcodes import Value, read_plain
from crossface.data.formats.pair_list import Pair, PairList
from crossface.data.formats.pictures import Labels, StoredFaces

MAX_BYTES = 2 * 2**30
FOLDS = 10


class VerificationBin(StoredFaces):
    """Crops and pairs of a ``.bin``: a pickled pair (encoded pictures, same or not).

    Pictures 2i and 2i + 1 make pair i. Keys are positions ("000000"); nobody has an identity.

    Attributes:
        pairs: the pairs in ten consecutive folds, as InsightFace's evaluation cuts them.

    Args:
        path: the file.
        labels: taken for the sake of ``open_faces``; there are no identities to ignore.

    Raises:
        DataError: naming the file; for a stream that would call something, the opcode and byte.
    """

    def __init__(self, path: str | Path, *, labels: Labels = "auto") -> None:
        del labels
        place = Path(path)
        data = _read(place)
        self._digest = hashlib.sha256(data).hexdigest()
        self._pictures, same = _parts(read_plain(data, place=place.name), place.name)
        keys = [f"{index:06d}" for index in range(len(self._pictures))]
        super().__init__(place.name, keys, [None] * len(keys))
        folds = np.array_split(np.arange(len(same)), FOLDS)
        self.pairs = PairList(
            name=place.name,
            pairs=tuple(
                Pair(fold, keys[2 * row], keys[2 * row + 1], same[row])
                for fold, rows in enumerate(folds)
                for row in rows.tolist()
            ),
        )

    def encoded(self, index: int) -> bytes:
        """The picture's bytes."""
        return self._pictures[index]

    def digest(self) -> str:
        """Hex sha256 of the file."""
        return self._digest


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path.name}: expected at most {MAX_BYTES} bytes, got {size}")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror}") from None


def _parts(value: Value, place: str) -> tuple[list[bytes], list[bool]]:
    if not (isinstance(value, list | tuple) and len(value) == 2):
        raise DataError(f"{place}: expected a pair (pictures, same), got {_describe(value)}")
    pictures, same = value
    if not (isinstance(pictures, list | tuple) and isinstance(same, list | tuple)):
        raise DataError(
            f"{place}: expected two lists, got {_describe(pictures)} and {_describe(same)}"
        )
    if not same or len(pictures) != 2 * len(same):
        raise DataError(
            f"{place}: expected two pictures for each of {len(same)} pairs, got {len(pictures)}"
        )
    return (
        [_picture(item, f"{place}: picture {row}") for row, item in enumerate(pictures)],
        [_bool(item, f"{place}: pair {row}") for row, item in enumerate(same)],
    )


def _picture(item: Value, place: str) -> bytes:
    if not isinstance(item, bytes):
        raise DataError(f"{place}: expected an encoded picture, got {_describe(item)}")
    return item


def _bool(item: Value, place: str) -> bool:
    if not isinstance(item, int) or item not in (0, 1):
        raise DataError(f"{place}: expected True or False, got {_describe(item)}")
    return bool(item)


def _describe(value: Value) -> str:
    length = f" of {len(value)}" if not isinstance(value, int) else ""
    return f"{type(value).__name__}{length}"
