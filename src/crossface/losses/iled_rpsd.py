"""ILED and RPSD: hard pictures count more, and so do the relations a student gets most wrong.

Paper: Mishra & Uikey, "Unified Knowledge Distillation Framework: Fine-Grained Alignment and
Geometric Relationship Preservation for Deep Face Recognition", arXiv:2508.11376 (IJCB 2025). Only
its abstract could be read: instance-level alignment of embeddings with dynamic hard mining (ILED),
pairwise similarity relations with a memory bank and sample mining (RPSD), and their sum. Every
formula here is a [READING] of those words, not the paper's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossface.losses.checks import check_same_shape, products, wide
from crossface.losses.relations import check_same_batch


def iled(student: Tensor, teacher: Tensor, hard_weight: float = 2.0) -> Tensor:
    """Weighted mean of 1 - cos; the pictures worse than the batch's mean weigh ``hard_weight``.

    ``sum_i w_i d_i / sum_i w_i`` with ``d_i = 1 - cos(s_i, t_i)`` and ``w_i = hard_weight`` where
    ``d_i`` is above the mean of the batch, else 1. The bar is dynamic: it falls as the student
    learns.

    Args:
        student: (B, D) raw embeddings.
        teacher: (B, D) the teacher's of the same pictures; no gradient reaches them.
        hard_weight: >= 0; 1 is plain regression.

    Returns:
        Scalar in [0, 2], in float32 at least.

    Raises:
        ValueError: if the shapes differ, there is no row, or the weight is negative.

    Paper: arXiv:2508.11376, "instance-level embedding distillation with dynamic hard mining".
    Deviation: unknown; the rule is a [READING].
    """
    check_same_shape(student, teacher, "student and teacher")
    if hard_weight < 0:
        raise ValueError(f"hard_weight must not be negative, got {hard_weight}")
    distance = 1.0 - F.cosine_similarity(wide(student), wide(teacher.detach()), dim=1)
    known = distance.detach()
    weight = torch.where(known > known.mean(), hard_weight, 1.0).to(known.dtype)
    return (weight * distance).sum() / weight.sum().clamp_min(torch.finfo(known.dtype).tiny)


class PairwiseSimilarities(nn.Module):
    """RPSD: a picture's similarities to the batch and to remembered pictures, in both networks.

    Each network keeps its embeddings of the last ``bank`` pictures. A row's similarities to the
    other rows and to its own network's bank are compared, and the ``mined`` largest differences of
    every row count: ``mean((S_student - S_teacher)^2)`` over them. In training mode the batch is
    then written over the oldest part of the banks.

    Args:
        dim: D of the student.
        teacher_dim: D of the teacher; the student's by default.
        bank: how many pictures are remembered; 0 for none.
        mined: how many relations count per row; None for all.

    Paper: arXiv:2508.11376, "pairwise similarity relationships, employing a memory bank mechanism
    and a sample mining strategy".
    Deviation: unknown; the rule is a [READING].
    """

    def __init__(
        self,
        dim: int,
        *,
        teacher_dim: int | None = None,
        bank: int = 4096,
        mined: int | None = 64,
    ) -> None:
        super().__init__()
        if bank < 0 or (mined is not None and mined < 1):
            raise ValueError(
                f"bank must not be negative and mined be positive, got {bank}, {mined}"
            )
        self.mined = mined
        self.register_buffer("student_bank", torch.zeros(bank, dim))
        self.register_buffer("teacher_bank", torch.zeros(bank, teacher_dim or dim))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))
        self.student_bank: Tensor
        self.teacher_bank: Tensor
        self.written: Tensor

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one batch.

        Args:
            student: (B, D) raw embeddings.
            teacher: (B, E) the teacher's of the same pictures; no gradient reaches them.

        Returns:
            Scalar in [0, 4], in float32 at least; 0 where there is no relation.

        Raises:
            ValueError: if the batches differ.
        """
        check_same_batch(student, teacher)
        own = F.normalize(wide(student), dim=1)
        other = F.normalize(wide(teacher.detach()), dim=1)
        gaps = self._similarities(own, self.student_bank)
        gaps = gaps - self._similarities(other, self.teacher_bank)
        if self.training:
            self._remember(own.detach(), other)
        if self.mined is not None and self.mined < gaps.shape[1]:
            hardest = gaps.detach().abs().topk(self.mined, dim=1, sorted=False).indices
            gaps = gaps.gather(1, hardest)
        return gaps.square().mean() if gaps.numel() else student.sum() * 0.0

    def _similarities(self, rows: Tensor, bank: Tensor) -> Tensor:
        """(B, B - 1 + remembered) cosines; that of a row to itself is left out."""
        size = len(rows)
        batch = products(rows, rows)
        others = ~torch.eye(size, dtype=torch.bool, device=rows.device)
        kept = bank[: min(int(self.written), len(bank))].clone().to(rows.dtype)
        return torch.cat([batch[others].view(size, size - 1), products(rows, kept)], dim=1)

    @torch.no_grad()
    def _remember(self, student: Tensor, teacher: Tensor) -> None:
        size = len(self.student_bank)
        if not size:
            return
        student, teacher = student[-size:], teacher[-size:]
        places = (int(self.written) + torch.arange(len(student), device=student.device)) % size
        self.student_bank[places] = student.to(self.student_bank.dtype)
        self.teacher_bank[places] = teacher.to(self.teacher_bank.dtype)
        self.written += len(student)
