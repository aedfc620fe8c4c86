"""Knowledge Concentration: several teachers, each at the pace the student can follow.

Paper: Gao et al., "Knowledge Concentration: Learning 100K Object Classifiers in a Single CNN",
arXiv:1711.07607, of which only the abstract could be read: a multi-teacher single-student
framework, self-paced learning "to allow the student to learn from different teachers at various
paces", and structurally connected layers (for its 100,000 categories; not needed here).
"""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from crossface.core.errors import ConfigError
from crossface.losses.embedding import cosine_distance_loss
from crossface.training.distillers.base import Context, Signals
from crossface.training.distillers.grounded import Ground, GroundedDistiller

_MOMENTUM = 0.05


class ConcentrationDistiller(GroundedDistiller):
    """``term = mean_k v_k (1 - cos(head_k(embedding), teacher_k))`` over the further teachers.

    The base regresses to the main teacher, so the student ends in that one's space; each further
    teacher keeps its own space and its own dimension behind a linear head that is thrown away.

    Args:
        context: needs a teacher and further ones (``teacher.others``).
        age_start: lambda at the start; see ``self_paced_weights``.
        age_end: lambda at the end; it grows geometrically.
        least: the least weight of a teacher, so that its head learns at all.
        weight: of the term beside the base.
        ground: the base and its options, see ``Ground``.

    Paper: arXiv:1711.07607. Deviation: unknown; heads, weights and schedule are a [READING]. The
    weights are the linear soft ones of Jiang et al., "Easy Samples First" (ACM MM 2014), for
    teachers in the place of samples.
    """

    takes_others = True

    def __init__(
        self,
        context: Context,
        *,
        age_start: float = 1.5,
        age_end: float = 6.0,
        least: float = 0.05,
        weight: float = 1.0,
        **ground: Unpack[Ground],
    ) -> None:
        super().__init__("concentration", context, weight=weight, **ground)
        if not context.other_dims:
            raise ConfigError(
                "distiller 'concentration' needs further teachers: teacher.others = [...]"
            )
        if not (0 < age_start <= age_end and 0 <= least <= 1):
            raise ConfigError(
                "distiller 'concentration' needs 0 < age_start <= age_end and least in 0..1, "
                f"got {age_start}, {age_end} and {least}"
            )
        self.age_start = age_start
        self.age_end = age_end
        self.least = least
        self.heads = nn.ModuleList(
            nn.Linear(context.student.embedding_dim, dim) for dim in context.other_dims
        )
        # A fresh head knows nothing: its distance is about 1.
        self.register_buffer("distances", torch.ones(len(self.heads)))
        self.distances: Tensor

    @property
    def weights(self) -> Tensor:
        """(K,) weights in force."""
        age = self.age_start * (self.age_end / self.age_start) ** self.progress
        return self_paced_weights(self.distances, age=age, least=self.least)

    def distil(self, signals: Signals, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding and the weighted mean of the further teachers' losses."""
        del targets
        if len(signals.others) != len(self.heads):
            raise ConfigError("distiller 'concentration' needs the further teachers' embeddings")
        embedding = self.student_embedding(signals.images)
        losses = torch.stack(
            [
                cosine_distance_loss(head(embedding).float(), other)
                for head, other in zip(self.heads, signals.others, strict=True)
            ]
        )
        if self.training:
            self.distances.lerp_(losses.detach(), _MOMENTUM)
        return embedding.float(), (self.weights * losses).mean()

    def monitors(self) -> dict[str, float]:
        """Running distance to each further teacher, and its weight."""
        figures: dict[str, float] = {}
        for n, (distance, weight) in enumerate(
            zip(self.distances.tolist(), self.weights.tolist(), strict=True)
        ):
            figures |= {f"distance_other_{n}": distance, f"weight_other_{n}": weight}
        return figures


def self_paced_weights(losses: Tensor, *, age: float, least: float = 0.0) -> Tensor:
    """``max(least, 1 - loss / age)``: what is easy counts first, everything as the age grows.

    Args:
        losses: (K,) >= 0.
        age: lambda > 0.
        least: in [0, 1].

    Returns:
        (K,) in [least, 1], without a gradient.

    Paper: Jiang et al., "Easy Samples First: Self-paced Reranking for Zero-Example Multimedia
    Search", ACM MM 2014, the linear soft weighting.
    """
    return (1.0 - losses.detach() / age).clamp_min(least)
