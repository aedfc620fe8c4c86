"""Batches of scenes, composed while the step computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from crossface.data.loader import to_input
from crossface.data.scenes import Scene, Scenes
from crossface.losses.detection import Faces

SceneBatch = tuple[Tensor, Faces]
_AHEAD = 3


def batches(
    scenes: Scenes, batch_size: int, steps: range, *, workers: int = 1
) -> Iterator[SceneBatch]:
    """The batches of some steps; step n always holds the same scenes.

    Yields:
        (B, 3, S, S) float32 RGB in [-1, 1], channels-last in memory, and the faces.
    """

    def make(step: int) -> SceneBatch:
        first = step * batch_size
        return collate([scenes.scene(first + n) for n in range(batch_size)])

    left = iter(steps)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="scenes")
    ahead: deque[Future[SceneBatch]] = deque()
    try:
        while True:
            while len(ahead) < _AHEAD and (step := next(left, None)) is not None:
                ahead.append(pool.submit(make, step))
            if not ahead:
                return
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def collate(scenes: Sequence[Scene]) -> SceneBatch:
    """Scenes of one size as tensors; fewer faces are padded to the largest number."""
    images = to_input(torch.from_numpy(np.stack([scene.image for scene in scenes])))
    most = max(1, *(len(scene.boxes) for scene in scenes))
    boxes = torch.zeros(len(scenes), most, 4)
    points = torch.zeros(len(scenes), most, 5, 2)
    angles = torch.zeros(len(scenes), most, 3)
    weight = torch.full((len(scenes), most), -1.0)
    for row, scene in enumerate(scenes):
        count = len(scene.boxes)
        boxes[row, :count] = torch.from_numpy(scene.boxes)
        points[row, :count] = torch.from_numpy(scene.points)
        angles[row, :count] = torch.from_numpy(scene.angles)
        weight[row, :count] = torch.from_numpy(scene.counted.astype(np.float32))
    return images, Faces(boxes, points, angles, weight)
