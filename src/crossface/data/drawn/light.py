"""Backgrounds, the light over the whole picture, and the damage a camera does."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crossface.core.geometry import Float64Array
from crossface.core.seeds import generator
from crossface.core.types import UInt8Image
from crossface.data.drawn.nuisance import Nuisance

_CROP = 112  # blur is stated at this crop size, whose eyes are 35 px apart


def background(how: Nuisance, size: int) -> tuple[Any, Float64Array]:
    """A ground of ``size`` pixels and a colour for the clothes, from the picture's seed."""
    rng = generator("drawn ground", how.background_seed)
    base = rng.uniform(30, 225, 3) * 0.5 + rng.uniform(30, 225) * 0.5
    clothes = rng.uniform(25, 225, 3) * 0.6 + rng.uniform(20, 220) * 0.4
    cells = int(rng.integers(2, 9))
    rough = base + rng.standard_normal((cells, cells, 3)) * rng.uniform(4, 45)
    coarse = np.clip(rough, 0, 255).astype(np.uint8)
    kind = cv2.INTER_CUBIC if rng.random() < 0.7 else cv2.INTER_NEAREST
    return cv2.resize(coarse, (size, size), interpolation=kind), clothes


def tone(image: UInt8Image, how: Nuisance) -> Any:  # noqa: ANN401  # uint8 image
    """The picture under the day's light: falloff, exposure, contrast, colour of the lamp."""
    azimuth = np.radians(how.light_azimuth_deg)
    fall = 0.3 * how.light_strength * np.sin(azimuth)
    across = 1 + fall * np.linspace(-1, 1, image.shape[1])
    ramp = np.clip(across * 127, 0, 255).astype(np.uint8)
    ramp = np.broadcast_to(ramp[None, :, None], image.shape)
    lit = cv2.multiply(image, np.ascontiguousarray(ramp), scale=1 / 127.0)
    return cv2.LUT(lit, _curve(how))


def _curve(how: Nuisance) -> npt.NDArray[np.uint8]:
    """(1, 256, 3) look-up table of exposure, contrast and white balance."""
    level = np.arange(256) / 255.0
    warm, tint = how.temperature, how.tint
    gain = 2.0**how.exposure_stops * np.array(
        [1 + 0.16 * warm + 0.04 * tint, 1 - 0.06 * tint, 1 - 0.22 * warm + 0.04 * tint]
    )
    linear = level[:, None] * gain
    soft = np.where(linear > 0.8, 0.8 + 0.2 * np.tanh((linear - 0.8) / 0.2), linear)
    curved = 0.5 * (soft / 0.5) ** how.contrast
    return np.clip(curved * 255, 0, 255).astype(np.uint8)[None]


@lru_cache(maxsize=1)
def _grain() -> npt.NDArray[np.int16]:
    """A (512, 512, 3) tile of noise, 64 grey levels to a standard deviation."""
    noise = generator("drawn grain").standard_normal((512, 512, 3))
    return np.clip(noise * 64, -255, 255).astype(np.int16)


def degrade(image: UInt8Image, how: Nuisance) -> UInt8Image:
    """Blur, noise and compression, in the order a camera adds them."""
    worn: Any = image
    if how.blur_px > 0.05:
        worn = cv2.GaussianBlur(worn, (0, 0), how.blur_px)
    if how.noise > 0.1:
        rng = generator("drawn noise", how.grain_seed)
        height, width = worn.shape[:2]
        y, x = rng.integers(0, 512 - height), rng.integers(0, 512 - width)
        tile = _grain()[y : y + height, x : x + width]
        worn = cv2.addWeighted(worn.astype(np.int16), 1.0, tile, how.noise / 64, 0.0)
        worn = np.clip(worn, 0, 255).astype(np.uint8)
    if how.jpeg_quality < 100:
        coded = cv2.imencode(".jpg", worn, [cv2.IMWRITE_JPEG_QUALITY, how.jpeg_quality])[1]
        worn = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    result: UInt8Image = worn
    return result
