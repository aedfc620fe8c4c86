"""The quality of each picture of a set: from a table, the embedding's length, or a measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError, ImageError
from crossface.core.progress import Progress
from crossface.core.protocols import FaceSource
from crossface.core.types import UInt8Image
from crossface.data.formats.csv_table import KEY_COLUMNS, picture_key, read_table
from crossface.evaluation.embed import EmbeddedFaces

QUALITY_COLUMN = "quality"
NORM = "embedding length"


@dataclass(frozen=True, slots=True)
class Quality:
    """How good each picture is, on any scale; higher is better.

    Attributes:
        name: of the measure, for the report.
        of: a picture's key to its quality.
    """

    name: str
    of: Mapping[str, float]

    def of_pictures(self, faces: EmbeddedFaces) -> npt.NDArray[np.float64]:
        """(N,) qualities of embedded pictures, in their order.

        Raises:
            DataError: naming the first picture without a quality.
        """
        missing = [key for key in faces.keys if key not in self.of]
        if missing:
            raise DataError(
                f"{self.name}: {missing[0]!r} of {faces.source_name} has no quality, "
                f"{len(missing)} of {len(faces.keys)} pictures have none"
            )
        return np.array([self.of[key] for key in faces.keys], dtype=np.float64)


def norm_quality(faces: EmbeddedFaces) -> Quality:
    """The length of the raw embedding, which many networks make longer for better pictures.

    Raises:
        DataError: if only unit embeddings are known.
    """
    if faces.norms is None:
        raise DataError(f"{faces.source_name}: the lengths of its embeddings are not known")
    return Quality(NORM, dict(zip(faces.keys, faces.norms.astype(float).tolist(), strict=True)))


def measure_quality(
    source: FaceSource, name: str, measure: Callable[[UInt8Image], float], *, progress: bool = True
) -> Quality:
    """The quality of every picture of a set that can be read.

    Args:
        source: aligned crops.
        name: of the measure.
        measure: (112, 112, 3) uint8 RGB crop to its quality.
        progress: show progress on stderr.

    Raises:
        DataError: naming the first picture whose quality is not a finite number.
    """
    found: dict[str, float] = {}
    with Progress(f"quality of {source.name}", len(source), enabled=progress) as bar:
        for index in range(len(source)):
            try:
                crop = source.read(index)
            except ImageError:
                continue  # it has no embedding either, and is counted there
            finally:
                bar.advance()
            found[source.key(index)] = _finite(measure(crop), f"{name} of {source.key(index)}")
    return Quality(name, found)


def read_quality(path: str | Path) -> Quality:
    """Read a CSV with the columns ``key`` (or file, picture, image, path) and ``quality``.

    Raises:
        DataError: naming the file, the line, what was expected and what came.
    """
    name = Path(path).name
    header, rows = read_table(path)
    keys = [column for column in KEY_COLUMNS if column in header]
    if not keys or QUALITY_COLUMN not in header:
        raise DataError(
            f"{name}, line 1: expected a column of pictures ({', '.join(KEY_COLUMNS)}) and one "
            f"named {QUALITY_COLUMN}, got {','.join(header)[:80]!r}"
        )
    key_at, quality_at = header.index(keys[0]), header.index(QUALITY_COLUMN)
    found: dict[str, float] = {}
    for line, row in rows:
        key = picture_key(row[key_at])
        if not key or key in found:
            came = "an empty cell" if not key else f"{key!r} again"
            raise DataError(f"{name}, line {line}: expected a picture, got {came}")
        found[key] = number(row[quality_at], f"{name}, line {line}: {QUALITY_COLUMN}")
    return Quality(name, found)


def number(text: str, what: str) -> float:
    """A finite number of a table's cell.

    Raises:
        DataError: saying what was expected and what came.
    """
    try:
        return _finite(float(text), what)
    except ValueError:
        raise DataError(f"{what}: expected a number, got {text!r}") from None


def _finite(value: float, what: str) -> float:
    if not math.isfinite(value):
        raise DataError(f"{what}: expected a finite number, got {value}")
    return float(value)
