"""Cosine regression to the teacher's embedding: the baseline every other method must beat."""

from __future__ import annotations

from torch import Tensor

from crossface.core.errors import ConfigError
from crossface.losses.embedding import cosine_distance_loss
from crossface.training.distillers.base import Context, Objective, Signals


class EmbeddingDistiller(Objective):
    """Minimise the mean of 1 - cos(student, teacher).

    Deviation: none to speak of; users of public code report it ahead of published losses
    (TFace issues 81, 84, 112).
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context.student)
        if context.target_dim == 0:
            raise ConfigError("distiller 'embedding' needs a teacher")

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Loss of one batch."""
        if signals.targets is None:
            raise ConfigError("distiller 'embedding' needs teacher embeddings")
        embedding = self.student_embedding(signals.images)
        return {"loss": cosine_distance_loss(embedding.float(), signals.targets)}
