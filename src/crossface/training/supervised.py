"""Training without a teacher: a margin head over identities, a loss over pairs of them, or both."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from crossface.core.errors import ConfigError
from crossface.losses import HEADS, LABEL_LOSSES
from crossface.nets.layers import Backbone
from crossface.training.distillers.base import Objective, Signals
from crossface.training.schema import HeadConfig, MetricConfig


class Supervised(Objective):
    """The loss of a margin head, plus a weighted loss over embeddings and labels.

    Args:
        student: the network to train.
        head: name and options of the head, or None for ``metric`` alone.
        classes: number of identities.
        metric: name, weight and options of the loss over embeddings, or None.
    """

    needs_labels = True

    def __init__(
        self,
        student: Backbone,
        head: HeadConfig | None,
        *,
        classes: int,
        metric: MetricConfig | None = None,
    ) -> None:
        super().__init__(student)
        if (head is None and metric is None) or classes < 2:
            raise ConfigError(
                "training without a teacher needs a [head] or a [metric] and at least "
                f"2 identities, got {classes}"
            )
        dim = student.embedding_dim
        self.head: Any = None if head is None else _make_head(head, classes, dim)
        self.metric = None if metric is None else _make_metric(metric, dim)
        self.metric_weight = 1.0 if metric is None else metric.weight

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Losses of one batch."""
        embedding = self.student_embedding(signals.images).float()
        losses: dict[str, Tensor] = {}
        if self.head is not None:
            losses |= self.head.loss(embedding, signals.labels)
        if self.metric is not None:
            losses["metric"] = self.metric(embedding, signals.labels)
            weighted = self.metric_weight * losses["metric"]
            losses["loss"] = losses["loss"] + weighted if "loss" in losses else weighted
        return losses


def _make_head(head: HeadConfig, classes: int, dim: int) -> torch.nn.Module:
    """A head that is known to work, in training mode, its statistics untouched."""
    try:
        made: torch.nn.Module = HEADS.resolve(head.name)(classes, dim, **head.options)
        made.eval()  # the statistics of a head are those of pictures
        with torch.no_grad():  # a margin out of range shows in the logits only
            made(torch.ones(1, dim), torch.zeros(1, dtype=torch.int64))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"head {head.name!r}: {error}") from None
    return made.train()


def _make_metric(metric: MetricConfig, dim: int) -> partial[Tensor]:
    """A loss over embeddings and labels that is known to work."""
    made = partial(LABEL_LOSSES.resolve(metric.name), **metric.options)
    try:
        made(torch.ones(2, dim), torch.arange(2))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"metric {metric.name!r}: {error}") from None
    return made
