"""Regression of a student's embedding to a teacher's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from crossface.losses.checks import check_same_shape, wide


def cosine_distance_loss(student: Tensor, target: Tensor) -> Tensor:
    """Mean of 1 - cos over the rows: the baseline every other distiller must beat.

    Args:
        student: (N, D) raw embeddings.
        target: (N, D) the teacher's embeddings of the same pictures, of any length.

    Returns:
        Scalar in [0, 2], in float32 at least. For unit vectors it is half the squared distance.

    Raises:
        ValueError: if the shapes differ or there is no row.
    """
    check_same_shape(student, target, "student and target")
    return (1.0 - F.cosine_similarity(wide(student), wide(target), dim=1)).mean()
