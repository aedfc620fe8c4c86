"""SCRFD with landmarks, InsightFace's detector."""

from __future__ import annotations

import numpy as np

from crossface.core.types import FloatArray
from crossface.pipeline.detectors.base import STRIDES, Detections, OnnxDetector, cell_corners
from crossface.pipeline.runtimes.sessions import Session

_WIDTHS = [1, 1, 1, 4, 4, 4, 10, 10, 10]


class Scrfd(OnnxDetector):
    """Nine outputs: scores, box distances, landmark offsets at three strides.

    Each output is (cells * anchors, width), or the same with a leading 1; a box is given by the
    distances from a cell's corner to its four sides, in strides.

    Paper: Sample and Computation Redistribution for Efficient Face Detection, arXiv:2105.04714.
    Source: decoding of insightface's ``model_zoo/scrfd.py``.
    Deviation: the picture keeps its shape (padded to multiples of 32, not to a square).
    """

    channel_order = "rgb"
    mean = (127.5, 127.5, 127.5)
    std = 128.0

    @classmethod
    def matches(cls, session: Session) -> bool:
        """Nine outputs of widths 1, 1, 1, 4, 4, 4, 10, 10, 10 in this order."""
        return [port.shape[-1] if port.shape else None for port in session.outputs] == _WIDTHS

    def decode(self, outputs: list[FloatArray], size_hw: tuple[int, int]) -> Detections:
        """Cells moved by the predicted distances, see ``OnnxDetector.decode``."""
        flat = [output.reshape(-1, output.shape[-1]) for output in outputs]
        parts = []
        for level, stride in enumerate(STRIDES):
            score, distance, offset = flat[level :: len(STRIDES)]
            cells = (size_hw[0] // stride) * (size_hw[1] // stride)
            anchors, rest = divmod(len(score), cells)
            if rest or anchors not in {1, 2} or not len(score) == len(distance) == len(offset):
                raise self._broken(
                    f"expected rows for {cells} cells at stride {stride}, "
                    f"got {len(score)}, {len(distance)} and {len(offset)}"
                )
            corner = cell_corners(size_hw, stride, anchors)
            boxes = np.hstack(
                [corner - distance[:, :2] * stride, corner + distance[:, 2:] * stride]
            )
            places = corner[:, None] + offset.reshape(-1, 5, 2) * stride
            parts.append((boxes, np.clip(score[:, 0], 0, 1), places))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return Detections(*columns)
