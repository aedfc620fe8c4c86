"""Scores of a liveness detector on pictures of live people and of attacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crossface.core.errors import DataError
from crossface.core.files import sha256_file
from crossface.core.progress import Progress
from crossface.core.types import Failure
from crossface.data import open_faces
from crossface.data.formats.csv_table import KEY_COLUMNS, read_table
from crossface.data.formats.pictures import StoredFaces
from crossface.evaluation.liveness import LivenessScores
from crossface.pipeline.analysis import FaceAnalysis


class _Picture(NamedTuple):
    """Where a presentation's bytes are: a file, or a place in a source."""

    name: str
    kind: str
    file: Path | None
    place: int


@dataclass(frozen=True, slots=True)
class Presentations:
    """Photographs of live people and of attacks, each with its kind.

    Attributes:
        name: of the folder, zip or table.
        digest: hex sha256.
        pictures: what there is.
        source: where the bytes are, None where the pictures are files of a table.
    """

    name: str
    digest: str
    pictures: Sequence[_Picture]
    source: StoredFaces | None = None

    def read(self) -> Iterator[Path | bytes]:
        """Each picture as ``FaceAnalysis.get_many`` takes it."""
        for one in self.pictures:
            if one.file is not None:
                yield one.file
            elif self.source is not None:
                yield self.source.encoded(one.place)


def open_presentations(data: str | Path) -> Presentations:
    """Photographs by kind: ``live`` and one name for each kind of attack.

    Args:
        data: a folder or zip with a folder for each kind, ``live/...``, ``print/...``, as deep as
            one likes below; or a CSV with the columns ``file`` (or key, picture, image, path;
            below the CSV's own folder) and ``kind``.

    Raises:
        DataError: naming what does not fit.
    """
    if Path(data).suffix.lower() == ".csv":
        return _of_table(Path(data))
    source = open_faces(data)
    if not isinstance(source, StoredFaces):
        raise DataError(f"{data}: liveness needs photographs: a folder, a zip or a CSV")
    parts = [source.key(index).split("/") for index in range(len(source))]
    while all(len(one) > 2 for one in parts) and len({one[0] for one in parts}) == 1:
        parts = [one[1:] for one in parts]  # one folder around everything
    loose = ["/".join(one) for one in parts if len(one) < 2]
    if loose:
        raise DataError(
            f"{source.name}: expected a folder for each kind (live, print, ...), {loose[0]!r} lies "
            "in none"
        )
    pictures = [_Picture("/".join(one), one[0], None, at) for at, one in enumerate(parts)]
    return Presentations(source.name, source.digest(), pictures, source)


def score_liveness(
    analysis: FaceAnalysis, presentations: Presentations, *, model: str, progress: bool = True
) -> LivenessScores:
    """The liveness of the largest face of every picture.

    Args:
        analysis: with a detector and ``liveness``.
        presentations: the pictures.
        model: what to call the liveness networks.
        progress: show progress on stderr.

    Raises:
        ValueError: if the analysis has no liveness stage.
    """
    scores: dict[str, list[float]] = {}
    failures: list[Failure] = []
    lost: dict[str, int] = {}
    pictures = presentations.pictures
    with Progress(f"liveness of {presentations.name}", len(pictures), enabled=progress) as bar:
        answers = analysis.get_many(presentations.read())
        for one, faces in zip(pictures, answers, strict=True):
            bar.advance()
            if isinstance(faces, Failure) or not faces:
                reason = faces.reason if isinstance(faces, Failure) else "no face was found"
                failures.append(Failure(one.name, reason))
                lost[one.kind] = lost.get(one.kind, 0) + 1
                continue
            best = max(faces, key=lambda face: face.prominence)
            if best.liveness is None:
                raise ValueError("this analysis has no liveness stage")
            scores.setdefault(one.kind, []).append(best.liveness)
    kinds = {kind: np.array(found) for kind, found in scores.items()}
    return LivenessScores(model, presentations.name, presentations.digest, kinds, failures, lost)


def _of_table(path: Path) -> Presentations:
    header, rows = read_table(path)
    keys = [column for column in KEY_COLUMNS if column in header]
    if not keys or "kind" not in header:
        raise DataError(
            f"{path.name}, line 1: expected a column of pictures ({', '.join(KEY_COLUMNS)}) and "
            f"one named kind, got {','.join(header)[:80]!r}"
        )
    file_at, kind_at = header.index(keys[0]), header.index("kind")
    pictures: list[_Picture] = []
    for line, row in rows:
        file = path.parent / row[file_at]
        if not row[kind_at] or not file.is_file():
            came = f"no file {row[file_at]!r}" if row[kind_at] else "an empty kind"
            raise DataError(
                f"{path.name}, line {line}: expected a picture and its kind, got {came}"
            )
        pictures.append(_Picture(row[file_at], row[kind_at], file, len(pictures)))
    return Presentations(path.name, sha256_file(path), pictures)
