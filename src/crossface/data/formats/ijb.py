"""IJB-B and IJB-C as InsightFace publishes their meta files: templates, pairs, galleries, probes.

Layout, with ``x`` for b or c::

    loose_crop/1.jpg ...                  faces cut out loosely, any size
    meta/ijbx_face_tid_mid.txt            picture, template, media       "1.jpg 1 69544"
    meta/ijbx_name_5pts_score.txt         picture, x1 y1 .. x5 y5, score of the detector
    meta/ijbx_template_pair_label.txt     template, template, 1 or 0     "1 11065 1"
    meta/ijbx_1N_gallery_G1.csv           TEMPLATE_ID,SUBJECT_ID,...     (S1, S2 in IJB-B)
    meta/ijbx_1N_probe_mixed.csv          TEMPLATE_ID,SUBJECT_ID,...

The CSV files are needed for 1:N only; where they are there, they name the subjects for 1:1 too.
"""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crossface.core.contract import InputSpec
from crossface.core.errors import DataError, ImageError
from crossface.core.geometry import align
from crossface.core.types import UInt8Image
from crossface.data.formats.pictures import Labels, files_digest, key_of
from crossface.data.formats.published import PublishedFaces, bad_line, read_lines

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

_GALLERIES = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}
_PROBES = "1N_probe_mixed"
_NAMES = {"ijbb": "IJB-B", "ijbc": "IJB-C"}


