"""Margin heads: cosines against class centres, made harder for the right class."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossface.losses.checks import IGNORED, check_labels, wide

Gradient = Literal["exact", "straight_through"]
Init = Literal["xavier_uniform", "normal"]

# The slope of the angle is infinite where the cosine is 1; below this sine squared it is cut.
_MIN_SINE_SQUARED = 1e-7


def cosine_logits(embeddings: Tensor, centres: Tensor) -> Tensor:
    """Cosine of every embedding against every class centre.

    Args:
        embeddings: (N, D), any length.
        centres: (C, D), any length.

    Returns:
        (N, C) in [-1, 1], in float32 at least, also under autocast.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        unit_embeddings = F.normalize(wide(embeddings), dim=1)
        return F.linear(unit_embeddings, F.normalize(wide(centres), dim=1)).clamp(-1.0, 1.0)


def margin_logits(
    cosine: Tensor,
    labels: Tensor,
    *,
    margin_rad: float = 0.5,
    scale: float = 64.0,
    gradient: Gradient = "exact",
) -> Tensor:
    """Add ArcFace's angular margin to the target class and scale.

    Args:
        cosine: (N, C) cosines in [-1, 1] of embeddings against class centres.
        labels: (N,) int64 in [-1, C); a row labelled -1 gets no margin.
        margin_rad: margin in radians, in [0, pi); the paper uses 0.5.
        scale: multiplier s; the paper uses 64.
        gradient: "exact" follows the formula. "straight_through" has the same value and lets the
            gradient pass as if there were no margin, as InsightFace's published code does by
            writing the margin in place under ``no_grad``.

    Returns:
        (N, C) logits, same dtype as ``cosine``.

    Raises:
        ValueError: if shapes disagree, a label is outside [-1, C) or an option is out of range.

    Paper: ArcFace, arXiv:1801.07698, Eq. 3.
    Deviation: beyond pi - margin the target falls back to the linear penalty
    ``cos - margin * sin(margin)``, which keeps it decreasing in the angle. Within 3e-4 rad of the
    centre the slope of the sine is cut to 0, since it has no finite value there.
    """
    if not 0 <= margin_rad < math.pi:
        raise ValueError(f"margin_rad must lie in [0, pi), got {margin_rad}")
    if gradient not in {"exact", "straight_through"}:
        raise ValueError(f"gradient must be 'exact' or 'straight_through', got {gradient!r}")
    rows, columns = targets_of(cosine, labels)
    target = wide(cosine[rows, columns])
    moved = add_angle(target, margin_rad)
    if gradient == "straight_through":
        moved = target + (moved - target).detach()
    return put_targets(cosine, rows, columns, moved, scale)


def additive_margin_logits(
    cosine: Tensor, labels: Tensor, *, margin: float = 0.4, scale: float = 64.0
) -> Tensor:
    """Take CosFace's margin off the target cosine and scale.

    Args:
        cosine: (N, C) cosines in [-1, 1] of embeddings against class centres.
        labels: (N,) int64 in [-1, C); a row labelled -1 gets no margin.
        margin: subtracted from the cosine, in [0, 2); GKD's code uses 0.4.
        scale: multiplier s; 64 for many classes, less for few.

    Returns:
        (N, C) logits, same dtype as ``cosine``.

    Raises:
        ValueError: if shapes disagree, a label is outside [-1, C) or an option is out of range.

    Paper: CosFace, arXiv:1801.09414, Eq. 4.
    Deviation: none.
    """
    if not 0 <= margin < 2:
        raise ValueError(f"margin must lie in [0, 2), got {margin}")
    rows, columns = targets_of(cosine, labels)
    return put_targets(cosine, rows, columns, wide(cosine[rows, columns]) - margin, scale)


class MarginHead(nn.Module):
    """Learned class centres and the logits against them; a subclass adds its margin.

    ``reads_norm`` says whether the length of an embedding changes its logits; ``keeps_statistics``
    whether a buffer follows the batches while training, which a second pass over one batch must
    not do twice.

    Args:
        class_count: C.
        embedding_dim: D.
        scale: multiplier s of the cosines.
        init: how the centres start: "xavier_uniform" as in GKD's code, or "normal" with standard
            deviation 0.01 as in InsightFace's. Only directions matter to the logits; the start's
            length sets how fast the directions move.
    """

    reads_norm: bool = False
    keeps_statistics: bool = False

    def __init__(
        self,
        class_count: int,
        embedding_dim: int,
        *,
        scale: float = 64.0,
        init: Init = "xavier_uniform",
    ) -> None:
        super().__init__()
        if class_count < 1 or embedding_dim < 1:
            raise ValueError(
                f"a head needs class_count >= 1 and embedding_dim >= 1, "
                f"got {class_count} and {embedding_dim}"
            )
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.class_count = class_count
        self.embedding_dim = embedding_dim
        self.scale = scale
        self.centres = nn.Parameter(torch.empty(class_count, embedding_dim))
        if init == "xavier_uniform":
            nn.init.xavier_uniform_(self.centres)
        elif init == "normal":
            nn.init.normal_(self.centres, std=0.01)
        else:
            raise ValueError(f"init must be 'xavier_uniform' or 'normal', got {init!r}")

    def cosine(self, embeddings: Tensor) -> Tensor:
        """(N, D) raw embeddings to (N, C) cosines against the centres."""
        return cosine_logits(embeddings, self.centres)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(N, D) raw embeddings and (N,) int64 labels to (N, C) logits; -1 gets no margin."""
        raise NotImplementedError

    def loss(
        self, embeddings: Tensor, labels: Tensor, *, negatives: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Named scalars of one batch, of which "loss" is to be minimised.

        Args:
            embeddings: (N, D) raw.
            labels: (N,) int64; rows labelled -1 count for nothing.
            negatives: (K,) further logits in the denominator of every row, or None.

        Returns:
            "loss": the mean cross-entropy of the labelled rows; 0 where there is none. A head
            with a term of its own adds it and names the parts.
        """
        return {"loss": cross_entropy(self(embeddings, labels), labels, negatives)}

    def extra_repr(self) -> str:
        """What ``print(head)`` shows."""
        return f"{self.class_count}, {self.embedding_dim}, scale={self.scale}"


