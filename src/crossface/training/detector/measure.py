"""How good a detector is on scenes whose faces are known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from crossface.core.types import FloatArray
from crossface.data.scenes import Scene
from crossface.nets.detector import FaceDetector
from crossface.pipeline.detectors.base import Detections, suppress
from crossface.pipeline.detectors.own import decode_cells
from crossface.training.detector.batches import collate

LEAST_SCORE = 0.05
MAX_OVERLAP = 0.4
RIGHT_OVERLAP = 0.5
"""A face is found by a box whose intersection over union with its own is at least this."""

_BATCH = 16
_BETA = 0.5


@dataclass(frozen=True, slots=True)
class DetectorFigures:
    """Over some scenes.

    Attributes:
        average_precision: area under precision against recall, every point.
        min_score: the score of the best F0.5 (van Rijsbergen): a false face, which may be enrolled
            or compared in place of a true one, weighs more than a missed one.
        recall: of faces that must be found, at that score.
        precision: of what is found, at that score.
        point_error: median over found faces of the mean landmark error, in eye distances.
        yaw_error_deg, pitch_error_deg, roll_error_deg: mean absolute errors of found faces.
        faces: that must be found.
    """

    average_precision: float
    min_score: float
    recall: float
    precision: float
    point_error: float
    yaw_error_deg: float
    pitch_error_deg: float
    roll_error_deg: float
    faces: int


def find(net: FaceDetector, scenes: Sequence[Scene], device: torch.device) -> list[Detections]:
    """What a network finds in scenes, best first, down to ``LEAST_SCORE``."""
    net.eval()
    found = []
    for start in range(0, len(scenes), _BATCH):
        images, _ = collate(scenes[start : start + _BATCH])
        with torch.inference_mode():
            outputs = [part.cpu().numpy() for part in net(images.to(device))]
        size = (images.shape[2], images.shape[3])
        for row in range(len(images)):
            cells = decode_cells([o[row] for o in outputs], size, LEAST_SCORE)
            found.append(suppress(cells, MAX_OVERLAP))
    return found


def measure(scenes: Sequence[Scene], found: Iterable[Detections]) -> DetectorFigures:
    """Match what was found with what is there, the best score first.

    A box on a face that need not be found, or outside every face but within one of those, counts
    neither way.
    """
    scores: list[float] = []
    right: list[bool] = []
    errors: list[FloatArray] = []
    for scene, faces in zip(scenes, found, strict=True):
        for row, owner in enumerate(_owners(scene, faces)):
            if owner >= 0 and not scene.counted[owner]:
                continue
            scores.append(float(faces.scores[row]))
            right.append(owner >= 0)
            if owner >= 0:
                errors.append(_errors(scene, owner, faces, row))
    total = int(sum(scene.counted.sum() for scene in scenes))
    order = np.argsort(-np.array(scores), kind="stable")
    hits = np.cumsum(np.array(right, dtype=np.int64)[order])
    recall = hits / max(total, 1)
    precision = hits / np.arange(1, len(hits) + 1)
    if not len(order) or not hits[-1]:
        return DetectorFigures(0.0, 0.5, 0.0, 0.0, 1.0, 90.0, 90.0, 90.0, total)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    weighed = _BETA**2 * precision + recall
    best = int(np.argmax((1 + _BETA**2) * recall * precision / np.maximum(weighed, 1e-9)))
    middle = np.stack(errors)
    return DetectorFigures(
        average_precision=float((np.diff(recall, prepend=0) * envelope).sum()),
        min_score=float(np.array(scores)[order][best]),
        recall=float(recall[best]),
        precision=float(precision[best]),
        point_error=float(np.median(middle[:, 0])),
        yaw_error_deg=float(middle[:, 1].mean()),
        pitch_error_deg=float(middle[:, 2].mean()),
        roll_error_deg=float(middle[:, 3].mean()),
        faces=total,
    )


def _owners(scene: Scene, faces: Detections) -> npt.NDArray[np.int64]:
    """(D,) the face that each detection has, every face at most once, -1 for none."""
    owners = np.full(len(faces), -1, dtype=np.int64)
    overlap = overlaps(faces.boxes, scene.boxes)
    free = np.ones(len(scene.boxes), dtype=bool)
    for row in range(len(faces)):
        if not free.any():
            break
        best = int(np.argmax(np.where(free, overlap[row], -1)))
        if overlap[row, best] >= RIGHT_OVERLAP:
            owners[row] = best
            free[best] = False
    return owners


def overlaps(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """(D, N) intersection over union of (D, 4) with (N, 4) boxes."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    area, other = (np.maximum(b[:, 2:] - b[:, :2], 0).prod(axis=1) for b in (boxes, others))
    result: FloatArray = shared / np.maximum(area[:, None] + other[None] - shared, 1e-6)
    return result


def _errors(scene: Scene, owner: int, faces: Detections, row: int) -> FloatArray:
    """(4,) landmark error in eye distances, and that of yaw, pitch and roll in degrees."""
    points = scene.points[owner]
    eyes = max(float(np.linalg.norm(points[1] - points[0])), 1e-6)
    off = np.linalg.norm(faces.landmarks[row] - points, axis=1).mean() / eyes
    poses = np.zeros((len(faces), 3), np.float32) if faces.poses is None else faces.poses
    turn = np.abs((poses[row] - scene.angles[owner] + 180) % 360 - 180)
    return np.array([off, *turn], dtype=np.float32)
