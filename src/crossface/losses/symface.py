"""SymFace: the two halves of a frontal face, each made whole by its mirror image, embed alike."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from crossface.losses.checks import check_same_shape, wide


def symmetry_loss(
    left: Tensor, right: Tensor, frontness: Tensor | None = None, *, threshold: float = 0.5
) -> Tensor:
    """Mean of ``frontness * (1 - cos(left, right))``, faces not frontal enough counting 0.

    Args:
        left: (N, D) embeddings of the first pictures of ``mirrored_halves``.
        right: (N, D) embeddings of the second ones.
        frontness: (N,) in [0, 1], see ``frontness_of``; None: all 1.
        threshold: in [0, 1); faces at or below it count 0.

    Returns:
        Scalar in [0, 2], in float32 at least. The gradient reaches both sides.

    Raises:
        ValueError: if shapes do not fit.

    Paper: SymFace, arXiv:2409.11816, L_total = L_f + L_rho with L_rho pulling the halves together.
    Deviation: the paper's formulas were not found. [READING] the cosine distance, the product with
    the frontness, its threshold and the mean over all rows; the weight beside L_f is the caller's.
    """
    check_same_shape(left, right, "embeddings of the two halves")
    apart = 1.0 - F.cosine_similarity(wide(left), wide(right), dim=1)
    if frontness is None:
        return apart.mean()
    if frontness.shape != (len(left),):
        raise ValueError(f"frontness must be ({len(left)},), got {tuple(frontness.shape)}")
    weights = torch.where(frontness > threshold, frontness, 0.0).to(apart.dtype)
    return (weights * apart).mean()


def frontness_of(landmarks: Tensor, *, tolerance: float = 0.15) -> Tensor:
    """How frontal faces are, from eyes and nose.

    Args:
        landmarks: (N, 5, 2) in pixels, x first: left eye, right eye, nose, corners of the mouth,
            of an upright face.
        tolerance: at a nose so many eye distances off the middle of the eyes, the frontness
            is 1/e.

    Returns:
        (N,) in [0, 1], in float32 at least.

    Raises:
        ValueError: if the shape is another one or the tolerance is not positive.

    Paper: SymFace, arXiv:2409.11816: the discrepancy of the x of the nose and of the eyes' middle,
    turned into a coefficient in [0, 1].
    Deviation: the paper's formula was not found. [READING] exp(-(D / (tolerance * eyes))^2).
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (5, 2):
        raise ValueError(f"landmarks must be (N, 5, 2), got {tuple(landmarks.shape)}")
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    points = wide(landmarks)
    middle = (points[:, 0, 0] + points[:, 1, 0]) / 2
    eyes = (points[:, 1] - points[:, 0]).norm(dim=1).clamp_min(1e-6)
    return torch.exp(-(((points[:, 2, 0] - middle) / (tolerance * eyes)) ** 2))


def mirrored_halves(images: Tensor) -> tuple[Tensor, Tensor]:
    """Two pictures of every face: left half and its mirror image, mirror image and right half.

    Args:
        images: (N, 3, H, W) with W even, the face in the middle.

    Returns:
        Two batches like ``images``; a symmetric picture gives itself twice.

    Raises:
        ValueError: if the width is odd.

    Paper: SymFace, arXiv:2409.11816, the vertical split.
    Deviation: [READING] halves are completed by their mirror images; that the paper's network
    sees whole pictures is not known.
    """
    width = images.shape[-1]
    if images.ndim != 4 or width % 2:
        raise ValueError(f"images must be (N, C, H, even W), got {tuple(images.shape)}")
    left, right = images[..., : width // 2], images[..., width // 2 :]
    return torch.cat([left, left.flip(-1)], -1), torch.cat([right.flip(-1), right], -1)