def cross_entropy(logits: Tensor, labels: Tensor, negatives: Tensor | None = None) -> Tensor:
    """Cross-entropy of the rows that have a label.

    Args:
        logits: (N, C).
        labels: (N,) int64 in [-1, C).
        negatives: (K,) logits that every row has besides its own, or None. They enter by their
            log-sum-exp, so that no (N, C + K) tensor is made.

    Returns:
        Scalar: the mean over the rows not labelled -1, in float32 at least; 0 without such rows.
    """
    logits = wide(logits)
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    known = labels != IGNORED
    if negatives is not None and negatives.numel():
        more = F.softplus(wide(negatives).logsumexp(0) - logits.logsumexp(1))
        losses = losses + torch.where(known, more, 0.0)
    return losses.sum() / known.sum().clamp_min(1)


class ArcFace(MarginHead):
    """Angular margin: ``s * cos(angle + margin_rad)`` at the target.

    Args:
        class_count: C.
        embedding_dim: D.
        margin_rad: margin in radians; the paper uses 0.5.
        scale: multiplier s; the paper uses 64.
        gradient: "exact" or "straight_through", see ``margin_logits``.
        init: "xavier_uniform" or "normal", see ``MarginHead``.

    Paper: ArcFace, arXiv:1801.07698, Eq. 3.
    Deviation: that of ``margin_logits``.
    """

    def __init__(
        self,
        class_count: int,
        embedding_dim: int,
        *,
        margin_rad: float = 0.5,
        scale: float = 64.0,
        gradient: Gradient = "exact",
        init: Init = "xavier_uniform",
    ) -> None:
        super().__init__(class_count, embedding_dim, scale=scale, init=init)
        self.margin_rad = margin_rad
        self.gradient: Gradient = gradient

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(N, D) raw embeddings and (N,) int64 labels to (N, C) logits; -1 gets no margin."""
        return margin_logits(
            self.cosine(embeddings),
            labels,
            margin_rad=self.margin_rad,
            scale=self.scale,
            gradient=self.gradient,
        )


class CosFace(MarginHead):
    """Additive margin: ``s * (cos - margin)`` at the target.

    Args:
        class_count: C.
        embedding_dim: D.
        margin: subtracted from the target cosine; GKD's code uses 0.4.
        scale: multiplier s; 64 for many classes, less for few.
        init: "xavier_uniform" or "normal", see ``MarginHead``.

    Paper: CosFace, arXiv:1801.09414, Eq. 4.
    Deviation: none.
    """

    def __init__(
        self,
        class_count: int,
        embedding_dim: int,
        *,
        margin: float = 0.4,
        scale: float = 64.0,
        init: Init = "xavier_uniform",
    ) -> None:
        super().__init__(class_count, embedding_dim, scale=scale, init=init)
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(N, D) raw embeddings and (N,) int64 labels to (N, C) logits; -1 gets no margin."""
        return additive_margin_logits(
            self.cosine(embeddings), labels, margin=self.margin, scale=self.scale
        )


def targets_of(cosine: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every target entry; rows labelled -1 have none.

    Raises:
        ValueError: if shapes disagree or a label is outside [-1, C).
    """
    if cosine.ndim != 2:
        raise ValueError(f"cosine must be (N, C), got {tuple(cosine.shape)}")
    check_labels(labels, *cosine.shape)
    rows = torch.nonzero(labels != IGNORED).flatten()
    return rows, labels[rows]


def add_angle(cosine: Tensor, margin_rad: float | Tensor) -> Tensor:
    """cos(angle + margin), or the linear fallback where that angle would pass pi.

    Args:
        cosine: (N,) target cosines in [-1, 1], float32 at least.
        margin_rad: in [0, pi), one for all rows or (N,) one for each.

    Returns:
        (N,) as ``margin_logits`` says; the gradient reaches a margin that is a tensor.
    """
    cos: float | Tensor
    sin: float | Tensor
    if isinstance(margin_rad, Tensor):
        cos, sin = margin_rad.cos(), margin_rad.sin()
    else:
        cos, sin = math.cos(margin_rad), math.sin(margin_rad)
    sine = (1.0 - cosine**2).clamp_min(_MIN_SINE_SQUARED).sqrt()
    moved = cosine * cos - sine * sin
    return torch.where(cosine > -cos, moved, cosine - margin_rad * sin)


def put_targets(
    cosine: Tensor, rows: Tensor, columns: Tensor, target: Tensor, scale: float
) -> Tensor:
    """(N, C) scaled logits with the target entries replaced."""
    return cosine.index_put((rows, columns), target.to(cosine.dtype)) * scale
