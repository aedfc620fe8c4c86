"""One picture made worse step by step: resolution, blur, JPEG, noise, light, mask, glasses, tilt.

A kind of degradation and a level give a crop that depends on the picture's key and the seed only,
so that every model meets the same bytes. What augmentation can do is done by its kernels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.errors import UsageError
from crossface.core.protocols import FaceSource
from crossface.core.seeds import derive_seed, generator
from crossface.core.template import ARCFACE_POINTS_112
from crossface.core.types import UInt8Image
from crossface.data.augment import Augment, AugmentConfig
from crossface.data.dataset import View

_MASK_COLOURS = ((236, 238, 240), (96, 140, 186), (40, 42, 46), (168, 200, 196))
_FRAME_COLOURS = ((24, 22, 22), (96, 62, 40), (150, 150, 156))
_GAMMA = 2.2
_SUBPIXEL_BITS = 4
_EYE_TO_EYE = float(np.linalg.norm(ARCFACE_POINTS_112[1] - ARCFACE_POINTS_112[0]))

_Degrade = Callable[[UInt8Image, float, int], UInt8Image]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way of making a picture worse.

    Attributes:
        unit: of the level, for people.
        levels: the usual ones, from the mildest on.
        low: smallest level that is meant.
        high: largest.
        apply: (crop, level, seed) to the crop made worse.
    """

    unit: str
    levels: tuple[float, ...]
    low: float
    high: float
    apply: _Degrade


class LadderedFaces(View):
    """A source whose pictures are made worse by one kind at one level.

    Args:
        source: aligned crops.
        kind: a name of ``KINDS``.
        level: in the kind's unit.
        seed: of what is drawn per picture; the same at every level, so that a ladder's rungs
            differ by the level alone.

    Raises:
        UsageError: if there is no such kind, or the level is out of its range.
    """

    def __init__(self, source: FaceSource, kind: str, level: float, *, seed: int = 0) -> None:
        super().__init__(source)
        self.kind, self.level, self.seed = kind, float(level), seed
        self._apply = kind_named(kind, level).apply

    @property
    def name(self) -> str:
        """Name of the source with kind and level."""
        return f"{self.source.name}, {self.kind} {self.level:g}"

    def read(self, index: int) -> UInt8Image:
        """(112, 112, 3) uint8 RGB."""
        seed = derive_seed("ladder", self.seed, self.kind, self.source.key(index))
        return self._apply(self.source.read(index), self.level, seed)

    def digest(self) -> str:
        """Digest of the source, kind, level and seed."""
        text = f"{self.source.digest()} {self.kind} {self.level!r} {self.seed}"
        return hashlib.sha256(text.encode()).hexdigest()


def kind_named(kind: str, level: float | None = None) -> Kind:
    """The kind of a name.

    Raises:
        UsageError: if there is none, or ``level`` is out of its range.
    """
    if kind not in KINDS:
        raise UsageError(f"no ladder is named {kind!r}; known: {', '.join(KINDS)}")
    found = KINDS[kind]
    if level is not None and not found.low <= level <= found.high:
        raise UsageError(
            f"the level of {kind} must lie in {found.low:g}..{found.high:g} ({found.unit}), "
            f"got {level:g}"
        )
    return found


def _augmented(config: AugmentConfig, image: UInt8Image, seed: int) -> UInt8Image:
    return Augment(config)(image, seed=seed, epoch=0, index=0)


def _resolution(image: UInt8Image, side_px: float, seed: int) -> UInt8Image:
    return _augmented(AugmentConfig(down_p=1, down_side_px=(side_px, side_px)), image, seed)


def _blur(image: UInt8Image, sigma_px: float, seed: int) -> UInt8Image:
    return _augmented(AugmentConfig(blur_p=1, blur_sigma_px=(sigma_px, sigma_px)), image, seed)


def _jpeg(image: UInt8Image, quality: float, seed: int) -> UInt8Image:
    return _augmented(AugmentConfig(jpeg_p=1, jpeg_quality=(quality, quality)), image, seed)


def _noise(image: UInt8Image, sigma: float, seed: int) -> UInt8Image:
    return _augmented(AugmentConfig(noise_p=1, noise_sigma=(sigma, sigma)), image, seed)


def _light(image: UInt8Image, stops: float, seed: int) -> UInt8Image:
    """Less light: linear values halved once per stop, stored in whole grey levels as a camera."""
    del seed
    linear = (np.arange(256) / 255.0) ** _GAMMA * 2.0**-stops
    table = (linear ** (1 / _GAMMA) * 255.0 + 0.5).astype(np.uint8)
    lit: UInt8Image = table[image]
    return lit


def _rotation(image: UInt8Image, angle_deg: float, seed: int) -> UInt8Image:
    """Turned in the picture plane about the centre, to either side; the border is reflected."""
    import cv2

    sign = 1.0 if generator(seed, "side").random() < 0.5 else -1.0
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), sign * angle_deg, 1.0)
    turned: Any = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return turned  # type: ignore[no-any-return]


