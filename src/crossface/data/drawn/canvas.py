"""A canvas at twice the picture's resolution, painted with anti-aliased polygons."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crossface.core.geometry import Float64Array
from crossface.core.types import UInt8Image

OVERSAMPLE = 2
_SHIFT = 4  # OpenCV takes coordinates in sixteenths of a pixel

Colour = Float64Array | tuple[float, float, float]


def _fixed(points_px: Float64Array, factor: float) -> npt.NDArray[np.int32]:
    """Picture pixels to the canvas: pixel i of the picture is centred at factor * i + offset."""
    scaled = (points_px * factor + (factor - 1) / 2) * (1 << _SHIFT)
    return np.rint(np.clip(scaled, -1e6, 1e6)).astype(np.int32)


class Canvas:
    """RGB uint8 at ``OVERSAMPLE`` times the picture; all coordinates are picture pixels."""

    def __init__(self, ground: UInt8Image) -> None:
        self.pixels: Any = np.ascontiguousarray(ground)

    def fill(self, points_px: Float64Array, colour: Colour) -> None:
        """Fill a polygon."""
        points = _fixed(points_px, OVERSAMPLE)
        cv2.fillPoly(self.pixels, [points], _scalar(colour), cv2.LINE_AA, _SHIFT)

    def line(
        self, points_px: Float64Array, colour: Colour, width_px: float, *, closed: bool = False
    ) -> None:
        """Draw a polyline of a width in picture pixels."""
        points = _fixed(points_px, OVERSAMPLE)
        width = max(1, round(width_px * OVERSAMPLE))
        cv2.polylines(self.pixels, [points], closed, _scalar(colour), width, cv2.LINE_AA, _SHIFT)

    def lines(self, bundle_px: Float64Array, colour: Colour, width_px: float) -> None:
        """Draw (N, K, 2) polylines of one colour."""
        points = _fixed(bundle_px, OVERSAMPLE)
        width = max(1, round(width_px * OVERSAMPLE))
        cv2.polylines(self.pixels, list(points), False, _scalar(colour), width, cv2.LINE_AA, _SHIFT)

    def dots(self, centres_px: Float64Array, radius_px: float, colour: Colour) -> None:
        """Draw filled circles at (N, 2) centres."""
        radius = max(1, round(radius_px * OVERSAMPLE * (1 << _SHIFT)))
        for x, y in _fixed(centres_px, OVERSAMPLE).tolist():
            cv2.circle(self.pixels, (x, y), radius, _scalar(colour), -1, cv2.LINE_AA, _SHIFT)

    def multiply(self, factor: npt.NDArray[np.float32]) -> None:
        """Multiply by a picture-sized (H, W, 3) map with values in 0..2."""
        height, width = self.pixels.shape[:2]
        coded = cv2.convertScaleAbs(factor, alpha=127.0)
        large = cv2.resize(coded, (width, height), interpolation=cv2.INTER_LINEAR)
        cv2.multiply(self.pixels, large, self.pixels, scale=1 / 127.0)

    def picture(self) -> Any:  # noqa: ANN401  # uint8 image
        """(H, W, 3) uint8: the canvas at picture resolution."""
        height, width = (side // OVERSAMPLE for side in self.pixels.shape[:2])
        return cv2.resize(self.pixels, (width, height), interpolation=cv2.INTER_AREA)


class Mask:
    """A picture-sized float map of soft marks in 0..1."""

    def __init__(self, size: int) -> None:
        self.map: Any = np.zeros((size, size), dtype=np.uint8)

    def fill(self, points_px: Float64Array, value: float) -> None:
        """Fill a polygon with a value in 0..1."""
        points = _fixed(points_px, 1)
        cv2.fillPoly(self.map, [points], round(255 * value), cv2.LINE_AA, _SHIFT)

    def line(self, points_px: Float64Array, value: float, width_px: float) -> None:
        """Draw a polyline with a value in 0..1."""
        points = _fixed(points_px, 1)
        width = max(1, round(width_px))
        cv2.polylines(self.map, [points], False, round(255 * value), width, cv2.LINE_AA, _SHIFT)

    def soft(self, sigma_px: float) -> npt.NDArray[np.float32]:
        """(H, W) float32 in 0..1, blurred."""
        reach = 2 * max(1, round(1.6 * sigma_px)) + 1
        blurred = cv2.GaussianBlur(self.map, (reach, reach), sigma_px)
        result: npt.NDArray[np.float32] = blurred * np.float32(1 / 255)
        return result


def _scalar(colour: Colour) -> tuple[float, float, float]:
    return float(colour[0]), float(colour[1]), float(colour[2])


def ellipse(centre: Float64Array, radii: tuple[float, float], *, count: int = 20) -> Float64Array:
    """(count, 2) points of an axis-parallel ellipse."""
    return centre + _circle(count) * radii


@lru_cache(maxsize=32)
def _circle(count: int) -> Float64Array:
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.column_stack([np.cos(turn), np.sin(turn)])
