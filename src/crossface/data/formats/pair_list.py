"""Lists of pairs to verify: LFW's ``pairs.txt`` and CSV with ``fold,a,b,same``."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crossface.core.errors import DataError
from crossface.core.images import SUFFIXES

MAX_BYTES = 512 * 2**20
CSV_COLUMNS = ("fold", "a", "b", "same")
_TRUTH = {"1": True, "true": True, "0": False, "false": False}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures, by key, and whether they show one person."""

    fold: int
    a: str
    b: str
    same: bool


@dataclass(frozen=True, slots=True)
class PairList:
    """Pairs in the order of the file.

    ``a`` and ``b`` match ``FaceSource.key``: a path in the set without suffix
    ("Ann_Lee/Ann_Lee_0001").
    """

    name: str
    pairs: tuple[Pair, ...]

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def folds(self) -> tuple[int, ...]:
        """Fold numbers, sorted."""
        return tuple(sorted({pair.fold for pair in self.pairs}))


def read_pairs(path: str | Path) -> PairList:
    """Read a pair list.

    A file whose first line holds a comma is a CSV with the columns ``fold,a,b,same`` (``same`` as
    1, 0, true or false; others are ignored; a picture suffix is dropped). Any other is LFW's
    layout: a header ``folds<TAB>n``, or only ``n`` for one fold, then in each fold n lines
    ``name i j`` of one person and n lines ``name_1 i name_2 j`` of two.

    Raises:
        DataError: naming the file, the line, what was expected and what came.
    """
    place = Path(path)
    lines = _read(place).splitlines()
    if not lines:
        raise DataError(f"{place.name}, line 1: expected a header, got an empty file")
    pairs = _csv_pairs(lines, place.name) if "," in lines[0] else _lfw_pairs(lines, place.name)
    return PairList(name=place.name, pairs=tuple(pairs))


def _read(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path.name}: expected at most {MAX_BYTES} bytes, got {size}")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name}: expected a text file in UTF-8") from None


def _bad(name: str, line: int, expected: str, got: str) -> DataError:
    return DataError(f"{name}, line {line}: expected {expected}, got {got[:80]!r}")


def _csv_pairs(lines: list[str], name: str) -> list[Pair]:
    table = csv.DictReader(io.StringIO("\n".join(lines)))
    missing = [column for column in CSV_COLUMNS if column not in (table.fieldnames or [])]
    if missing:
        raise _bad(name, 1, f"the columns {','.join(CSV_COLUMNS)}", lines[0])
    pairs = [_csv_pair(row, name, table.line_num) for row in table]
    if not pairs:
        raise _bad(name, 2, "a pair", "the end of the file")
    return pairs


def _csv_pair(row: dict[str, str | None], name: str, line: int) -> Pair:
    fold, a, b, same = ((row[column] or "").strip() for column in CSV_COLUMNS)
    shown = f"{fold},{a},{b},{same}"
    if not (fold.isascii() and fold.isdecimal()):
        raise _bad(name, line, "a fold number", shown)
    if not a or not b:
        raise _bad(name, line, "two pictures", shown)
    if same.lower() not in _TRUTH:
        raise _bad(name, line, "same as 1, 0, true or false", shown)
    return Pair(int(fold), _key(a), _key(b), _TRUTH[same.lower()])


def _key(text: str) -> str:
    path = PurePosixPath(text)
    return path.with_suffix("").as_posix() if path.suffix.lower() in SUFFIXES else text


def _lfw_pairs(lines: list[str], name: str) -> list[Pair]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    folds, per_kind = _lfw_header(lines[0] if lines else "", name)
    body = lines[1:]
    expected = folds * 2 * per_kind
    if len(body) != expected:
        raise DataError(
            f"{name}, line {1 + min(len(body), expected)}: expected {expected} pairs "
            f"({folds} folds of {per_kind} + {per_kind}), got {len(body)}"
        )
    return [
        _lfw_pair(text, name, row + 2, row // (2 * per_kind), same=row // per_kind % 2 == 0)
        for row, text in enumerate(body)
    ]


def _lfw_header(text: str, name: str) -> tuple[int, int]:
    fields = text.split()
    numbers = [int(field) for field in fields if field.isascii() and field.isdecimal()]
    if len(numbers) != len(fields) or len(numbers) not in (1, 2) or min(numbers) < 1:
        raise _bad(name, 1, "a header 'folds<TAB>pairs' or 'pairs'", text)
    return (1, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def _lfw_pair(text: str, name: str, line: int, fold: int, *, same: bool) -> Pair:
    fields = text.split("\t") if "\t" in text else text.split()
    fields = [field.strip() for field in fields]
    wanted = "'name i j' of one person" if same else "'name_1 i name_2 j' of two people"
    if len(fields) != (3 if same else 4) or not all(fields):
        raise _bad(name, line, wanted, text)
    first, second = (fields[0], fields[0]) if same else (fields[0], fields[2])
    if not same and first == second:
        raise _bad(name, line, wanted, text)
    return Pair(
        fold,
        _lfw_key(first, fields[1], name, line),
        _lfw_key(second, fields[-1], name, line),
        same,
    )


def _lfw_key(person: str, number: str, name: str, line: int) -> str:
    if not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise _bad(name, line, "the number of a picture", number)
    return f"{person}/{person}_{int(number):04d}"
