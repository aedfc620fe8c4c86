"""UNPG: the negative pairs of the batch join the negative classes in the denominator."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossface.losses import HEADS
from crossface.losses.checks import IGNORED, wide
from crossface.losses.margin import MarginHead


class Unpg(nn.Module):
    """A margin head whose loss also pushes pictures of different people apart.

    Every row's denominator gets the scaled cosines of all pairs of different identities in the
    batch, those left out that lie outside the whiskers of their box plot: very similar ones may
    be the same person under two names, very different ones teach nothing.

    The same cosines stand in every row, so they enter by one log-sum-exp: (B, B) numbers, and no
    (B, C + B(B-1)/2) logits: 0.03 MB of cosines at B = 128 and 0.5 MB at B = 512, where appended
    to every row they would take 4.2 and 268 MB.

    Args:
        class_count: C.
        embedding_dim: D.
        base: name of the head that is widened ("cosface", "arcface", "magface", ...).
        whisker: w; cosines in [Q1 - w * (Q3 - Q1), Q3 + w * (Q3 - Q1)] stay. The paper uses 1.5
            for MS1M and 1 for K-FACE; inf keeps all.
        options: the base head's own.

    Paper: UNPG, arXiv:2203.11593, loss = CE(s * [margin cosines, 1 * s_n'], y); the code
    (Jung-Jun-Uk/UNPG, models/build.py) gives the quartiles.
    Deviation: pictures without a label are in no pair; the batch of one process only.
    """

    def __init__(
        self,
        class_count: int,
        embedding_dim: int,
        *,
        base: str = "cosface",
        whisker: float = 1.5,
        **options: Any,  # noqa: ANN401  # each head has its own
    ) -> None:
        super().__init__()
        if base == "unpg":
            raise ValueError("base must be another head, got 'unpg'")
        if not whisker >= 0:
            raise ValueError(f"whisker must not be negative, got {whisker}")
        self.whisker = whisker
        self.head: MarginHead = HEADS.resolve(base)(class_count, embedding_dim, **options)
        self.reads_norm = self.head.reads_norm

    @property
    def centres(self) -> nn.Parameter:
        """(C, D) class centres of the base head."""
        return self.head.centres

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The base head's (N, C) logits."""
        logits: Tensor = self.head(embeddings, labels)
        return logits

    def loss(self, embeddings: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The base head's losses with the pairs of the batch as further negatives."""
        negatives = negative_cosines(embeddings, labels, whisker=self.whisker)
        return self.head.loss(embeddings, labels, negatives=self.head.scale * negatives)


def negative_cosines(embeddings: Tensor, labels: Tensor, *, whisker: float = math.inf) -> Tensor:
    """Cosines of the pairs of different identities inside the whiskers.

    Args:
        embeddings: (N, D) of any length.
        labels: (N,) int64; rows labelled -1 are in no pair.
        whisker: w, see ``Unpg``.

    Returns:
        (K,) in float32 at least, 0 <= K <= N(N-1)/2.
    """
    known = labels != IGNORED
    with torch.autocast(embeddings.device.type, enabled=False):
        units = F.normalize(wide(embeddings)[known], dim=1)
        similarity = units @ units.T
    names = labels[known]
    cosines = similarity[(names[:, None] != names[None, :]).triu(1)]
    if len(cosines) == 0 or math.isinf(whisker):
        return cosines
    still = cosines.detach()
    low, high = (still.kthvalue(int(share * len(still)) + 1).values for share in (0.25, 0.75))
    reach = whisker * (high - low)
    return cosines[(still >= low - reach) & (still <= high + reach)]