@dataclass(frozen=True, slots=True, eq=False)
class TemplatePairs:
    """Comparisons of templates.

    Attributes:
        a: (N,) number of the first template.
        b: (N,) number of the second.
        same: (N,) whether both show one person.
    """

    a: Int64Array
    b: Int64Array
    same: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Templates and whom they show.

    Attributes:
        templates: (N,) template numbers, ascending, each once.
        subjects: (N,) subject number of each.
    """

    templates: Int64Array
    subjects: Int64Array


class _Row(NamedTuple):
    picture: str
    template: int
    media: int


class IjbFaces(PublishedFaces):
    """The pictures of IJB-B or IJB-C, aligned by the published landmarks when read.

    Attributes:
        subset: "ijbb" or "ijbc".
        templates: (N,) int64 template of each picture.
        media: (N,) int64 media (a still, or one video) of each picture.
        detector_scores: (N,) float64 confidence of the detector in each picture.
        subjects: of the templates that the 1:N files name; empty without these files.

    Args:
        path: the folder that holds ``meta`` and ``loose_crop``.
        labels: "none" hides the subjects.

    Raises:
        DataError: naming the file and the line.
    """

    def __init__(self, path: str | Path, *, labels: Labels = "auto") -> None:
        root = Path(path)
        self._meta = root / "meta"
        self.subset = _subset(self._meta)
        pictures = root / "loose_crop"
        if not pictures.is_dir():
            raise DataError(f"{root.resolve().name}: expected a folder loose_crop beside meta")
        rows = _rows(self._file("face_tid_mid.txt"))
        self._landmarks_px, self.detector_scores = _landmarks(
            self._file("name_5pts_score.txt"), rows
        )
        self.templates = np.array([row.template for row in rows], dtype=np.int64)
        self.media = np.array([row.media for row in rows], dtype=np.int64)
        self.subjects = _all_subjects(self._subject_files())
        super().__init__(
            _NAMES[self.subset],
            pictures,
            [row.picture for row in rows],
            [key_of(row.picture) for row in rows],
            self._identities_of(labels),
        )

    def pairs(self) -> TemplatePairs:
        """The comparisons of the 1:1 protocol.

        Raises:
            DataError: naming the file and the line, or a template without pictures.
        """
        path = self._file("template_pair_label.txt")
        pairs = _template_pairs(path)
        known = np.unique(self.templates)
        for side in (pairs.a, pairs.b):
            missing = np.flatnonzero(~np.isin(side, known))
            if missing.size:
                raise DataError(
                    f"{path.name}, line {missing[0] + 1}: template {side[missing[0]]} has no "
                    f"picture in {self.subset}_face_tid_mid.txt"
                )
        return pairs

    def galleries(self) -> dict[str, Subjects]:
        """The galleries of the 1:N protocol by name, "G1" and "G2" ("S1" and "S2" in IJB-B)."""
        return {
            name: read_subjects(self._file(f"1N_gallery_{name}.csv"))
            for name in _GALLERIES[self.subset]
        }

    def probes(self) -> Subjects:
        """The mixed probes of the 1:N protocol."""
        return read_subjects(self._file(f"{_PROBES}.csv"))

    def read(self, index: int) -> UInt8Image:
        """(112, 112, 3) uint8 RGB, the loose crop warped by its five landmarks.

        Raises:
            ImageError: naming the picture.
        """
        picture = self.picture(index)
        try:
            return align(picture, self._landmarks_px[index], InputSpec())
        except ValueError as error:
            raise ImageError(f"{self._name}: {self.key(index)}: {error}") from None

    def digest(self) -> str:
        """Hex sha256 of the pictures and of the meta files that say how they are aligned."""
        meta = files_digest(self._file("face_tid_mid.txt"), self._file("name_5pts_score.txt"))
        return hashlib.sha256(f"{super().digest()} {meta}".encode()).hexdigest()

    def _file(self, name: str) -> Path:
        return self._meta / f"{self.subset}_{name}"

    def _subject_files(self) -> list[Path]:
        names = [f"1N_gallery_{name}.csv" for name in _GALLERIES[self.subset]]
        return [p for name in [*names, f"{_PROBES}.csv"] if (p := self._file(name)).is_file()]

    def _identities_of(self, labels: Labels) -> list[str | None]:
        if labels == "none" or not len(self.subjects.templates):
            return [None] * len(self.templates)
        known = dict(zip(self.subjects.templates.tolist(), self.subjects.subjects, strict=True))
        return [str(known[t]) if t in known else None for t in self.templates.tolist()]


def read_subjects(path: Path) -> Subjects:
    """The first two columns, template and subject, of a 1:N gallery or probe file.

    Rows repeat a template once per picture; the header's two names may be in any case.

    Raises:
        DataError: naming the file and the line, or a template with two subjects.
    """
    lines = read_lines(path)
    head = [name.strip().upper() for name in next(csv.reader(lines[:1]))]
    if head[:2] != ["TEMPLATE_ID", "SUBJECT_ID"]:
        raise bad_line(path, 1, "a header TEMPLATE_ID,SUBJECT_ID,...", lines[0])
    found: dict[int, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split(",", 2)
        try:
            template, subject = int(fields[0]), int(fields[1])
        except (ValueError, IndexError):
            raise bad_line(path, number, "template,subject as numbers", line) from None
        if found.setdefault(template, subject) != subject:
            raise bad_line(path, number, f"template {template} of subject {found[template]}", line)
    if not found:
        raise bad_line(path, 2, "a template", "the end of the file")
    return _subjects(found)


def _subjects(found: dict[int, int]) -> Subjects:
    templates = sorted(found)
    return Subjects(
        np.array(templates, dtype=np.int64),
        np.array([found[template] for template in templates], dtype=np.int64),
    )


def _all_subjects(paths: list[Path]) -> Subjects:
    found: dict[int, int] = {}
    for path in paths:
        part = read_subjects(path)
        for template, subject in zip(part.templates.tolist(), part.subjects.tolist(), strict=True):
            if found.setdefault(template, subject) != subject:
                raise DataError(
                    f"{path.name}: template {template} is subject {subject} here and subject "
                    f"{found[template]} in another file"
                )
    return _subjects(found)


def _subset(meta: Path) -> str:
    for subset in _GALLERIES:
        if (meta / f"{subset}_face_tid_mid.txt").is_file():
            return subset
    raise DataError(
        f"{meta.parent.resolve().name}: expected meta/ijbb_face_tid_mid.txt or "
        "meta/ijbc_face_tid_mid.txt"
    )


def _rows(path: Path) -> list[_Row]:
    rows = []
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        try:
            picture, template, media = fields[0], int(fields[1]), int(fields[2])
        except (ValueError, IndexError):
            raise bad_line(path, number, "'picture template media'", line) from None
        if "/" in picture or "\\" in picture or picture.startswith("."):
            raise bad_line(path, number, "the name of a picture in loose_crop", line)
        rows.append(_Row(picture, template, media))
    if len({row.picture for row in rows}) < len(rows):
        raise DataError(f"{path.name}: expected each picture once, some stand twice")
    return rows


def _landmarks(path: Path, rows: list[_Row]) -> tuple[Float64Array, Float64Array]:
    """(N, 5, 2) landmarks and (N,) detector scores, in the order of ``rows``."""
    lines = read_lines(path)
    if len(lines) != len(rows):
        raise DataError(
            f"{path.name}: expected {len(rows)} rows, one per picture, got {len(lines)}"
        )
    values = np.empty((len(rows), 11))
    for index, (line, row) in enumerate(zip(lines, rows, strict=True)):
        fields = line.split()
        if len(fields) != 12 or fields[0] != row.picture:
            wanted = f"'{row.picture} x1 y1 .. x5 y5 score'"
            raise bad_line(path, index + 1, wanted, line)
        try:
            values[index] = [float(field) for field in fields[1:]]
        except ValueError:
            raise bad_line(path, index + 1, "ten coordinates and a score", line) from None
    odd = np.flatnonzero(~np.isfinite(values).all(axis=1) | ~(values[:, 10] > 0))
    if odd.size:
        raise bad_line(path, int(odd[0]) + 1, "finite numbers and a score > 0", lines[odd[0]])
    return values[:, :10].reshape(-1, 5, 2), values[:, 10]


def _template_pairs(path: Path) -> TemplatePairs:
    """Read by numpy: IJB-C's list has 15.7 million lines."""
    if not path.is_file() or not path.stat().st_size:
        raise DataError(f"{path.name}: expected 'template template label' per line, got nothing")
    try:
        table = np.loadtxt(path, dtype=np.int64, ndmin=2, comments=None)
    except (ValueError, UnicodeDecodeError) as error:
        where = re.search(r"at row (\d+)", str(error))
        line = f", line {int(where[1]) + 1}" if where else ""
        raise DataError(
            f"{path.name}{line}: expected 'template template label' as numbers"
        ) from None
    if table.shape[1] != 3:
        raise DataError(f"{path.name}: expected three columns, got {table.shape[1]}")
    odd = np.flatnonzero((table[:, 2] != 0) & (table[:, 2] != 1))
    if odd.size:
        raise bad_line(path, int(odd[0]) + 1, "a label 0 or 1", " ".join(map(str, table[odd[0]])))
    return TemplatePairs(table[:, 0], table[:, 1], table[:, 2] == 1)
