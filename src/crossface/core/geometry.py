"""Similarity transforms, reference points and warping between alignment templates."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.contract import InputSpec
from crossface.core.template import ARCFACE_POINTS_112
from crossface.core.types import UInt8Batch, UInt8Image

Float64Array = npt.NDArray[np.float64]


def umeyama(source: npt.ArrayLike, target: npt.ArrayLike) -> Float64Array:
    """Least-squares similarity that maps ``source`` onto ``target``.

    Args:
        source: (N, 2) points, N >= 2, not all the same.
        target: (N, 2) points.

    Returns:
        (2, 3) float64 matrix M with ``target ~ source @ M[:, :2].T + M[:, 2]``; never a mirror.

    Raises:
        ValueError: if shapes differ, a value is not finite, or the source points coincide.

    Paper: Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", TPAMI 1991, Eqs. 40-42.
    Deviation: none.
    """
    a = np.asarray(source, dtype=np.float64)
    b = np.asarray(target, dtype=np.float64)
    if a.ndim != 2 or a.shape[1:] != (2,) or a.shape != b.shape or len(a) < 2:
        raise ValueError(
            f"points must be two (N, 2) arrays with N >= 2, got {a.shape} and {b.shape}"
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("points must be finite")
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    centred_a, centred_b = a - mean_a, b - mean_b
    variance = (centred_a**2).sum() / len(a)
    if variance < 1e-12:
        raise ValueError("source points coincide, no similarity is defined")
    u, singular, vt = np.linalg.svd(centred_b.T @ centred_a / len(a))
    sign = np.ones(2)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        sign[-1] = -1.0
    rotation = u @ np.diag(sign) @ vt
    scale = (singular * sign).sum() / variance
    linear = scale * rotation
    return np.hstack([linear, (mean_b - linear @ mean_a)[:, None]])


def apply_transform(matrix: Float64Array, points: npt.ArrayLike) -> Float64Array:
    """(N, 2) points moved by a (2, 3) matrix."""
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def turned(angles_deg: Float64Array, turn_deg: float) -> Float64Array:
    """Yaw, pitch and roll of a head in a picture that is turned clockwise.

    Yaw and pitch say where the head looks as seen by the camera: that direction turns with the
    picture, and the roll grows by the turn.
    """
    yaw, pitch, roll = np.radians(angles_deg)
    angle = np.radians(turn_deg)
    x, y, depth = np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)
    x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    roll = (roll + angle + np.pi) % (2 * np.pi) - np.pi
    return np.degrees([np.arctan2(x, depth), np.arcsin(np.clip(-y, -1, 1)), roll])


def warp(image: UInt8Image, matrix: Float64Array, size_hw: tuple[int, int]) -> UInt8Image:
    """Resample an image once by a (2, 3) matrix; outside is black, as in the field.

    Args:
        image: (H, W, 3) uint8.
        matrix: maps source pixels to target pixels.
        size_hw: height and width of the result.
    """
    import cv2

    result: Any = cv2.warpAffine(
        image, matrix, (size_hw[1], size_hw[0]), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0)
    )
    return result  # type: ignore[no-any-return]


def align(image: UInt8Image, landmarks_px: npt.ArrayLike, spec: InputSpec) -> UInt8Image:
    """A face crop as a network wants it, by one resampling of the picture.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks_px: (5, 2): viewer's left eye, right eye, nose tip, mouth corners.
        spec: the network's InputSpec.
    """
    matrix = umeyama(landmarks_px, spec.reference_points_px)
    return warp(image, matrix, spec.size_hw)


def retarget_crops(crops: UInt8Batch, spec: InputSpec) -> UInt8Batch:
    """Crops in the ArcFace 112x112 template, resampled once into another network's template.

    Args:
        crops: (N, 112, 112, 3) uint8 RGB.
        spec: the other network's InputSpec; if it is the same template, ``crops`` is returned.

    Raises:
        ValueError: if the crops are not 112x112.
    """
    if crops.shape[1:] != (112, 112, 3):
        raise ValueError(f"aligned crops must be (N, 112, 112, 3), got {crops.shape}")
    if spec.is_arcface_112:
        return crops
    matrix = umeyama(ARCFACE_POINTS_112, spec.reference_points_px)
    out = np.empty((len(crops), *spec.size_hw, 3), dtype=np.uint8)
    for index, crop in enumerate(crops):
        out[index] = warp(crop, matrix, spec.size_hw)
    return out


def normalise(crops: UInt8Batch, spec: InputSpec) -> npt.NDArray[np.float32]:
    """(N, H, W, 3) uint8 RGB crops to the float32 tensor the network's ``spec`` describes."""
    if crops.shape[1:] != (*spec.size_hw, 3):
        raise ValueError(
            f"crops must be (N, {spec.size_hw[0]}, {spec.size_hw[1]}, 3), got {crops.shape}"
        )
    ordered = crops if spec.channel_order == "rgb" else crops[..., ::-1]
    values = ordered.astype(np.float32)
    values -= np.asarray(spec.mean, dtype=np.float32)
    values /= np.asarray(spec.std, dtype=np.float32)
    if spec.layout == "nchw":
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values)
