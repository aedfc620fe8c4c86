"""Batches for the second look: scenes, what the detector finds in them, crops of all that."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from crossface.core.geometry import apply_transform, turned
from crossface.core.seeds import generator
from crossface.data.scenes import Scenes
from crossface.data.scenes.looks import guesses
from crossface.nets.detector import FaceDetector
from crossface.nets.landmarks import LandmarkOutputs
from crossface.pipeline.detectors.landmarks import (
    CROP_PX,
    DEGREES,
    EYES_PX,
    TEMPLATE,
    crop_matrix,
    crop_tensor,
    face_crop,
)
from crossface.training.detector.measure import find

_MOST = 10  # of the detector's guesses in one scene, the best ones
_AHEAD = 3


class LookBatch(NamedTuple):
    """Crops and what is true of them.

    Attributes:
        crops: (N, 3, 64, 64) float32 RGB in [-1, 1].
        is_face: (N,) float32: 1 or 0.
        points: (N, 10) as ``nets.landmarks.LandmarkOutputs``, 0 where there is no face.
        angles: (N, 3) likewise.
    """

    crops: Tensor
    is_face: Tensor
    points: Tensor
    angles: Tensor


def look_batches(
    scenes: Scenes, detector: FaceDetector, scenes_a_step: int, steps: range
) -> Iterator[LookBatch]:
    """The batches of some steps, made while the step before computes; step n is always the same."""
    left = iter(steps)
    pool = ThreadPoolExecutor(1, thread_name_prefix="looks")
    ahead: deque[Future[LookBatch]] = deque()
    try:
        while True:
            while len(ahead) < _AHEAD and (step := next(left, None)) is not None:
                ahead.append(pool.submit(look_batch, scenes, detector, scenes_a_step, step))
            if not ahead:
                return
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def look_batch(scenes: Scenes, detector: FaceDetector, scenes_a_step: int, step: int) -> LookBatch:
    """The crops of one step."""
    first = step * scenes_a_step
    chosen = [scenes.scene(first + number) for number in range(scenes_a_step)]
    rng = generator("second look", scenes.seed, step)
    crops, faces, points, angles = [], [], [], []
    for scene, found in zip(chosen, find(detector, chosen, torch.device("cpu")), strict=True):
        told = guesses(scene, found.boxes[:_MOST], found.landmarks[:_MOST], rng)
        for guess, face in zip(told.points, told.face, strict=True):
            matrix = crop_matrix(guess)
            crops.append(face_crop(scene.image, matrix))
            faces.append(float(face >= 0))
            if face < 0:
                points.append(np.zeros(10))
                angles.append(np.zeros(3))
                continue
            apart = apply_transform(matrix, scene.points[face]) - TEMPLATE
            points.append((apart / EYES_PX).reshape(10))
            roll = float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
            angles.append(turned(scene.angles[face].astype(np.float64), roll) / DEGREES)
    shape = (len(crops), CROP_PX, CROP_PX, 3)
    return LookBatch(
        torch.from_numpy(crop_tensor(np.array(crops, dtype=np.uint8).reshape(shape))),
        torch.tensor(faces),
        torch.from_numpy(np.array(points, dtype=np.float32).reshape(-1, 10)),
        torch.from_numpy(np.array(angles, dtype=np.float32).reshape(-1, 3)),
    )


def look_losses(outputs: LandmarkOutputs, batch: LookBatch) -> dict[str, Tensor]:
    """Named scalar losses, "loss" their weighted sum.

    Cross-entropy of being a face; smooth L1 of landmarks in twentieths of an eye distance and of
    angles in 15 degrees, over faces.

    Args:
        outputs: the network's while it trains.
        batch: what is true.
    """
    face = batch.is_face > 0
    count = max(int(face.sum()), 1)
    error = (outputs.points[face] - batch.points[face]) * 20
    turn = (outputs.angles[face] - batch.angles[face]) * (DEGREES / 15)
    losses = {
        "score": F.binary_cross_entropy_with_logits(outputs.score[:, 0], batch.is_face),
        "points": F.smooth_l1_loss(error, torch.zeros_like(error), reduction="sum") / (10 * count),
        "angles": F.smooth_l1_loss(turn, torch.zeros_like(turn), reduction="sum") / (3 * count),
    }
    total = 2 * losses["score"] + losses["points"] + 0.4 * losses["angles"]
    return {"loss": total, **losses}
