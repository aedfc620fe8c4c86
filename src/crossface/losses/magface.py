"""MagFace: the longer the embedding, the larger its margin; the length becomes the quality."""

from __future__ import annotations

import math

from torch import Tensor

from crossface.losses.checks import IGNORED, wide
from crossface.losses.margin import (
    Init,
    MarginHead,
    add_angle,
    cross_entropy,
    put_targets,
    targets_of,
)


class MagFace(MarginHead):
    """``s * cos(angle + m(a))`` at the target with the margin linear in the norm a.

    m rises from ``low_margin_rad`` at ``low_norm`` to ``high_margin_rad`` at ``high_norm``; norms
    beyond are clipped and then get no gradient from margin or regulariser. The regulariser
    g(a) = a / high_norm^2 + 1 / a pays for length, which easy faces can afford.

    The range of norms is the paper's, for 512-d embeddings that start near 22; with far fewer
    dimensions set it to where the norms are.

    Args:
        class_count: C.
        embedding_dim: D.
        low_norm: l_a; the paper uses 10.
        high_norm: u_a; the paper uses 110.
        low_margin_rad: l_m in radians; the code uses 0.45.
        high_margin_rad: u_m in radians; the code uses 0.8.
        regulariser_weight: lambda_g; 35 in the code.
        scale: multiplier s; the paper uses 64.
        init: "xavier_uniform" or "normal", see ``MarginHead``.

    Paper: MagFace, arXiv:2103.06627, the equations above; figures from the code
    (IrvingMeng/MagFace).
    Deviation: beyond pi - m(a) the linear fallback of ``margin_logits``, where the code's
    default drops the margin of every target beyond 90 degrees.
    """

    reads_norm = True

    def __init__(
        self,
        class_count: int,
        embedding_dim: int,
        *,
        low_norm: float = 10.0,
        high_norm: float = 110.0,
        low_margin_rad: float = 0.45,
        high_margin_rad: float = 0.8,
        regulariser_weight: float = 35.0,
        scale: float = 64.0,
        init: Init = "xavier_uniform",
    ) -> None:
        super().__init__(class_count, embedding_dim, scale=scale, init=init)
        if not 0 < low_norm < high_norm:
            raise ValueError(f"norms must satisfy 0 < low < high, got {low_norm} and {high_norm}")
        if not 0 <= low_margin_rad <= high_margin_rad < math.pi:
            raise ValueError(
                "margins must satisfy 0 <= low <= high < pi, "
                f"got {low_margin_rad} and {high_margin_rad}"
            )
        if not regulariser_weight >= 0:
            raise ValueError(f"regulariser_weight must not be negative, got {regulariser_weight}")
        self.low_norm, self.high_norm = low_norm, high_norm
        self.low_margin_rad, self.high_margin_rad = low_margin_rad, high_margin_rad
        self.regulariser_weight = regulariser_weight

    def norms(self, embeddings: Tensor) -> Tensor:
        """(N,) norms of (N, D) embeddings, clipped to the range of the margin."""
        norms: Tensor = wide(embeddings).norm(dim=1)
        return norms.clamp(self.low_norm, self.high_norm)

    def margins(self, norms: Tensor) -> Tensor:
        """(N,) clipped norms to margins in radians."""
        slope = (self.high_margin_rad - self.low_margin_rad) / (self.high_norm - self.low_norm)
        return self.low_margin_rad + slope * (norms - self.low_norm)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(N, D) raw embeddings and (N,) int64 labels to (N, C) logits; -1 gets no margin."""
        cosine = self.cosine(embeddings)
        rows, columns = targets_of(cosine, labels)
        margins = self.margins(self.norms(embeddings))[rows]
        moved = add_angle(cosine[rows, columns], margins)
        return put_targets(cosine, rows, columns, moved, self.scale)

    def loss(
        self, embeddings: Tensor, labels: Tensor, *, negatives: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Cross-entropy plus the weighted regulariser of the labelled rows, and both apart."""
        entropy = cross_entropy(self(embeddings, labels), labels, negatives)
        known = labels != IGNORED
        norms = self.norms(embeddings)[known]
        price = (norms / self.high_norm**2 + 1 / norms).sum() / known.sum().clamp_min(1)
        return {
            "loss": entropy + self.regulariser_weight * price,
            "ce": entropy,
            "magnitude": price,
        }
