"""FaceNet's triplet loss with semi-hard negatives from the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from crossface.losses.checks import IGNORED, check_labels, wide

ANY_CLASS = 2**63 - 1
"""More classes than there are labels: what counts is which labels are equal."""


def triplet_loss(embeddings: Tensor, labels: Tensor, *, margin: float = 0.2) -> Tensor:
    """Mean of ``[|a - p|^2 - |a - n|^2 + margin]_+`` over all anchor-positive pairs of the batch.

    Args:
        embeddings: (N, D) of any length; unit vectors of them are compared. FaceNet uses D = 128.
        labels: (N,) int64; rows labelled -1 are neither anchor, positive nor negative.
        margin: of squared distances, which lie in [0, 4]; 0.2.

    Returns:
        Scalar >= 0, in float32 at least; 0 where no pair of one identity meets another identity.

    Raises:
        ValueError: if labels do not fit or the margin is not positive.

    Paper: FaceNet, arXiv:1503.03832, Eq. 2-3 and section 3.2: all anchor-positive pairs; the
    semi-hard negative of a pair is the nearest that is farther away than the positive.
    Deviation: the mean in place of the sum; where every negative is nearer than the positive, the
    farthest of them ([READING], the paper says nothing).
    """
    check_labels(labels, len(embeddings), ANY_CLASS)
    known = labels != IGNORED
    units, names = unit_rows(embeddings)[known], labels[known]
    same = names[:, None] == names[None, :]
    itself = torch.eye(len(names), dtype=torch.bool, device=names.device)
    return semi_hard(2 - 2 * units @ units.T, same & ~itself, ~same, margin=margin)


def semi_hard(squared: Tensor, positive: Tensor, negative: Tensor, *, margin: float) -> Tensor:
    """The triplet loss over distances, each anchor-positive pair with its semi-hard negative.

    The negatives of an anchor are sorted once and looked up, so that memory stays at A x K.

    Args:
        squared: (A, K) squared distances of anchors to candidates.
        positive: (A, K) bool, which candidates are the anchor's positives.
        negative: (A, K) bool, which are its negatives.
        margin: > 0.

    Returns:
        Scalar: the mean over the pairs whose anchor has a negative; 0 where there is none.

    Raises:
        ValueError: if the margin is not positive.
    """
    if not margin > 0:
        raise ValueError(f"margin must be positive, got {margin}")
    if squared.numel() == 0:
        return squared.sum()
    with torch.no_grad():
        ordered, places = squared.masked_fill(~negative, torch.inf).sort(dim=1)
        count = negative.sum(dim=1, keepdim=True)
        first_farther = torch.searchsorted(ordered, squared.contiguous(), right=True)
        chosen = places.gather(1, torch.minimum(first_farther, count - 1).clamp_min(0))
        used = positive & (count > 0)
    losses = F.relu(squared - squared.gather(1, chosen) + margin)
    return torch.where(used, losses, 0.0).sum() / used.sum().clamp_min(1)


def unit_rows(embeddings: Tensor) -> Tensor:
    """(N, D) unit rows in float32 at least.

    Raises:
        ValueError: if the embeddings are no matrix.
    """
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings must be (N, D), got {tuple(embeddings.shape)}")
    return F.normalize(wide(embeddings), dim=1)
