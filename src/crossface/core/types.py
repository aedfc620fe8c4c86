"""Results people touch: frozen, slotted, typed. A wrong attribute is an error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UInt8Image = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, RGB."""

UInt8Batch = npt.NDArray[np.uint8]
"""(N, H, W, 3) uint8, RGB."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; x to the right, y down, ends exclusive."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.y2 - self.y1

    def as_xyxy(self) -> FloatArray:
        """(4,) float32: x1, y1, x2, y2."""
        return np.array([self.x1, self.y1, self.x2, self.y2], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Pose:
    """Head pose in degrees, for people: yaw positive to the viewer's right, pitch positive up,
    roll positive clockwise in the picture.
    """

    yaw_deg: float
    pitch_deg: float
    roll_deg: float


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in one image.

    ``kps_px`` is (5, 2) float32: viewer's left eye, right eye, nose tip, left and right mouth
    corner. ``embedding`` is (D,) float32 of unit length, or None where no recogniser ran.
    """

    bbox: Box
    kps_px: FloatArray
    det_score: float
    embedding: FloatArray | None = None
    raw_norm: float | None = None
    quality: float | None = None
    pose: Pose | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture or face that could not be used, with its reason; a value, not an exception."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Answer to "are these the same person?".

    ``same`` is None where no calibrated threshold exists: the answer is then ``uncalibrated``.
    """

    similarity: float
    threshold: float | None
    fmr: float | None
    same: bool | None


@dataclass(frozen=True, slots=True)
class Match:
    """One person found in a gallery."""

    person: str
    similarity: float
    accepted: bool
