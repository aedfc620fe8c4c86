"""FaceNet's harmonic triplets: a new space whose vectors may be compared with the old one's."""

from __future__ import annotations

import torch
from torch import Tensor

from crossface.losses.checks import IGNORED, check_labels, check_same_shape
from crossface.losses.triplet import ANY_CLASS, semi_hard, unit_rows


def harmonic_triplet_loss(
    embeddings: Tensor, labels: Tensor, old: Tensor, *, margin: float = 0.2
) -> Tensor:
    """Triplets whose anchor is new and whose positive and negative come from either space.

    Args:
        embeddings: (N, D) of the network that learns, of any length.
        labels: (N,) int64; rows labelled -1 are left out.
        old: (N, D) the old network's embeddings of the same pictures; no gradient reaches them.
        margin: of squared distances, which lie in [0, 4]; 0.2.

    Returns:
        Scalar >= 0, in float32 at least: the mean over anchor-positive pairs, the old embedding
        of the anchor's own picture among the positives; 0 without a negative.

    Raises:
        ValueError: if shapes or labels do not fit or the margin is not positive.

    Paper: FaceNet, arXiv:1503.03832, section on harmonic embeddings, which mixes embeddings of
    both networks in the triplets.
    Deviation: the mean in place of the sum. [READING] that the anchor is always new, that the
    anchor's own old embedding is a positive, and semi-hard negatives as in ``triplet_loss``. The
    paper trains the last layer first and then the whole network; that is up to the caller.
    """
    check_same_shape(embeddings, old, "new and old embeddings")
    check_labels(labels, len(embeddings), ANY_CLASS)
    known = labels != IGNORED
    new, names = unit_rows(embeddings)[known], labels[known]
    candidates = torch.cat([new, unit_rows(old.detach())[known].to(new.dtype)])
    same = names[:, None] == names[None, :]
    itself = torch.eye(len(names), dtype=torch.bool, device=names.device)
    positive = torch.cat([same & ~itself, same], dim=1)
    negative = torch.cat([~same, ~same], dim=1)
    return semi_hard(2 - 2 * new @ candidates.T, positive, negative, margin=margin)
