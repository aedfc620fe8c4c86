"""Results people touch: frozen, slotted, typed. A wrong attribute is an error."""

from __future__ import annotations

from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture or face that could not be used, with its reason; a value, not an exception."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class QualityParts:
    """What a quality score is made of, see ``pipeline.quality``; the scores lie in [0, 1].

    ``learned`` is None where no quality network was given. ``eye_distance_px`` is measured in the
    picture; ``mean``, ``contrast`` and ``clipped`` describe the grey values of the crop: mean on
    the 0-255 scale, standard deviation over mean, share of pixels that are black or white.
    """

    size: float
    sharpness: float
    pose: float
    light: float
    learned: float | None
    eye_distance_px: float
    laplacian: float
    mean: float
    contrast: float
    clipped: float


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in one image.

    ``kps_px`` is (5, 2) float32: viewer's left eye, right eye, nose tip, left and right mouth
    corner. ``embedding`` is (D,) float32 of unit length, or None where no recogniser ran or where
    it failed: ``failure`` then says why. ``raw_norm`` is the embedding's length before it was made
    a unit vector. ``quality`` lies in [0, 1]. ``liveness`` is the share in [0, 1] that the
    liveness networks give to a live face, None where they did not run.
    """

    bbox: Box
    kps_px: FloatArray
    det_score: float
    embedding: FloatArray | None = field(default=None, repr=False)
    raw_norm: float | None = None
    quality: float | None = None
    pose: Pose | None = None
    quality_parts: QualityParts | None = None
    liveness: float | None = None
    failure: Failure | None = None

    @property
    def prominence(self) -> float:
        """The box's area in square pixels times the detector's score.

        By it the largest face is chosen: a doubtful one must be larger to be meant.
        """
        return self.bbox.width * self.bbox.height * self.det_score

    @property
    def kps(self) -> FloatArray:
        """``kps_px`` by its usual name."""
        return self.kps_px

    @property
    def normed_embedding(self) -> FloatArray | None:
        """``embedding``, which is always of unit length here; kept for those who know the name."""
        return self.embedding


@dataclass(frozen=True, slots=True)
class Verification:
    """Answer to "are these the same person?".

    ``same`` is None where no calibrated threshold exists: the answer is then ``uncalibrated``.
    ``fmr`` is the false match rate that the threshold stands for, None where none was measured.
    ``notes`` say what a reader must know: that the largest of several faces was taken, say.
    """

    similarity: float
    threshold: float | None
    fmr: float | None
    same: bool | None
    notes: tuple[str, ...] = ()

    @property
    def uncalibrated(self) -> bool:
        """Whether no threshold could be found and so no verdict is given."""
        return self.same is None


@dataclass(frozen=True, slots=True)
class Match:
    """One person found in a gallery."""

    person: str
    similarity: float
    accepted: bool