def _mask(image: UInt8Image, share: float, seed: int) -> UInt8Image:
    """A surgical mask over ``share`` of the way from the chin to the bridge of the nose.

    Share 0.5 leaves the nose free, 0.75 covers its tip, as masks are worn.
    """
    rng = generator(seed, "mask")
    left, right, _, mouth_left, mouth_right = ARCFACE_POINTS_112
    bridge = (left[1] + right[1]) / 2 + 4.0
    chin = (mouth_left[1] + mouth_right[1]) / 2 + 0.62 * _EYE_TO_EYE
    top = chin - share * (chin - bridge) + rng.uniform(-1.5, 1.5)
    middle = (left[0] + right[0]) / 2
    reach = 1.05 * _EYE_TO_EYE
    outline = np.array(
        [
            [middle - reach, top + 4],
            [middle - 0.45 * reach, top + 1],
            [middle, top],
            [middle + 0.45 * reach, top + 1],
            [middle + reach, top + 4],
            [middle + 0.8 * reach, chin + 2],
            [middle + 0.35 * reach, chin + 12],
            [middle - 0.35 * reach, chin + 12],
            [middle - 0.8 * reach, chin + 2],
        ]
    )
    colour = np.array(_MASK_COLOURS[int(rng.integers(len(_MASK_COLOURS)))], dtype=np.float64)
    cover = _polygon(outline, image.shape[:2])
    rows = np.arange(image.shape[0])[:, None, None]
    folds = 1.0 - 0.06 * (np.sin(rows / 3.1) > 0.55)  # the pleats, so that it is no flat patch
    return _painted(image, colour * folds, cover)


def _glasses(image: UInt8Image, darkness: float, seed: int) -> UInt8Image:
    """Glasses on the eyes of the template; ``darkness`` 0 is a frame with clear lenses, 1 black."""
    import cv2

    rng = generator(seed, "glasses")
    frame = np.array(_FRAME_COLOURS[int(rng.integers(len(_FRAME_COLOURS)))], dtype=np.float64)
    size = _EYE_TO_EYE * rng.uniform(0.39, 0.45)
    axes = (_fixed(size), _fixed(size * rng.uniform(0.68, 0.85)))
    thickness = int(rng.integers(2, 4))
    lenses = np.zeros(image.shape[:2], dtype=np.uint8)
    rims = np.zeros_like(lenses)
    for x, y in ARCFACE_POINTS_112[:2]:
        centre = (_fixed(x), _fixed(y + 1.0))
        cv2.ellipse(lenses, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.ellipse(rims, centre, axes, 0, 0, 360, 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    (x1, y1), (x2, y2) = ARCFACE_POINTS_112[:2]
    temple = 0.62 * _EYE_TO_EYE  # from the eye to where the arm meets the outline of the head
    for left, right in ((x1 + size, x2 - size), (x1 - temple, x1 - size), (x2 + size, x2 + temple)):
        start, end = (left, y1), (right, y2)
        ends = [(_fixed(x), _fixed(y)) for x, y in (start, end)]
        cv2.line(rims, ends[0], ends[1], 255, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    tinted = _painted(image, np.array([18.0, 18.0, 20.0]), darkness * (lenses / 255.0))
    return _painted(tinted, frame, rims / 255.0)


def _fixed(value: float) -> int:
    """A coordinate as OpenCV's drawing wants fractions of a pixel."""
    return round(float(value) * (1 << _SUBPIXEL_BITS))


def _polygon(outline: npt.NDArray[np.float64], size_hw: tuple[int, ...]) -> npt.NDArray[Any]:
    """(H, W) share of each pixel inside."""
    import cv2

    cover = np.zeros(size_hw, dtype=np.uint8)
    points = np.round(outline * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(cover, [points], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    share: npt.NDArray[Any] = cover / 255.0
    return share


def _painted(
    image: UInt8Image, colour: npt.NDArray[np.float64], cover: npt.NDArray[Any]
) -> UInt8Image:
    share = cover[..., None]
    mixed = image * (1.0 - share) + colour * share
    painted: UInt8Image = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    return painted


KINDS: dict[str, Kind] = {
    "resolution": Kind("side in px", (64, 48, 32, 24, 16), 4, 112, _resolution),
    "blur": Kind("sigma in px", (0.75, 1.5, 2.25, 3, 4), 0.05, 20, _blur),
    "jpeg": Kind("quality", (50, 30, 20, 10, 5), 1, 100, _jpeg),
    "noise": Kind("sigma in grey levels", (5, 10, 20, 30, 45), 0, 128, _noise),
    "light": Kind("stops less light", (1, 2, 3, 4, 5), 0, 10, _light),
    "mask": Kind("share from chin to nose bridge", (0.25, 0.5, 0.75, 1), 0, 1, _mask),
    "glasses": Kind("darkness of the lenses", (0, 0.35, 0.7, 1), 0, 1, _glasses),
    "rotation": Kind("degrees in the plane", (5, 10, 20, 30, 45), 0, 180, _rotation),
}
"""Kinds of degradation by name."""
