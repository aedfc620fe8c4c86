"""YuNet, a very small detector."""

from __future__ import annotations

import numpy as np

from crossface.core.types import FloatArray
from crossface.pipeline.detectors.base import (
    STRIDES,
    Detections,
    DetectorOptions,
    OnnxDetector,
    cell_corners,
    grow,
)
from crossface.pipeline.runtimes.sessions import Session

_PARTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
_NAMES = [f"{part}_{stride}" for part in _PARTS for stride in STRIDES]


class YuNet(OnnxDetector):
    """Twelve outputs: class, objectness, box and landmarks at three strides, (1, cells, width).

    Paper: YuNet: A Tiny Millisecond-level Face Detector, MIR 2023. Source: the decoding of
    OpenCV's ``FaceDetectorYN``: the score is sqrt(class * objectness), both clipped to [0, 1].
    Deviation: boxes are clipped; score threshold 0.6 where OpenCV's is 0.9.
    """

    channel_order = "bgr"
    mean = (0.0, 0.0, 0.0)
    std = 1.0
    own_min_score = 0.6
    own_max_overlap = 0.3

    def __init__(self, session: Session, options: DetectorOptions | None = None) -> None:
        super().__init__(session, options)
        given = [port.name for port in session.outputs]
        order = _NAMES if set(given) == set(_NAMES) else given
        self._positions = [given.index(name) for name in order]

    @classmethod
    def matches(cls, session: Session) -> bool:
        """Outputs named cls_8 to kps_32, in any order."""
        return {port.name for port in session.outputs} == set(_NAMES)

    @classmethod
    def _outputs_fit(cls, session: Session) -> bool:
        """Its names, or twelve outputs of its widths in its order under other names."""
        widths = [port.shape[-1] if port.shape else None for port in session.outputs]
        expected = [width for width in _PARTS.values() for _ in STRIDES]
        return cls.matches(session) or widths == expected

    def decode(self, outputs: list[FloatArray], size_hw: tuple[int, int]) -> Detections:
        """Cells moved by the predicted offsets, see ``OnnxDetector.decode``."""
        ordered = [outputs[position] for position in self._positions]
        parts = []
        for level, stride in enumerate(STRIDES):
            corner = cell_corners(size_hw, stride)
            maps = ordered[level :: len(STRIDES)]
            wanted = [(1, len(corner), width) for width in _PARTS.values()]
            if [m.shape for m in maps] != wanted:
                raise self._broken(f"got {[m.shape for m in maps]}, not {wanted}")
            kind, face, box, points = (m[0] for m in maps)
            middle = corner + box[:, :2] * stride
            half = grow(box[:, 2:]) * stride / 2
            score = np.sqrt(np.clip(kind[:, 0], 0, 1) * np.clip(face[:, 0], 0, 1))
            places = corner[:, None] + points.reshape(-1, 5, 2) * stride
            parts.append((np.hstack([middle - half, middle + half]), score, places))
        boxes, scores, landmarks = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Detections(boxes, scores, landmarks)
