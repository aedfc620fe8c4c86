"""Faces to paste: aligned crops with a detector's labels, and drawn people."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from crossface.core.errors import DataError
from crossface.core.geometry import Float64Array, apply_transform, umeyama
from crossface.core.protocols import FaceSource
from crossface.core.template import ARCFACE_POINTS_112
from crossface.core.types import FloatArray, UInt8Image
from crossface.data.drawn import DrawnFaces
from crossface.data.scenes.labels import CropLabels

FACE_ELLIPSE_112 = (57.5, 63.5, 41.5, 53.5)
"""Centre x, y and half axes of the ellipse in a face's box, in px of the ArcFace template: the
median box of RetinaFace and YuNet on FairFace crops, forehead to chin."""

_CROPS_KEPT = 20_000  # pictures of 112x112x3 bytes: 750 MB
_DRAWN_KEPT = 2048  # pictures of 160x160x3 bytes: 160 MB


@dataclass(frozen=True, slots=True, eq=False)
class FaceCut:
    """A picture of one face, to be pasted.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        points: (5, 2) float64 px: viewer's left eye, right eye, nose tip, mouth corners.
        ellipse: (4,) float64 px: centre x, y and half axes of the ellipse in the face's box.
        angles: (3,) float64 degrees: yaw, pitch, roll as in ``core.types.Pose``.
        whole_head: whether hair, ears and neck are there, so that all of it may be pasted.
    """

    image: UInt8Image
    points: Float64Array
    ellipse: Float64Array
    angles: Float64Array
    whole_head: bool

    def mirrored(self) -> FaceCut:
        """The face in a mirror: left is right, it looks and leans to the other side."""
        last = self.image.shape[1] - 1  # points count from the middle of the first pixel
        points = self.points[[1, 0, 2, 4, 3]].copy()
        points[:, 0] = last - points[:, 0]
        ellipse = self.ellipse.copy()
        ellipse[0] = last - ellipse[0]
        return FaceCut(
            np.ascontiguousarray(self.image[:, ::-1]),
            points,
            ellipse,
            self.angles * [-1, 1, -1],
            self.whole_head,
        )


class Cuts(Protocol):
    """Faces by position."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> FaceCut:
        """One face; IndexError beyond the end."""
        ...


class LabelledCrops:
    """Aligned crops of a set, with the labels that detectors gave them; decoded once.

    Args:
        source: the set.
        labels: of some of its crops.

    Raises:
        DataError: if the labels are those of another set.
    """

    def __init__(self, source: FaceSource, labels: CropLabels) -> None:
        if labels.source_digest != source.digest():
            raise DataError(f"{source.name}: the labels are those of another set of crops")
        self._source, self._labels = source, labels
        self._read = lru_cache(maxsize=_CROPS_KEPT)(self._source.read)

    def __len__(self) -> int:
        return len(self._labels)

    def read(self, index: int) -> FaceCut:
        """The crop with its labels."""
        labels = self._labels
        x1, y1, x2, y2 = labels.boxes[index].astype(np.float64)
        return FaceCut(
            self._read(int(labels.rows[index])),
            labels.points[index].astype(np.float64),
            np.array([(x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2, (y2 - y1) / 2]),
            labels.angles[index].astype(np.float64),
            whole_head=False,
        )


class DrawnCuts:
    """Drawn people as faces to paste, true landmarks and pose; the newest pictures are kept."""

    def __init__(self, faces: DrawnFaces) -> None:
        self._faces = faces
        self._read = lru_cache(maxsize=_DRAWN_KEPT)(self._draw)

    def __len__(self) -> int:
        return len(self._faces)

    def read(self, index: int) -> FaceCut:
        """The whole picture of a drawn person."""
        return self._read(index)

    def _draw(self, index: int) -> FaceCut:
        drawn = self._faces.picture(index)
        points = drawn.kps_px.astype(np.float64)
        pose = drawn.pose
        return FaceCut(
            drawn.image,
            points,
            ellipse_of(points),
            np.array([pose.yaw_deg, pose.pitch_deg, pose.roll_deg]),
            whole_head=True,
        )


def ellipse_of(points: FloatArray | Float64Array) -> Float64Array:
    """(4,) centre and half axes for five landmarks: the template's ellipse, moved and scaled."""
    matrix = umeyama(ARCFACE_POINTS_112, points)
    x, y, half_x, half_y = FACE_ELLIPSE_112
    (centre,) = apply_transform(matrix, [(x, y)])
    scale = float(np.hypot(*matrix[:, 0]))
    return np.array([*centre, half_x * scale, half_y * scale])
