"""AdaDistill: class centres that follow the teacher's embeddings at the student's pace.

Paper: Boutros et al., "AdaDistill: Adaptive Knowledge Distillation for Deep Face Recognition"
(ECCV 2024), by the authors' code (fdbtrs/AdaDistill, utils/losses.py).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossface.losses.checks import IGNORED, check_labels, wide


class AdaptiveCentres(nn.Module):
    """Class centres w, moved before every step by the teacher's embeddings f_t of the batch.

    ``w_y <- a w_y + (1 - a) f_t`` with ``a = clip(cos(f_s, f_t) * clip(cos(w_y, f_t)))``, every
    clip to [1e-6, 1], embeddings of unit length, the stored w not renormalised. A centre starts as
    noise, so it jumps to the first f_t; the nearer the student comes, the slower centres move.

    Args:
        classes: C.
        dim: D.
        weighted: with the factor cos(w_y, f_t), as published; without it a = clip(cos(f_s, f_t)).

    Paper: AdaDistill; the rule is the code's.
    Deviation: what the published code gets wrong is mended. Two pictures of one class in a batch
    both count (their mean; there the last one written wins), unlabelled rows move nothing (there
    they overwrite the last class), the unweighted rule runs (there it needs an attribute that
    nobody sets), and with several processes every one of them moves its centres by the embeddings
    of all (there by its own, so that the copies drift apart).
    """

    def __init__(self, classes: int, dim: int, *, weighted: bool = True) -> None:
        super().__init__()
        if classes < 1 or dim < 1:
            raise ValueError(f"centres need classes >= 1 and dim >= 1, got {classes} and {dim}")
        self.weighted = weighted
        self.register_buffer("centres", torch.randn(classes, dim) * 0.01)
        self.centres: Tensor
        self.last_alpha: float | None = None
        """Mean a of the last batch, for the log."""

    @torch.no_grad()
    def update(self, student: Tensor, teacher: Tensor, labels: Tensor) -> None:
        """Move the centres of a batch's classes.

        Args:
            student: (B, D) raw embeddings.
            teacher: (B, D) the teacher's, of any length.
            labels: (B,) int64 in [-1, C).

        Raises:
            ValueError: if shapes or labels do not fit.
        """
        check_labels(labels, len(student), len(self.centres))
        kind = self.centres.dtype
        target = F.normalize(wide(teacher), dim=1).to(kind)
        alpha = F.cosine_similarity(wide(student).to(kind), target)
        if self.weighted:
            own = self.centres[labels.clamp_min(0)]
            alpha = alpha * F.cosine_similarity(own, target).clamp(1e-6, 1.0)
        alpha, target, labels = _of_all_processes(alpha.clamp(1e-6, 1.0), target, labels)
        known = labels != IGNORED
        alpha, target, labels = alpha[known], target[known], labels[known]
        if not len(labels):
            return
        moved = alpha[:, None] * self.centres[labels] + (1 - alpha[:, None]) * target
        seen, place, count = torch.unique(labels, return_inverse=True, return_counts=True)
        sums = moved.new_zeros(len(seen), moved.shape[1]).index_add_(0, place, moved)
        self.centres[seen] = sums / count[:, None]
        self.last_alpha = float(alpha.mean())


def _of_all_processes(*rows: Tensor) -> tuple[Tensor, ...]:
    """The rows of every process, in one order everywhere; the batches are equally long."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    gathered = []
    for tensor in rows:
        parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, tensor.contiguous())
        gathered.append(torch.cat(parts))
    return tuple(gathered)
