"""InsightFace RecordIO (``training.rec`` with ``training.idx``) in pure Python.

Format: dmlc-core ``recordio.h`` and mxnet ``recordio.py``. A record is ``magic, word, payload``,
padded to four bytes; the upper three bits of the word say whether the record is whole (0) or the
first (1), a middle (2) or the last (3) part of one that contained the magic, which was cut out. The
payload is a header ``flag, label, id, id2``, then ``flag`` float labels, then the picture.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.images import DEFAULT_LIMITS
from crossface.core.progress import track
from crossface.data.formats.pictures import Labels, StoredFaces, files_digest

MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_WORD = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_LENGTH_MASK = (1 << 29) - 1
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_MAX_LABELS = 1024
_HEAD_BYTES = _HEADER.size + 4 * _MAX_LABELS


class Record(NamedTuple):
    """One record: its labels (one, or ``flag`` many) and its payload behind them."""

    flag: int
    labels: tuple[float, ...]
    payload: bytes


class RecordIO(StoredFaces):
    """Crops in an InsightFace training set.

    Keys are the record numbers ("00000001"), identities the class numbers ("0000042"), padded so
    that their order is the numbers'. Record 0 with a flag is the set's own header and gives the
    number of pictures; the records of the identities behind them are not needed.

    Args:
        path: the ``.rec`` file; its ``.idx`` lies beside it.
        labels: "auto" reads every record's header once; "none" reads nothing ahead.

    Raises:
        DataError: naming the file and the place in it.
    """

    def __init__(self, path: str | Path, *, labels: Labels = "auto") -> None:
        super().__init__(Path(path).name, (), ())
        self._path = Path(path)
        self._index_path = self._path.with_suffix(".idx")
        self._bytes = self._map()
        numbers, offsets = _read_index(self._index_path)
        pictures = self._pictures(numbers, offsets)
        self._numbers, self._offsets = numbers[pictures], offsets[pictures]
        if not len(self._numbers):
            raise DataError(f"{self._path.name}: expected pictures, the index lists none")
        self._classes = None if labels == "none" else self._read_classes()

    def __len__(self) -> int:
        return len(self._numbers)

    def key(self, index: int) -> str:
        """Number of the record, eight digits."""
        return f"{self._numbers[index]:08d}"

    def identity(self, index: int) -> str | None:
        """Class number, seven digits; None for an unlabelled view."""
        return None if self._classes is None else f"{self._classes[index]:07d}"

    def encoded(self, index: int) -> bytes:
        """The picture's bytes.

        Raises:
            DataError: naming the file and the offset.
        """
        return self._record(int(self._offsets[index])).payload

    def digest(self) -> str:
        """Hex sha256 of both files; above 4 GiB size and time of change stand in for bytes."""
        return files_digest(self._path, self._index_path)

    def _pictures(
        self, numbers: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        first = np.flatnonzero(numbers == 0)
        if first.size:
            header = self._record(int(offsets[first[0]]))
            if header.flag > 0:
                return (numbers >= 1) & (numbers < header.labels[0])
        return np.ones(len(numbers), dtype=np.bool_)

    def _read_classes(self) -> npt.NDArray[np.int64]:
        classes = np.empty(len(self._offsets), dtype=np.int64)
        for row, offset in enumerate(track(self._offsets.tolist(), f"labels of {self._name}")):
            label = self._record(offset, head_only=True).labels[0]
            if not (math.isfinite(label) and label >= 0 and label == int(label)):
                raise self._bad(offset, f"expected a class number, got {label}")
            classes[row] = int(label)
        return classes

    def _record(self, offset: int, *, head_only: bool = False) -> Record:
        data = self._payload(offset, head_only=head_only)
        if len(data) < _HEADER.size:
            raise self._bad(offset, f"expected a header of 24 bytes, got {len(data)}")
        flag, label, _, _ = _HEADER.unpack_from(data)
        if flag == 0:
            return Record(0, (label,), data[_HEADER.size :])
        end = _HEADER.size + 4 * flag
        if flag > _MAX_LABELS or end > len(data):
            raise self._bad(offset, f"expected {flag} labels, the record has {len(data)} bytes")
        return Record(flag, struct.unpack_from(f"<{flag}f", data, _HEADER.size), data[end:])

    def _payload(self, offset: int, *, head_only: bool) -> bytes:
        parts: list[bytes] = []
        position, total = offset, 0
        while True:
            kind, length = self._word(position, first=not parts)
            start = position + _WORD.size
            total += length
            if start + length > len(self._bytes) or total > DEFAULT_LIMITS.max_bytes:
                raise self._bad(offset, f"{length} bytes are announced, the file ends or a limit")
            if head_only and kind == _WHOLE:
                return self._bytes[start : start + min(length, _HEAD_BYTES)]
            parts.append(self._bytes[start : start + length])
            if kind in (_WHOLE, _LAST):
                return _MAGIC_BYTES.join(parts)
            position = start + length + (-length % 4)

    def _word(self, position: int, *, first: bool) -> tuple[int, int]:
        if position < 0 or position + _WORD.size > len(self._bytes):
            raise self._bad(position, f"expected a record, the file has {len(self._bytes)} bytes")
        magic, word = _WORD.unpack_from(self._bytes, position)
        if magic != MAGIC:
            raise self._bad(position, f"expected the magic {MAGIC:#x}, got {magic:#x}")
        kind = word >> 29
        if kind not in ((_WHOLE, _FIRST) if first else (_MIDDLE, _LAST)):
            raise self._bad(position, f"a part of kind {kind} does not belong here")
        return kind, word & _LENGTH_MASK

    def _bad(self, offset: int, problem: str) -> DataError:
        return DataError(f"{self._path.name}: corrupt record at byte {offset}: {problem}")

    def _map(self) -> mmap.mmap:
        try:
            with self._path.open("rb") as stream:
                return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            raise DataError(f"{self._path.name}: expected a RecordIO file: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_bytes"]  # a worker process maps the file itself
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bytes = self._map()


def _read_index(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Record numbers and byte offsets of an ``.idx`` file, lines ``number<TAB>offset``."""
    numbers: list[int] = []
    offsets: list[int] = []
    try:
        with path.open(encoding="ascii") as stream:
            for line_number, line in enumerate(stream, start=1):
                number, offset = _index_line(line, f"{path.name}, line {line_number}")
                numbers.append(number)
                offsets.append(offset)
    except OSError as error:
        raise DataError(f"{path.name}: expected an index beside the .rec: {error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name}: expected lines 'number<TAB>offset', got bytes") from None
    return np.array(numbers, dtype=np.int64), np.array(offsets, dtype=np.int64)


def _index_line(line: str, place: str) -> tuple[int, int]:
    fields = line.split()
    if len(fields) == 2 and all(text.isdecimal() and len(text) < 19 for text in fields):
        return int(fields[0]), int(fields[1])
    raise DataError(f"{place}: expected 'number<TAB>offset', got {line.strip()[:60]!r}")
