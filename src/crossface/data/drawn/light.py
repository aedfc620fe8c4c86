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
from crossface.data.drawn.scene import Scene

_LEVELS = (0.12, 0.36, 0.58, 0.76, 0.9, 1.0)
_UNIT = 127  # the code of factor 1 in an eight-bit map


def background(how: Nuisance, size: int) -> tuple[Any, Float64Array]:
    """A ground of ``size`` pixels and a colour for the clothes, from the picture's seed."""
    rng = generator("drawn ground", how.background_seed)
    base = rng.uniform(30, 215) + rng.uniform(-28, 28, 3)
    clothes = rng.uniform(25, 215) + rng.uniform(-40, 40, 3)
    cells = int(rng.integers(2, 9))
    depth = rng.uniform(4, 40)
    rough = base + depth * rng.standard_normal((cells, cells, 1))
    rough = rough + 0.3 * depth * rng.standard_normal((cells, cells, 3))
    coarse = np.clip(rough, 0, 255).astype(np.uint8)
    kind = cv2.INTER_CUBIC if rng.random() < 0.9 else cv2.INTER_NEAREST
    ground = cv2.resize(coarse, (size, size), interpolation=kind)
    return ground, np.clip(clothes, 10, 245)


def light_direction(how: Nuisance) -> Float64Array:
    """(3,) unit vector from the head to the lamp, in head units of an unturned head."""
    azimuth, elevation = np.radians([how.light_azimuth_deg, how.light_elevation_deg])
    return np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ]
    )


def tone(image: UInt8Image, scene: Scene) -> Any:  # noqa: ANN401  # uint8 image
    """The picture under its light: form of the head, falloff, exposure, colour of the lamp."""
    how = scene.how
    azimuth = np.radians(how.light_azimuth_deg)
    fall = 0.22 * how.light_strength * np.sin(azimuth)
    across = (1 + fall * np.linspace(-1, 1, scene.size)).astype(np.float32)
    factor = cv2.convertScaleAbs(_form(scene) * across, alpha=_UNIT)
    lit = cv2.multiply(image, cv2.cvtColor(factor, cv2.COLOR_GRAY2RGB), scale=1 / _UNIT)
    return cv2.LUT(lit, _curve(scene))


def _form(scene: Scene) -> npt.NDArray[np.float32]:
    """(H, W) brightness of the head as a curved body under one lamp and a sky; 1 around it."""
    half = scene.size // 2
    rings, values = _mesh(scene)
    mesh = np.rint((rings - 0.5) * 8).astype(np.int32)  # sixteenths of a half pixel
    shade: Any = np.full((half, half), float(values[-1].mean()), dtype=np.uint8)
    quads = np.stack([mesh[:-1], np.roll(mesh[:-1], -1, 1), np.roll(mesh[1:], -1, 1), mesh[1:]], 2)
    levels = 0.5 * (values[:-1] + values[1:])
    for ring, tones in zip(quads[::-1], levels[::-1].tolist(), strict=True):
        for quad, value in zip(ring, tones, strict=True):
            cv2.fillConvexPoly(shade, quad, value, 8, 4)
    cv2.fillConvexPoly(shade, mesh[0], float(values[0].mean()), 8, 4)
    shade = cv2.GaussianBlur(shade, (0, 0), 0.045 * half)
    inside: Any = np.zeros((half, half), dtype=np.uint8)
    skull = np.vstack([scene.head.ring(1.0, 0.03)[::2], *scene.head.back_rings(0.06)])
    hull = cv2.convexHull(np.rint((scene.in_space(skull) - 0.5) * 8).astype(np.int32))
    cv2.fillConvexPoly(inside, hull, 255, 8, 4)
    inside = cv2.GaussianBlur(inside, (5, 5), 1.2) * np.float32(1 / 255)
    factor = 1 + inside * (shade * np.float32(1 / _UNIT) - 1)
    return cv2.resize(factor, (scene.size, scene.size))  # type: ignore[no-any-return]


def _mesh(scene: Scene) -> tuple[Float64Array, Float64Array]:
    """(L, 32, 2) pixels of rings around the face, and (L, 32) their brightness as 8-bit codes."""
    lamp = light_direction(scene.how) @ scene.camera.rotation  # into the head's own frame
    rings, lit = [], []
    for share in (*_LEVELS, 1.25):
        ring = scene.head.ring(min(share, 1.0), max(share - 1.0, 0.0))
        normals = scene.head.normals(ring, min(share, 0.985))
        lit.append(np.maximum(normals @ lamp, 0.0)[::2])
        rings.append(scene.in_space(ring[::2]))
    strength = scene.how.light_strength
    tones = 1.05 * (1 - 0.75 * strength) + 0.85 * strength * np.array(lit)
    return np.array(rings), np.clip(_UNIT * tones, 0, 255)


def _curve(scene: Scene) -> npt.NDArray[np.uint8]:
    """(1, 256, 3) look-up table of exposure, contrast and white balance."""
    how = scene.how
    metered = 0.5 * (scene.who.skin_tone - 0.35)  # a camera exposes for the face, half-heartedly
    warm, tint = how.temperature, how.tint
    gain = 2.0 ** (how.exposure_stops + metered) * np.array(
        [1 + 0.16 * warm + 0.04 * tint, 1 - 0.06 * tint, 1 - 0.22 * warm + 0.04 * tint]
    )
    linear = (np.arange(256) / 255.0)[:, None] * gain
    soft = np.where(linear > 0.8, 0.8 + 0.2 * np.tanh((linear - 0.8) / 0.2), linear)
    curved = 0.5 * (soft / 0.5) ** how.contrast
    table: npt.NDArray[np.uint8] = np.clip(curved * 255, 0, 255).astype(np.uint8)[None]
    return table


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
        worn = cv2.addWeighted(worn, 1.0, tile, how.noise / 64, 0.0, dtype=cv2.CV_8U)
    if how.jpeg_quality < 100:
        coded = cv2.imencode(".jpg", worn, [cv2.IMWRITE_JPEG_QUALITY, how.jpeg_quality])[1]
        worn = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    result: UInt8Image = worn
    return result
