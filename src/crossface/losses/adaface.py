"""AdaFace: a margin that follows the quality of the picture, read off the embedding's length."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from crossface.losses.checks import IGNORED, wide
from crossface.losses.margin import Init, MarginHead, put_targets, targets_of

_EPSILON = 1e-3
_NORM_RANGE = (1e-3, 100.0)


class AdaFace(MarginHead):
    """``s * (cos(angle + g_angle) - g_add)`` at the target, the margins set by the norm.

    With z the norm, z' = clip((z - mean) / (std + 0.001) * concentration, -1, 1),
    g_angle = -margin * z' and g_add = margin + margin * z': ArcFace at z' = -1, CosFace at 0, and
    at 1 an angular margin that is negative. No gradient reaches the norm this way. The mean and
    the standard deviation of the norms follow the batches while training.

    Args:
        class_count: C.
        embedding_dim: D.
        margin: m; the paper uses 0.4. Radians as an angle, a cosine as an addend.
        scale: multiplier s; the paper uses 64.
        concentration: h; the paper uses 0.333.
        rate: share of the newest batch in the running mean and deviation, in (0, 1].
        init: "xavier_uniform" or "normal", see ``MarginHead``.

    Paper: AdaFace, arXiv:2204.00964, the equations above; the code (mk-minchul/AdaFace, head.py)
    gives the constants and the start of the statistics (mean 20, deviation 100).
    Deviation: the code clips every cosine to +-0.999 and we only the target's; rows labelled -1
    are left out of the statistics, and one row alone does not move the deviation; ``rate`` is
    0.01, where the code's default of 1 keeps nothing of earlier batches.
    """

    reads_norm = True
    keeps_statistics = True
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        class_count: int,
        embedding_dim: int,
        *,
        margin: float = 0.4,
        scale: float = 64.0,
        concentration: float = 0.333,
        rate: float = 0.01,
        init: Init = "xavier_uniform",
    ) -> None:
        super().__init__(class_count, embedding_dim, scale=scale, init=init)
        # Beyond 1 the largest margins, m as an angle and 2m as an addend, leave no cosine.
        if not 0 <= margin < 1:
            raise ValueError(f"margin must lie in [0, 1), got {margin}")
        if not concentration >= 0:
            raise ValueError(f"concentration must not be negative, got {concentration}")
        if not 0 < rate <= 1:
            raise ValueError(f"rate must lie in (0, 1], got {rate}")
        self.margin = margin
        self.concentration = concentration
        self.rate = rate
        self.register_buffer("mean", torch.tensor(20.0))
        self.register_buffer("std", torch.tensor(100.0))

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(N, D) raw embeddings and (N,) int64 labels to (N, C) logits; -1 gets no margin."""
        cosine = self.cosine(embeddings)
        rows, columns = targets_of(cosine, labels)
        norms = wide(embeddings.detach()).norm(dim=1).clamp(*_NORM_RANGE)
        if self.training:
            self._follow(norms[labels != IGNORED])
        quality = self.quality(norms)[rows]
        target = cosine[rows, columns].clamp(-1 + _EPSILON, 1 - _EPSILON)
        angle = (target.acos() - self.margin * quality).clamp(_EPSILON, math.pi - _EPSILON)
        moved = angle.cos() - (self.margin + self.margin * quality)
        return put_targets(cosine, rows, columns, moved, self.scale)

    def quality(self, norms: Tensor) -> Tensor:
        """(N,) norms to z' in [-1, 1] by the present statistics."""
        spread = wide(self.std) + _EPSILON
        return ((norms - wide(self.mean)) / spread * self.concentration).clamp(-1, 1)

    @torch.no_grad()
    def _follow(self, norms: Tensor) -> None:
        if len(norms) > 0:
            self.mean.lerp_(norms.mean().to(self.mean.dtype), self.rate)
        if len(norms) > 1:
            self.std.lerp_(norms.std().to(self.std.dtype), self.rate)
