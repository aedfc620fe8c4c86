"""Training without a teacher: a margin head over identities."""

from __future__ import annotations

import torch
from torch import Tensor

from crossface.core.errors import ConfigError
from crossface.losses import HEADS
from crossface.nets.layers import Backbone
from crossface.training.config import HeadConfig
from crossface.training.distillers.base import Objective, Signals


class Supervised(Objective):
    """The loss of a margin head: cross-entropy over its logits, and what the head adds.

    Args:
        student: the network to train.
        head: name and options of the head.
        classes: number of identities.
    """

    needs_labels = True

    def __init__(self, student: Backbone, head: HeadConfig | None, *, classes: int) -> None:
        super().__init__(student)
        if head is None or classes < 2:
            raise ConfigError(
                "training without a teacher needs a [head] and at least 2 identities, "
                f"got {classes}"
            )
        try:
            self.head = HEADS.resolve(head.name)(classes, student.embedding_dim, **head.options)
            self.head.eval()  # the statistics of a head are those of pictures
            with torch.no_grad():  # a margin out of range shows in the logits only
                self.head(torch.ones(1, student.embedding_dim), torch.zeros(1, dtype=torch.int64))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"head {head.name!r}: {error}") from None
        self.head.train()

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Loss of one batch."""
        embedding = self.student_embedding(signals.images)
        losses: dict[str, Tensor] = self.head.loss(embedding.float(), signals.labels)
        return losses
