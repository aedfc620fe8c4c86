"""Augmentations of aligned crops that depend only on (seed, epoch, index).

One vector of uniform numbers is drawn per picture and each operation reads its own places in it,
so turning one operation off leaves the others as they were, and the order in which pictures are
asked for does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossface.core.errors import ConfigError
from crossface.core.seeds import generator
from crossface.core.types import UInt8Image

Uniform = npt.NDArray[np.float64]
"""(n,) float64 in [0, 1)."""

Probability = float
Preset = Literal["none", "flip", "light", "strong"]

PRESETS: tuple[Preset, ...] = ("none", "flip", "light", "strong")

# Where each operation's numbers lie in the vector of a picture. The first one decides whether it
# happens. Append only: a changed place changes every run.
_FLIP = slice(0, 1)
_CROP = slice(1, 6)
_OCCLUSION = slice(6, 14)
_GREY = slice(14, 15)
_LIGHT = slice(15, 20)
_BLUR = slice(20, 22)
_DOWN = slice(22, 24)
_NOISE = slice(24, 26)
_JPEG = slice(26, 28)
_LENGTH = 32


class AugmentConfig(BaseModel):
    """Which changes happen, how often (``*_p``, a probability) and how strongly.

    They are applied in the order of the fields, roughly that of the physical world: the head
    moves, something covers it, light falls, the lens blurs, the sensor is coarse and noisy, the
    file is compressed.

    Attributes:
        flip_p: mirror left and right.
        crop_p: one small similarity transform, reflected at the border.
        shift: largest shift each way, as a fraction of the crop's side.
        scale: largest relative change of size, either way.
        angle_deg: largest rotation, either way.
        occlusion_p: cover a rectangle with one colour.
        occlusion_area: smallest and largest covered fraction of the crop.
        grey_p: remove the colour.
        light_p: change gamma, contrast, brightness and colour temperature.
        gamma: largest |log2| of the exponent.
        contrast: largest relative change.
        brightness: largest shift, as a fraction of the grey scale.
        temperature: largest relative gain of red against blue.
        blur_p: Gaussian blur.
        blur_sigma_px: smallest and largest standard deviation.
        down_p: shrink and enlarge again.
        down_side_px: smallest and largest side of the shrunk crop.
        noise_p: add normal noise to each channel of each pixel.
        noise_sigma: smallest and largest standard deviation in grey levels.
        jpeg_p: JPEG compression.
        jpeg_quality: lowest and highest quality.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip_p: Probability = Field(0.0, ge=0, le=1)
    crop_p: Probability = Field(0.0, ge=0, le=1)
    shift: float = Field(0.05, ge=0, le=0.5)
    scale: float = Field(0.08, ge=0, lt=1)
    angle_deg: float = Field(8.0, ge=0, le=180)
    occlusion_p: Probability = Field(0.0, ge=0, le=1)
    occlusion_area: tuple[float, float] = (0.02, 0.2)
    grey_p: Probability = Field(0.0, ge=0, le=1)
    light_p: Probability = Field(0.0, ge=0, le=1)
    gamma: float = Field(0.5, ge=0, le=3)
    contrast: float = Field(0.3, ge=0, lt=1)
    brightness: float = Field(0.15, ge=0, le=1)
    temperature: float = Field(0.12, ge=0, lt=1)
    blur_p: Probability = Field(0.0, ge=0, le=1)
    blur_sigma_px: tuple[float, float] = (0.4, 1.6)
    down_p: Probability = Field(0.0, ge=0, le=1)
    down_side_px: tuple[float, float] = (28.0, 80.0)
    noise_p: Probability = Field(0.0, ge=0, le=1)
    noise_sigma: tuple[float, float] = (2.0, 10.0)
    jpeg_p: Probability = Field(0.0, ge=0, le=1)
    jpeg_quality: tuple[float, float] = (25.0, 85.0)

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        floors = {
            "occlusion_area": (0.0, 1.0),
            "blur_sigma_px": (0.05, 20.0),
            "down_side_px": (4.0, 112.0),
            "noise_sigma": (0.0, 128.0),
            "jpeg_quality": (1.0, 100.0),
        }
        for field, (least, most) in floors.items():
            low, high = getattr(self, field)
            if not least <= low <= high <= most:
                raise ValueError(f"{field} must be low <= high in {least}..{most}, got {low, high}")
        return self

    @classmethod
    def preset(cls, name: str) -> AugmentConfig:
        """``none``; ``flip``; ``light``: flips and light; ``strong``: everything, now and then.

        Raises:
            ConfigError: if there is no such preset.
        """
        if name == "none":
            return cls()
        if name == "flip":
            return cls(flip_p=0.5)
        if name == "light":
            return cls(flip_p=0.5, light_p=0.5)
        if name == "strong":
            return cls(
                flip_p=0.5,
                crop_p=0.7,
                occlusion_p=0.2,
                grey_p=0.1,
                light_p=0.7,
                blur_p=0.15,
                down_p=0.2,
                noise_p=0.15,
                jpeg_p=0.2,
            )
        raise ConfigError(f"augment must be one of {', '.join(PRESETS)}, got {name!r}")


