"""Tables that users write: a CSV file with a header, read whole and checked cell by cell."""

from __future__ import annotations

import csv
import io
from pathlib import Path, PurePosixPath

from crossface.core.errors import DataError
from crossface.core.images import SUFFIXES

KEY_COLUMNS = ("key", "file", "picture", "image", "path")
"""Names of the column that says which picture a row is about."""

MAX_BYTES = 512 * 2**20


def read_table(path: str | Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and (line, cells) of a CSV, cells stripped.

    Raises:
        DataError: naming the file, the line, what was expected and what came.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path.name}: expected at most {MAX_BYTES} bytes, got {size}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path.name}: expected a CSV file in UTF-8") from None
    reader = csv.reader(io.StringIO(text))
    try:
        header = [cell.strip() for cell in next(reader, [])]
        rows = [(reader.line_num, [c.strip() for c in row]) for row in reader if any(row)]
    except csv.Error as error:
        raise DataError(f"{path.name}, line {reader.line_num}: not CSV: {error}") from None
    if len(set(header)) < len(header) or not all(header):
        raise DataError(
            f"{path.name}, line 1: expected different column names, got {','.join(header)[:80]!r}"
        )
    for line, row in rows:
        if len(row) != len(header):
            raise DataError(
                f"{path.name}, line {line}: expected {len(header)} cells, got {len(row)}"
            )
    if not rows:
        raise DataError(f"{path.name}, line 2: expected a row, got the end of the file")
    return header, rows


def picture_key(text: str) -> str:
    """A picture's key from what a table calls it: without the suffix of a picture."""
    path = PurePosixPath(text)
    return path.with_suffix("").as_posix() if path.suffix.lower() in SUFFIXES else text
