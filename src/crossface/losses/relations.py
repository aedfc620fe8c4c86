"""Distillation of relations: how the pictures of a batch lie to each other, not where they lie.

None of these losses sees a rotation of the student's space, so none of them alone puts a student
into its teacher's space.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from crossface.losses.checks import products, wide

# Two rows nearer than this share of the mean squared distance count as one: their direction is
# rounding.
_COINCIDE = 1e-6
# Angles of so many vertices are held at once: 16 x B x B numbers instead of B x B x B.
_VERTICES = 16


def similarity_preserving(
    student: Tensor, teacher: Tensor, form: Literal["cosine", "rows"] = "cosine"
) -> Tensor:
    """Squared difference of two similarity matrices, over B^2.

    Args:
        student: (B, D) raw embeddings.
        teacher: (B, E) the teacher's of the same pictures; no gradient reaches them.
        form: "rows" compares A A^T with rows of unit length, as the paper; "cosine" compares the
            cosines of the embeddings, as TFace's code does for faces.

    Returns:
        Scalar, in float32 at least: in [0, 4] for "cosine", in [0, 4 / B] for "rows".

    Raises:
        ValueError: if the batches differ or ``form`` is neither.

    Paper: Tung & Mori, "Similarity-Preserving Knowledge Distillation", arXiv:1907.09682, Eq. 2-4.
    Deviation: on embeddings instead of a layer's activations, as in TFace's code.
    """
    check_same_batch(student, teacher)
    if form not in {"cosine", "rows"}:
        raise ValueError(f"form must be 'cosine' or 'rows', got {form!r}")
    sides = []
    for embeddings in (wide(student), wide(teacher.detach())):
        x = F.normalize(embeddings, dim=1) if form == "cosine" else embeddings
        similarity = products(x, x)
        sides.append(similarity if form == "cosine" else F.normalize(similarity, dim=1))
    return (sides[0] - sides[1]).square().mean()


def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber difference of the pairs' distances, each network's in units of its own mean distance.

    Args:
        student: (B, D) raw embeddings.
        teacher: (B, E) the teacher's of the same pictures; no gradient reaches them.

    Returns:
        Scalar >= 0, in float32 at least: the mean over all B^2 entries, the zero diagonal
        included, as in the authors' and GKD's code. 0 where all rows of a side coincide.

    Raises:
        ValueError: if the batches differ.

    Paper: Park et al., "Relational Knowledge Distillation", arXiv:1904.05068, Eq. 6-8.
    Deviation: pairs nearer than 1e-3 of the mean distance count as one point.
    """
    check_same_batch(student, teacher)
    sides = []
    for embeddings in (wide(student), wide(teacher.detach())):
        squared, apart = _squared_distances(embeddings)
        distance = torch.where(apart, squared, 1.0).sqrt() * apart
        mean = distance.sum() / apart.sum().clamp_min(1)
        sides.append(distance / torch.where(mean > 0, mean, 1.0))
    return F.smooth_l1_loss(sides[0], sides[1])


def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber difference of the cosines of the angles that all triplets of the batch span.

    Args:
        student: (B, D) raw embeddings.
        teacher: (B, E) the teacher's of the same pictures; no gradient reaches them.

    Returns:
        Scalar >= 0, in float32 at least: the mean over all B^3 triplets, the degenerate ones (with
        cosine 0) included, as in the authors' and GKD's code.

    Raises:
        ValueError: if the batches differ.

    Paper: arXiv:1904.05068, Eq. 9-11.
    Deviation: none in the formula. The cosines come from the Gram matrix,
    <x_i - x_j, x_k - x_j> = G_ik - G_ij - G_jk + G_jj, a few vertices j at a time and once more in
    the backward pass: B^3 additions instead of B^3 D, and never B^3 numbers at once. Points nearer
    than 1e-3 of the mean distance count as one.
    """
    check_same_batch(student, teacher)
    parts = [_gram(wide(side)) for side in (student, teacher.detach())]
    total = student.new_zeros((), dtype=parts[0][0].dtype)
    for first in range(0, len(student), _VERTICES):
        vertices = slice(first, first + _VERTICES)
        total = total + checkpoint(_angle_sum, *parts[0], *parts[1], vertices, use_reentrant=False)
    return total / len(student) ** 3


def check_same_batch(student: Tensor, teacher: Tensor) -> None:
    """Refuse embeddings of two batches; their widths may differ.

    Raises:
        ValueError: if the rows differ, there is none, or one is not (B, D).
    """
    if student.ndim != 2 or teacher.ndim != 2 or len(student) != len(teacher) or not len(student):
        raise ValueError(
            "student and teacher must be (B, D) and (B, E) with one B >= 1, "
            f"got {tuple(student.shape)} and {tuple(teacher.shape)}"
        )


def _squared_distances(x: Tensor) -> tuple[Tensor, Tensor]:
    """(B, B) squared distances, and which pairs are two points."""
    gram, inverse = _gram(x)
    diagonal = gram.diagonal()
    squared = (diagonal[:, None] + diagonal[None, :] - 2 * gram).clamp_min(0.0)
    return squared, inverse > 0


def _gram(x: Tensor) -> tuple[Tensor, Tensor]:
    """(B, B) Gram matrix about the mean, and 1 / distance, 0 where two rows are one point.

    Distances and angles do not move with the origin; about the mean they lose fewer digits.
    """
    centred = x - x.mean(dim=0)
    gram = products(centred, centred)
    diagonal = gram.diagonal()
    squared = diagonal[:, None] + diagonal[None, :] - 2 * gram
    least = _COINCIDE * squared.detach().mean().clamp_min(torch.finfo(x.dtype).tiny)
    apart = squared.detach() > least
    apart.fill_diagonal_(False)
    return gram, torch.where(apart, squared, 1.0).rsqrt() * apart


def _angle_sum(
    gram_s: Tensor, inverse_s: Tensor, gram_t: Tensor, inverse_t: Tensor, vertices: slice
) -> Tensor:
    student = _cosines(gram_s, inverse_s, vertices)
    teacher = _cosines(gram_t, inverse_t, vertices)
    return F.smooth_l1_loss(student, teacher, reduction="sum")


def _cosines(gram: Tensor, inverse: Tensor, vertices: slice) -> Tensor:
    """(v, B, B) cosines of the angles i j k at the vertices j."""
    at, scale = gram[vertices], inverse[vertices]
    corner = gram.diagonal()[vertices]
    inner = gram[None] - at[:, :, None] - at[:, None, :] + corner[:, None, None]
    return inner * scale[:, :, None] * scale[:, None, :]