class Augmented(NamedTuple):
    """An augmented crop and whether it was mirrored (a cached embedding has both sides)."""

    image: UInt8Image
    flipped: bool


class Augment:
    """Applies a config: ``augment(image, seed=0, epoch=3, index=17)`` is always the same.

    Args:
        config: an ``AugmentConfig`` or the name of a preset.
    """

    def __init__(self, config: AugmentConfig | str = "light") -> None:
        self.config = AugmentConfig.preset(config) if isinstance(config, str) else config
        c = self.config
        table: list[tuple[Probability, slice, _Step]] = [
            (c.occlusion_p, _OCCLUSION, _occlude),
            (c.grey_p, _GREY, _grey),
            (c.light_p, _LIGHT, _light),
            (c.blur_p, _BLUR, _blur),
            (c.down_p, _DOWN, _down_and_up),
            (c.noise_p, _NOISE, _noise),
            (c.jpeg_p, _JPEG, _jpeg),
        ]
        self._steps = [row for row in table if row[0] > 0]
        self._idle = not self._steps and c.flip_p == 0 and c.crop_p == 0

    def __call__(self, image: UInt8Image, *, seed: int, epoch: int, index: int) -> UInt8Image:
        """The augmented crop, (H, W, 3) uint8 RGB like ``image``, which stays as it is."""
        return self.apply(image, seed=seed, epoch=epoch, index=index).image

    def apply(self, image: UInt8Image, *, seed: int, epoch: int, index: int) -> Augmented:
        """The same, and whether it was mirrored."""
        if self._idle:
            return Augmented(image, flipped=False)
        rng = generator(seed, "augment", epoch, index)
        uniform: Uniform = rng.random(_LENGTH)
        flipped = bool(uniform[_FLIP][0] < self.config.flip_p)
        image = _move(image, self.config, uniform[_CROP], flipped=flipped)
        for probability, place, step in self._steps:
            numbers = uniform[place]
            if numbers[0] < probability:
                image = step(image, self.config, numbers[1:], rng)
        return Augmented(image, flipped)


_Step = Callable[[UInt8Image, AugmentConfig, Uniform, np.random.Generator], UInt8Image]


def _between(low_high: tuple[float, float], u: float) -> float:
    low, high = low_high
    return float(low + (high - low) * u)


def _signed(most: float, u: float) -> float:
    return float(most * (2 * u - 1))


