"""crossface's own detector: boxes, landmarks and head poses from one small network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossface.core.errors import WeightsError
from crossface.core.files import sha256_file
from crossface.core.types import FloatArray, UInt8Image
from crossface.pipeline.detectors.base import (
    STRIDES,
    Detections,
    DetectorOptions,
    OnnxDetector,
    cell_corners,
    grow,
)
from crossface.pipeline.detectors.landmarks import LandmarkRefiner, look_again
from crossface.pipeline.runtimes.sessions import Session

DETECTOR_KEY = "crossface.detector"
"""Metadata of the ONNX file: ``DetectorSpec`` as JSON."""

OUTPUTS = {"score": 1, "box": 4, "points": 10, "angles": 3}
"""Names and widths of the outputs, (1, cells, width), stride 8 first, row by row."""

DEGREES = 90.0
"""Unit of the angles."""


LEAST_CANDIDATE = 0.05
"""Least score of a face that gets a second look, however low ``min_score`` is."""


class LandmarksFile(BaseModel):
    """The second look that belongs to a detector.

    Attributes:
        file: its name, in the detector's folder.
        sha256: hex, of its bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^[^/\\]+\.onnx$")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class DetectorSpec(BaseModel):
    """What a file of this kind says of itself.

    Attributes:
        kind: always "crossface".
        strides: pixels between the cells of the three maps.
        channel_order: of the input.
        mean: subtracted from the 0-255 values.
        std: what the difference is divided by.
        min_score: least score of a face, chosen on validation scenes.
        scene_px: side of the scenes it learnt from: it knows no larger face, so it looks at a copy
            of that size of a large picture too.
        landmarks: the second look, if it has one (``detectors.landmarks``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["crossface"] = "crossface"
    strides: tuple[Literal[8], Literal[16], Literal[32]] = (8, 16, 32)
    channel_order: Literal["rgb"] = "rgb"
    mean: float = Field(default=127.5, ge=127.5, le=127.5)
    std: float = Field(default=127.5, ge=127.5, le=127.5)
    min_score: float = Field(default=0.5, gt=0, lt=1)
    scene_px: int = Field(default=256, ge=64)
    landmarks: LandmarksFile | None = None


class OwnDetector(OnnxDetector):
    """Four outputs: score, box, points and angles of every cell, see ``OUTPUTS``; and, where the
    file says so, a second network that looks at every face again.

    From the middle of a cell, in strides: the middle of the box, the logarithm of its width and
    height, and five landmarks; yaw, pitch and roll in units of ``DEGREES``.

    Source: ``nets.detector.FaceDetector``, which is trained and exported here.
    """

    channel_order = "rgb"
    mean = (127.5, 127.5, 127.5)
    std = 127.5
    own_max_overlap = 0.4

    def __init__(self, session: Session, options: DetectorOptions | None = None) -> None:
        super().__init__(session, options)
        self.spec = _spec(session)
        self.min_score = self.options.min_score or self.spec.min_score
        self.look_again_px = self.spec.scene_px
        self.second: LandmarkRefiner | None = None
        given = [port.name for port in session.outputs]
        order = list(OUTPUTS) if set(given) == set(OUTPUTS) else given
        self._positions = [given.index(name) for name in order]

    def open_second(self, folder: Path, **session: Any) -> None:  # noqa: ANN401  # of Session
        """The second look, where the file says that it has one.

        Raises:
            WeightsError: if it is not there, or not the one that belongs to this detector.
        """
        told = self.spec.landmarks
        if told is None:
            return
        path = folder / told.file
        if not path.is_file():
            raise WeightsError(f"{self.name}: its second look, {told.file}, is not beside it")
        found = sha256_file(path)
        if found != told.sha256:
            raise WeightsError(
                f"{told.file}: is not the second look of {self.name}: expected the sha256 "
                f"{told.sha256[:16]}..., got {found[:16]}..."
            )
        self.second = LandmarkRefiner(Session(path, **session))

    def finish(self, image: UInt8Image, found: Detections) -> Detections:
        """Landmarks, scores and poses of a second look, see ``detectors.landmarks.look_again``."""
        if self.second is None:
            return found
        return look_again(image, found, self.second, self.max_overlap)

    @property
    def least_candidate(self) -> float:
        """What the first network must say at least: a geometric mean with 1 would be enough; below
        ``LEAST_CANDIDATE`` nearly every cell is a guess.
        """
        if self.second is None:
            return self.min_score
        return max(self.min_score**2, min(LEAST_CANDIDATE, self.min_score))

    @classmethod
    def matches(cls, session: Session) -> bool:
        """Outputs of these names, in any order."""
        return {port.name for port in session.outputs} == set(OUTPUTS)

    @classmethod
    def _outputs_fit(cls, session: Session) -> bool:
        """Its names, or four outputs of its widths in its order under other names."""
        widths = [port.shape[-1] if port.shape else None for port in session.outputs]
        return cls.matches(session) or widths == list(OUTPUTS.values())

    def decode(self, outputs: list[FloatArray], size_hw: tuple[int, int]) -> Detections:
        """Cells moved by what they say, see ``OnnxDetector.decode``."""
        ordered = [outputs[position] for position in self._positions]
        cells = sum((size_hw[0] // s) * (size_hw[1] // s) for s in STRIDES)
        wanted = [(1, cells, width) for width in OUTPUTS.values()]
        if [o.shape for o in ordered] != wanted:
            raise self._broken(f"got {[o.shape for o in ordered]}, not {wanted}")
        return decode_cells([o[0] for o in ordered], size_hw, self.least_candidate)


def decode_cells(
    outputs: Sequence[FloatArray], size_hw: tuple[int, int], min_score: float
) -> Detections:
    """Faces of the cells whose score is at least ``min_score``, in pixels of the input.

    Args:
        outputs: of one picture: score (A, 1) in [0, 1], box (A, 4), points (A, 10), angles (A, 3).
        size_hw: of the network's input.
        min_score: other cells are not looked at.
    """
    score, box, points, angles = outputs
    rows = np.flatnonzero(score[:, 0] >= min_score)
    corners = [cell_corners(size_hw, stride) + np.float32(stride / 2) for stride in STRIDES]
    strides = np.repeat(np.array(STRIDES, np.float32), [len(c) for c in corners])[rows, None]
    middle = np.concatenate(corners)[rows]
    centre = middle + box[rows, :2] * strides
    half = grow(box[rows, 2:]) * strides / 2
    return Detections(
        boxes=np.hstack([centre - half, centre + half]),
        scores=np.clip(score[rows, 0], 0, 1),
        landmarks=middle[:, None] + points[rows].reshape(-1, 5, 2) * strides[:, None],
        poses=angles[rows] * np.float32(DEGREES),
    )


def _spec(session: Session) -> DetectorSpec:
    text = session.metadata.get(DETECTOR_KEY)
    if text is None:
        return DetectorSpec()
    try:
        return DetectorSpec.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(
            f"{session.name}: its metadata {DETECTOR_KEY!r} is not that of a detector: {reason}"
        ) from None
