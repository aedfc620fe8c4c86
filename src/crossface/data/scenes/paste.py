"""Where a face comes to lie in a scene, what becomes of its labels, and the pasting itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crossface.core.geometry import Float64Array, apply_transform, turned
from crossface.core.types import UInt8Image
from crossface.data.scenes.cuts import FaceCut

Mask = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """The labels of a face in a scene.

    Attributes:
        points: (5, 2) float64 px of the scene.
        box: (4,) float64 px: x1, y1, x2, y2 around the turned ellipse, not cut at the border.
        angles: (3,) float64 degrees: yaw, pitch, roll in the scene.
    """

    points: Float64Array
    box: Float64Array
    angles: Float64Array


def placement(
    cut: FaceCut, centre_xy: tuple[float, float], height_px: float, turn_deg: float
) -> Float64Array:
    """(2, 3) similarity that puts a face into a scene.

    Args:
        cut: the face.
        centre_xy: where the middle of its ellipse comes to lie, in px of the scene.
        height_px: of the ellipse, before it is turned.
        turn_deg: clockwise in the picture.
    """
    scale = height_px / (2 * cut.ellipse[3])
    angle = np.radians(turn_deg)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.hstack([linear, (np.asarray(centre_xy) - linear @ cut.ellipse[:2])[:, None]])


def place(cut: FaceCut, matrix: Float64Array) -> Placed:
    """The labels of a face moved by a similarity."""
    scale = float(np.hypot(*matrix[:, 0]))
    turn = float(np.arctan2(matrix[1, 0], matrix[0, 0]))
    (centre,) = apply_transform(matrix, cut.ellipse[None, :2])
    axes = cut.ellipse[2:] * scale
    cos, sin = np.cos(turn), np.sin(turn)
    # of the box around a turned ellipse
    half = np.hypot([axes[0] * cos, axes[0] * sin], [axes[1] * sin, axes[1] * cos])
    return Placed(
        apply_transform(matrix, cut.points),
        np.concatenate([centre - half, centre + half]),
        turned(cut.angles, np.degrees(turn)),
    )


def oval_mask(
    size_hw: tuple[int, int],
    centre_xy: tuple[float, float],
    axes_xy: tuple[float, float],
    power: float,
    feather: float,
) -> Mask:
    """(H, W) float32 in [0, 1]: a soft superellipse, 1 inside, 0 outside.

    Args:
        size_hw: of the mask.
        centre_xy: its middle in px.
        axes_xy: half axes in px, to the middle of the soft edge.
        power: 2 is an ellipse, larger ones approach a rectangle.
        feather: width of the soft edge as a share of the axes.
    """
    x = np.abs((np.arange(size_hw[1], dtype=np.float32) - centre_xy[0]) / axes_xy[0])
    y = np.abs((np.arange(size_hw[0], dtype=np.float32) - centre_xy[1]) / axes_xy[1])
    radius = (x**power + (y**power)[:, None]) ** (1 / power)
    mask: Mask = np.clip((1 - radius) / feather + 0.5, 0, 1).astype(np.float32)
    return mask


def paste(scene: UInt8Image, image: UInt8Image, mask: Mask, matrix: Float64Array) -> None:
    """Lay a picture over a scene, in place, through its mask.

    A picture that is made much smaller is averaged, as a camera's lens and sensor would.

    Args:
        scene: (H, W, 3) uint8, changed.
        image: (h, w, 3) uint8.
        mask: (h, w) in [0, 1], how much of it is seen.
        matrix: (2, 3) similarity from pixels of the picture to those of the scene.
    """
    matrix = matrix.copy()
    scale = float(np.hypot(*matrix[:, 0]))
    if scale < 0.75:
        height, width = image.shape[:2]
        small: Any = (max(round(width * scale), 2), max(round(height * scale), 2))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        mask = cv2.resize(mask, small, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        shrink = np.array([width / small[0], height / small[1]])
        matrix[:, 2] += matrix[:, :2] @ (shrink / 2 - 0.5)  # pixels are counted by their middles
        matrix[:, :2] *= shrink
    corners = np.array([(x, y) for x in (0, image.shape[1]) for y in (0, image.shape[0])])
    moved = apply_transform(matrix, corners)
    limit = np.array([scene.shape[1], scene.shape[0]])
    low = np.clip(np.floor(moved.min(axis=0)), 0, limit).astype(int)
    high = np.clip(np.ceil(moved.max(axis=0)), 0, limit).astype(int)
    if (high <= low).any():
        return
    local = np.hstack([matrix[:, :2], (matrix[:, 2] - low)[:, None]])
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    face: Any = cv2.warpAffine(image, local, size, borderMode=cv2.BORDER_REPLICATE)
    seen: Any = cv2.warpAffine(mask, local, size)
    part = scene[low[1] : high[1], low[0] : high[0]]
    mixed = part + (face.astype(np.float32) - part) * seen[..., None]
    part[...] = np.rint(mixed).astype(np.uint8)