def _move(image: UInt8Image, config: AugmentConfig, u: Uniform, *, flipped: bool) -> UInt8Image:
    """Flip, shift, scale and rotate by one resampling."""
    import cv2

    if not u[0] < config.crop_p:
        return np.ascontiguousarray(image[:, ::-1]) if flipped else image
    height, width = image.shape[:2]
    angle_rad = np.deg2rad(_signed(config.angle_deg, u[1]))
    # Shrinking and enlarging are equally likely: the logarithm is uniform.
    scale = (1 + config.scale) ** _signed(1.0, u[2])
    cos, sin = scale * np.cos(angle_rad), scale * np.sin(angle_rad)
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([-1.0 if flipped else 1.0, 1.0])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    shift = np.array([_signed(config.shift, u[3]) * width, _signed(config.shift, u[4]) * height])
    matrix = np.hstack([linear, (centre + shift - linear @ centre)[:, None]])
    moved: Any = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return moved  # type: ignore[no-any-return]


def _occlude(
    image: UInt8Image, config: AugmentConfig, u: Uniform, _rng: np.random.Generator
) -> UInt8Image:
    height, width = image.shape[:2]
    area = _between(config.occlusion_area, u[0])
    aspect = 2.0 ** _signed(1.0, u[1])
    box_h = min(height, round(height * np.sqrt(area * aspect)))
    box_w = min(width, round(width * np.sqrt(area / aspect)))
    top, left = int(u[2] * (height - box_h + 1)), int(u[3] * (width - box_w + 1))
    covered = image.copy()
    covered[top : top + box_h, left : left + box_w] = (u[4:7] * 256).astype(np.uint8)
    return covered


def _grey(
    image: UInt8Image, _config: AugmentConfig, _u: Uniform, _rng: np.random.Generator
) -> UInt8Image:
    import cv2

    grey: Any = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return grey  # type: ignore[no-any-return]


_LEVELS = np.arange(256) / 255.0


def _light(
    image: UInt8Image, config: AugmentConfig, u: Uniform, _rng: np.random.Generator
) -> UInt8Image:
    """Gamma, contrast about mid grey, brightness and warmth, as one table per channel."""
    import cv2

    curve = _LEVELS ** (2.0 ** _signed(config.gamma, u[0]))
    curve = (curve - 0.5) * (1 + _signed(config.contrast, u[1])) + 0.5
    curve = curve + _signed(config.brightness, u[2])
    warmth = _signed(config.temperature, u[3])
    gains = np.array([1 + warmth, 1.0, 1 - warmth])
    table = np.clip(curve[:, None] * gains * 255.0 + 0.5, 0, 255).astype(np.uint8)
    lit: Any = cv2.LUT(image, table[None])
    return lit  # type: ignore[no-any-return]


def _blur(
    image: UInt8Image, config: AugmentConfig, u: Uniform, _rng: np.random.Generator
) -> UInt8Image:
    import cv2

    blurred: Any = cv2.GaussianBlur(image, (0, 0), _between(config.blur_sigma_px, u[0]))
    return blurred  # type: ignore[no-any-return]


def _down_and_up(
    image: UInt8Image, config: AugmentConfig, u: Uniform, _rng: np.random.Generator
) -> UInt8Image:
    import cv2

    height, width = image.shape[:2]
    side = round(_between(config.down_side_px, u[0]))
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    large: Any = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return large  # type: ignore[no-any-return]


def _noise(
    image: UInt8Image, config: AugmentConfig, u: Uniform, rng: np.random.Generator
) -> UInt8Image:
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    noise *= _between(config.noise_sigma, u[0])
    noise += image
    np.rint(noise, out=noise)
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)


def _jpeg(
    image: UInt8Image, config: AugmentConfig, u: Uniform, _rng: np.random.Generator
) -> UInt8Image:
    import cv2

    quality = round(_between(config.jpeg_quality, u[0]))
    # The codec means BGR; a JPEG treats blue and red differently.
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, code = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded: Any = cv2.imdecode(code, cv2.IMREAD_COLOR)
    rgb: Any = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    return rgb  # type: ignore[no-any-return]
