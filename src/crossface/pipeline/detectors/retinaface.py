"""RetinaFace with a MobileNet-0.25 backbone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from crossface.core.types import FloatArray
from crossface.pipeline.detectors.base import (
    STRIDES,
    Detections,
    OnnxDetector,
    cell_corners,
    grow,
)
from crossface.pipeline.runtimes.sessions import Session

PRIOR_SIDES_PX = ((16, 32), (64, 128), (256, 512))
"""Two square priors in each cell of strides 8, 16 and 32."""

VARIANCES = (0.1, 0.2)
"""Scales of the predicted centre and size."""

_WIDTHS = {4: "boxes", 2: "scores", 10: "landmarks"}


class RetinaFace(OnnxDetector):
    """Three outputs: boxes (1, A, 4), softmaxed scores (1, A, 2), landmarks (1, A, 10).

    Paper: RetinaFace, arXiv:1905.00641; priors and variances of the public PyTorch code
    (``cfg_mnet``).
    Deviation: pictures are padded with black below and to the right; boxes are clipped.
    """

    channel_order = "bgr"
    mean = (104.0, 117.0, 123.0)
    std = 1.0

    @classmethod
    def matches(cls, session: Session) -> bool:
        """Three outputs of rank 3 and widths 4, 2 and 10, in any order."""
        shapes = [port.shape for port in session.outputs]
        return all(len(shape) == 3 for shape in shapes) and sorted(
            shape[-1] or 0 for shape in shapes
        ) == sorted(_WIDTHS)

    def decode(self, outputs: list[FloatArray], size_hw: tuple[int, int]) -> Detections:
        """Priors moved by the predicted offsets, see ``OnnxDetector.decode``."""
        priors = _priors(size_hw)
        named = {_WIDTHS.get(o.shape[-1], ""): o for o in outputs}
        if set(named) != set(_WIDTHS.values()) or any(
            o.shape[:-1] != (1, len(priors)) for o in outputs
        ):
            raise self._broken(f"got outputs {[o.shape for o in outputs]}, not {len(priors)} rows")
        confidence = named["scores"][0]
        if not (confidence.min() >= -1e-3 and confidence.max() <= 1 + 1e-3):
            raise self._broken("expected softmaxed scores in [0, 1], got others")
        centre, size = priors[:, :2], priors[:, 2:]
        offset = named["boxes"][0]
        middle = centre + offset[:, :2] * VARIANCES[0] * size
        half = size * grow(offset[:, 2:] * VARIANCES[1]) / 2
        points = named["landmarks"][0].reshape(-1, 5, 2) * VARIANCES[0] * size[:, None]
        return Detections(
            boxes=np.hstack([middle - half, middle + half]),
            scores=np.clip(confidence[:, 1], 0, 1),
            landmarks=centre[:, None] + points,
        )


@lru_cache(maxsize=16)  # bounded: pictures have many sizes
def _priors(size_hw: tuple[int, int]) -> FloatArray:
    """(A, 4) float32 px: centre x, y, width, height."""
    parts = []
    for stride, sides in zip(STRIDES, PRIOR_SIDES_PX, strict=True):
        centres = cell_corners(size_hw, stride, anchors=len(sides)) + np.float32(stride / 2)
        side = np.tile(np.array(sides, dtype=np.float32), len(centres) // len(sides))
        parts.append(np.column_stack([centres, side, side]))
    priors: FloatArray = np.concatenate(parts)
    priors.setflags(write=False)
    return priors
