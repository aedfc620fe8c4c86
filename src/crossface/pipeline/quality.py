"""How usable a face is: size, sharpness, pose, light, and a learned score where its file is given.

The score is the smallest of its parts, so a face is as good as its worst property; each part lies
in [0, 1]:

- size: eye distance in the picture over the template's 35.2 px, at most 1. Below 1 the crop was
  enlarged and holds less detail than the network was trained on.
- sharpness: v / (v + HALF_SHARP) where v is the variance of the Laplacian of the grey crop over
  the variance of its grey values, so that contrast does not count as sharpness.
- pose: cos(yaw) * cos(pitch), 0 beyond 90 degrees: the share of the frontal area that is seen.
- light: the smallest of three ramps: mean grey, contrast, and 1 - share of clipped pixels. The
  ramp of the mean reaches 1 well inside both ends and contrast is relative to the mean, so that
  skin tone does not move it.
- learned: LightQNet's score over what it gives to a good face, at most 1.

The length of the raw embedding is kept in ``Face.raw_norm`` and is no part of the score: its scale
is another one for every model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crossface.core.geometry import umeyama, warp
from crossface.core.template import ARCFACE_POINTS_112
from crossface.core.types import Box, Pose, QualityParts, UInt8Image
from crossface.pipeline.pose import FsaNet, open_small, pose_from_landmarks
from crossface.pipeline.runtimes.sessions import float_outputs

TEMPLATE_EYE_DISTANCE_PX = float(np.linalg.norm(ARCFACE_POINTS_112[1] - ARCFACE_POINTS_112[0]))
HALF_SHARP = 0.01
"""The normalised variance of the Laplacian at which sharpness is one half."""

GOOD_LIGHTQNET = 0.59
"""What LightQNet gives to a good face."""

_FACE = np.s_[28:108, 18:94]  # of the 112x112 crop: brows to chin, without the background
_MEAN_RAMP = (10.0, 40.0, 225.0, 250.0)
_CONTRAST_RAMP = (0.04, 0.15)
_LIGHTQNET_SIDE_PX = 96
_LIGHTQNET_POINTS = np.array([[0.3419, 0.4616], [0.6565, 0.4598], [0.5012, 0.8240]])


class QualityMeter:
    """Measures one face at a time; safe to share between threads.

    Args:
        lightqnet: ONNX file of LightQNet: NHWC BGR 96x96, (value - 128) / 128, one score.
        fsanet: ONNX files of FSA-Net, averaged; without them pose comes from the detector where
            it tells it, else from the landmarks.

    Raises:
        WeightsError: a file that is no such network.

    Paper: LightQNet, IEEE SPL 2021.
    """

    def __init__(
        self, *, lightqnet: str | Path | None = None, fsanet: Sequence[str | Path] = ()
    ) -> None:
        side = _LIGHTQNET_SIDE_PX
        self._lightqnet = (
            None if lightqnet is None else open_small(lightqnet, (None, side, side, 3), 1)
        )
        self._fsanet = FsaNet(fsanet) if fsanet else None

    def measure(
        self,
        image: UInt8Image,
        box: Box,
        landmarks_px: npt.NDArray[np.float32],
        crop: UInt8Image | None = None,
        pose: Pose | None = None,
    ) -> tuple[float, QualityParts, Pose]:
        """Score, its parts and the head pose of one face.

        Args:
            image: (H, W, 3) uint8 RGB, the picture.
            box: of the face.
            landmarks_px: (5, 2) in the picture.
            crop: (112, 112, 3) uint8 RGB in the ArcFace template, if there is one already.
            pose: as the detector tells it, if it does; FSA-Net's is preferred where it is given.

        Raises:
            ValueError: if the landmarks coincide or are not finite.
        """
        if crop is None:
            crop = warp(image, umeyama(landmarks_px, ARCFACE_POINTS_112), (112, 112))
        if self._fsanet is not None:
            pose = self._fsanet.estimate(image, box)
        elif pose is None:
            pose = pose_from_landmarks(landmarks_px)
        parts = self._parts(crop, landmarks_px, pose, self._learned(image, landmarks_px))
        return score_of(parts), parts, pose

    def _parts(
        self,
        crop: UInt8Image,
        landmarks_px: npt.NDArray[np.float32],
        pose: Pose,
        learned: float | None,
    ) -> QualityParts:
        eyes = float(np.hypot(*(landmarks_px[1].astype(np.float64) - landmarks_px[0])))
        grey = to_grey(crop)[_FACE]
        laplacian = laplacian_variance(grey)
        mean = float(grey.mean())
        contrast = float(grey.std()) / max(mean, 1.0)
        clipped = float(((grey <= 2) | (grey >= 253)).mean())
        frontal = np.cos(np.radians([pose.yaw_deg, pose.pitch_deg])).clip(0)
        return QualityParts(
            size=min(1.0, eyes / TEMPLATE_EYE_DISTANCE_PX),
            sharpness=laplacian / (laplacian + HALF_SHARP),
            pose=float(frontal.prod()),
            light=min(_light(mean, contrast), 1 - clipped),
            learned=None if learned is None else min(1.0, learned / GOOD_LIGHTQNET),
            eye_distance_px=eyes,
            laplacian=laplacian,
            mean=mean,
            contrast=contrast,
            clipped=clipped,
        )

    def _learned(self, image: UInt8Image, landmarks_px: npt.NDArray[np.float32]) -> float | None:
        if self._lightqnet is None:
            return None
        mouth = landmarks_px[3:].mean(axis=0)
        three = np.vstack([landmarks_px[:2], mouth])
        side = _LIGHTQNET_SIDE_PX
        crop = warp(image, umeyama(three, _LIGHTQNET_POINTS * side), (side, side))
        values = (crop[None, ..., ::-1].astype(np.float32) - np.float32(128)) / np.float32(128)
        (score,) = float_outputs(self._lightqnet, np.ascontiguousarray(values))
        return float(score.reshape(-1)[0])


def score_of(parts: QualityParts) -> float:
    """The smallest part, in [0, 1]."""
    scores = [parts.size, parts.sharpness, parts.pose, parts.light]
    if parts.learned is not None:
        scores.append(parts.learned)
    return min(scores)


def to_grey(image: UInt8Image) -> npt.NDArray[np.float64]:
    """(H, W) float64 luma of an RGB picture (ITU-R BT.601)."""
    weights = np.array([0.299, 0.587, 0.114])
    result: npt.NDArray[np.float64] = image @ weights
    return result


def laplacian_variance(grey: npt.NDArray[np.float64]) -> float:
    """Variance of the 4-neighbour Laplacian over the variance of the values; 0 for a flat picture.

    Source: the focus measure of Pech-Pacheco et al., "Diatom autofocusing in brightfield
    microscopy", ICPR 2000.
    Deviation: divided by the variance of the grey values.
    """
    inner = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    spread = float(grey.var())
    return float(inner.var()) / spread if spread > 1e-9 else 0.0


def _light(mean: float, contrast: float) -> float:
    dark_0, dark_1, bright_1, bright_0 = _MEAN_RAMP
    low, high = _CONTRAST_RAMP
    ramps = (
        (mean - dark_0) / (dark_1 - dark_0),
        (bright_0 - mean) / (bright_0 - bright_1),
        (contrast - low) / (high - low),
        1.0,
    )
    return max(0.0, min(ramps))
