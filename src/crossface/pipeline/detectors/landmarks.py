"""A second look at what a detector found: better landmarks, and no face where none is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crossface.core.errors import WeightsError
from crossface.core.geometry import (
    Float64Array,
    apply_transform,
    turned,
    umeyama,
    warp,
)
from crossface.core.template import ARCFACE_POINTS_112
from crossface.core.types import FloatArray, UInt8Batch, UInt8Image
from crossface.data.scenes.cuts import FACE_ELLIPSE_112
from crossface.pipeline.detectors.base import Detections, suppress
from crossface.pipeline.runtimes.sessions import Session, float_outputs

CROP_PX = 64
"""Side of a crop."""

ZOOM = 0.8
"""How much smaller than in the ArcFace template a face is, so that chin, brow and misplaced faces
are seen."""

TEMPLATE: Float64Array = (ARCFACE_POINTS_112 - 55.5) * (ZOOM * CROP_PX / 112) + (CROP_PX - 1) / 2
"""(5, 2) px: where the landmarks of an aligned face are in a crop."""

EYES_PX = float(np.linalg.norm(TEMPLATE[1] - TEMPLATE[0]))
"""Distance of the eyes in ``TEMPLATE``, the unit of the landmarks."""

DEGREES = 90.0
"""Unit of the angles."""

OUTPUTS = {"score": 1, "points": 10, "angles": 3}
"""Names and widths of the outputs, (N, width)."""

ROUNDS = 3
"""Looks at every face, each at the crop that the one before aligned."""

MOST_CANDIDATES = 300
"""Faces of one picture that get a second look, the best first."""

_FARTHEST = 2.0  # eye distances that a landmark may be moved in one look
_BATCH = 32
_FACE_PX = 2 * float(np.sqrt(FACE_ELLIPSE_112[2] * FACE_ELLIPSE_112[3]))  # in the template
_LARGER, _APART = 1.7, 0.35  # a box's side over its face's, their middles in sides

Look = Callable[[UInt8Batch], tuple[FloatArray, FloatArray, FloatArray]]
"""(N, 64, 64, 3) crops to scores (N, 1) in [0, 1], points (N, 10) and angles (N, 3)."""


class LandmarkRefiner:
    """The network of ``nets.landmarks`` in an ONNX file, see ``refine``.

    Args:
        session: input (N, 3, 64, 64) RGB in [-1, 1]; outputs ``OUTPUTS``.

    Raises:
        WeightsError: if the file has other outputs.
    """

    def __init__(self, session: Session) -> None:
        given = [port.name for port in session.outputs]
        if set(given) != set(OUTPUTS):
            raise WeightsError(
                f"{session.name}: expected the outputs {', '.join(OUTPUTS)}, got {', '.join(given)}"
            )
        self.name = session.name
        self._session = session
        self._positions = [given.index(name) for name in OUTPUTS]

    def __call__(self, crops: UInt8Batch) -> tuple[FloatArray, FloatArray, FloatArray]:
        """One look at some crops, see ``Look``."""
        parts = []
        for start in range(0, len(crops), _BATCH):
            outputs = float_outputs(self._session, crop_tensor(crops[start : start + _BATCH]))
            parts.append([outputs[position] for position in self._positions])
        score, points, angles = (np.concatenate(column) for column in zip(*parts, strict=True))
        wanted = [(len(crops), width) for width in OUTPUTS.values()]
        if [o.shape for o in (score, points, angles)] != wanted:
            raise WeightsError(f"{self.name}: its outputs do not have the shapes {wanted}")
        return score, points, angles


def look_again(image: UInt8Image, found: Detections, look: Look, max_overlap: float) -> Detections:
    """The faces that are left of some guesses after a closer look, best first.

    Args:
        image: (H, W, 3) uint8 RGB.
        found: in its pixels, best first; the first ``MOST_CANDIDATES`` are looked at.
        look: the network.
        max_overlap: two guesses may become one face; see ``base.suppress``.
    """
    looked = refine(image, found.take(np.arange(len(found))[:MOST_CANDIDATES]), look)
    return suppress(looked.take(fill_their_boxes(looked)), max_overlap)


def refine(image: UInt8Image, found: Detections, look: Look) -> Detections:
    """The same faces with landmarks, head poses and scores of a closer look.

    Args:
        image: (H, W, 3) uint8 RGB, at any resolution.
        found: in its pixels; their landmarks need only be rough.
        look: the network, which looks ``ROUNDS`` times.

    Returns:
        The same rows. A score is the geometric mean of the detector's and the last look's.
    """
    if not len(found):
        return found
    points = found.landmarks.astype(np.float64)
    for _ in range(ROUNDS):
        matrices = [crop_matrix(p) for p in points]
        crops = np.stack([face_crop(image, matrix) for matrix in matrices])
        score, moved, angles = look(crops)
        steps = np.clip(moved.reshape(-1, 5, 2), -_FARTHEST, _FARTHEST) * EYES_PX
        points = np.stack(
            [_back(matrix, TEMPLATE + step) for matrix, step in zip(matrices, steps, strict=True)]
        )
    poses = [
        turned(angle * DEGREES, -np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
        for angle, matrix in zip(angles.astype(np.float64), matrices, strict=True)
    ]
    scores = np.sqrt(found.scores * np.clip(score[:, 0], 0, 1))
    return Detections(
        found.boxes,
        scores.astype(np.float32),
        points.astype(np.float32),
        np.array(poses, dtype=np.float32),
    )


def fill_their_boxes(found: Detections) -> npt.NDArray[np.bool_]:
    """(N,) whether the landmarks belong to a face about as large as its box and in its middle.

    Where a second look finds no face it sends landmarks anywhere: into a corner of the box, or
    closer together than those of any face that fills it. The bounds are wide.
    """
    fitting = np.zeros(len(found), dtype=bool)
    for row, (box, points) in enumerate(zip(found.boxes, found.landmarks, strict=True)):
        if not np.isfinite(points).all() or float(np.ptp(points, axis=0).max()) < 1:
            continue
        matrix = umeyama(ARCFACE_POINTS_112, points)
        (middle,) = apply_transform(matrix, np.array([FACE_ELLIPSE_112[:2]]))
        size = np.sqrt(max(float((box[2] - box[0]) * (box[3] - box[1])), 1.0))
        larger = size / (
            2 * np.sqrt(FACE_ELLIPSE_112[2] * FACE_ELLIPSE_112[3]) * np.hypot(*matrix[:, 0])
        )
        apart = float(np.linalg.norm(middle - (box[:2] + box[2:]) / 2)) / size
        fitting[row] = 1 / _LARGER < larger < _LARGER and apart < _APART
    return fitting


def crop_matrix(points: Float64Array) -> Float64Array:
    """(2, 3) similarity from a picture to the crop in which (5, 2) landmarks lie as in
    ``TEMPLATE``; where they coincide, which is no face, the crop shows that place enlarged.
    """
    spread = float(np.abs(points - points.mean(axis=0)).max())
    if not np.isfinite(spread) or spread < 0.5:
        middle = np.nan_to_num(points.mean(axis=0))
        return np.hstack([np.eye(2), (CROP_PX / 2 - middle)[:, None]])
    return umeyama(points, TEMPLATE)


def face_crop(image: UInt8Image, matrix: Float64Array) -> UInt8Image:
    """(64, 64, 3) uint8: the part of a picture that a similarity maps there.

    A large face is averaged down before it is resampled, as a lens and sensor would.
    """
    shrink = int(1 / max(float(np.hypot(*matrix[:, 0])), 1e-6))
    if shrink < 2:
        return warp(image, matrix, (CROP_PX, CROP_PX))
    corners = np.array([(x, y) for x in (0, CROP_PX - 1) for y in (0, CROP_PX - 1)], np.float64)
    seen = _back(matrix, corners)
    low = np.maximum(np.floor(seen.min(axis=0)).astype(int) - shrink, 0)
    high = np.minimum(np.ceil(seen.max(axis=0)).astype(int) + shrink + 1, image.shape[1::-1])
    if (high - low < shrink).any():
        return np.zeros((CROP_PX, CROP_PX, 3), dtype=np.uint8)
    size = (high - low) // shrink
    high = low + size * shrink
    part = image[low[1] : high[1], low[0] : high[0]]
    small: Any = cv2.resize(part, size.tolist(), interpolation=cv2.INTER_AREA)
    # a pixel of ``small`` is the mean of shrink x shrink pixels and stands in their middle
    linear = matrix[:, :2] * shrink
    offset = matrix[:, 2] + matrix[:, :2] @ (low + (shrink - 1) / 2)
    return warp(small, np.hstack([linear, offset[:, None]]), (CROP_PX, CROP_PX))


def crop_tensor(crops: UInt8Batch) -> FloatArray:
    """(N, 3, 64, 64) float32 RGB in [-1, 1] of (N, 64, 64, 3) uint8 crops."""
    values = crops.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(127.5) - np.float32(1)
    return np.ascontiguousarray(values)


def _back(matrix: Float64Array, points: Float64Array) -> Float64Array:
    """Points of a crop in the picture."""
    inverse = np.linalg.inv(matrix[:, :2])
    return apply_transform(np.hstack([inverse, (-inverse @ matrix[:, 2])[:, None]]), points)
