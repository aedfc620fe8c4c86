"""Colours of skin, hair and eyes, RGB on the 0-255 scale."""

from __future__ import annotations

import numpy as np

from crossface.core.geometry import Float64Array
from crossface.data.drawn.identity import Identity

_SKIN = np.array(
    [
        (250, 219, 200),
        (240, 200, 172),
        (226, 178, 142),
        (204, 150, 110),
        (178, 124, 88),
        (146, 98, 68),
        (116, 76, 54),
        (92, 61, 46),
    ],
    dtype=np.float64,
)
_HAIR = np.array(
    [(226, 194, 132), (176, 132, 78), (122, 82, 50), (78, 52, 36), (44, 32, 28), (26, 22, 24)],
    dtype=np.float64,
)
_IRIS = np.array(
    [(84, 50, 28), (116, 78, 40), (112, 112, 62), (94, 128, 120), (96, 136, 172)],
    dtype=np.float64,
)


def skin_rgb(who: Identity) -> Float64Array:
    """(3,) base colour of the skin."""
    rgb = _along(_SKIN, who.skin_tone)
    return np.clip(rgb * (1 + who.undertone * np.array([-0.015, 0.015, -0.06])), 0, 255)


def hair_rgb(who: Identity) -> Float64Array:
    """(3,) base colour of the hair."""
    rgb = _along(_HAIR, who.hair_melanin)
    red = max(0.0, who.hair_red - 0.7) / 0.3 * (1 - who.hair_melanin)
    rgb = mix(rgb, np.array([168.0, 80.0, 36.0]), 0.8 * red)
    grey = min(1.0, max(0.0, who.hair_grey - 0.8) / 0.15)
    return mix(rgb, np.array([176.0, 174.0, 172.0]), 0.85 * grey)


def iris_rgb(who: Identity) -> Float64Array:
    """(3,) colour of the iris."""
    return np.clip(_along(_IRIS, who.iris_hue) * (0.65 + 0.5 * who.iris_light), 0, 255)


def lip_rgb(who: Identity) -> Float64Array:
    """(3,) colour of the lips."""
    red = np.array([176.0, 70.0, 72.0]) * (1.05 - 0.55 * who.skin_tone)
    return mix(skin_rgb(who) * np.array([0.9, 0.76, 0.76]), red, 0.15 + 0.5 * who.lip_red)


def mix(a: Float64Array, b: Float64Array, share: float) -> Float64Array:
    """(3,) ``a`` moved towards ``b`` by a share in 0..1."""
    return a + (b - a) * share


def _along(stops: Float64Array, place: float) -> Float64Array:
    at = np.linspace(0, 1, len(stops))
    return np.array([np.interp(place, at, stops[:, channel]) for channel in range(3)])
