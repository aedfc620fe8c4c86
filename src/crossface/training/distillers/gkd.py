"""GKD: distil what the primary classes say and how much they weigh, not the long tail.

Paper: Zhao et al., "Grouped Knowledge Distillation for Deep Face Recognition", arXiv:2304.04462
(AAAI 2023), and its official code.
"""

from __future__ import annotations

from typing import Literal, Unpack

from torch import Tensor

from crossface.core.errors import ConfigError
from crossface.losses.gkd import GroupedDistillation
from crossface.training.distillers.base import Context
from crossface.training.distillers.logits import Classifier, LogitDistiller


class GkdDistiller(LogitDistiller):
    """Cross-entropy of the student's own head, plus GKD between margin logits.

    ``loss = ce_weight * CE + w * GKD``, w rising linearly from 0 to 1 over ``ramp_fraction``.

    Args:
        context: needs identities.
        primary_weight: the paper's lambda_1.
        binary_weight: the paper's lambda_2.
        secondary_weight: 0 in the paper.
        temperature: T.
        group: size of the primary group; None for the paper's share of the classes, "adaptive"
            for the batch rule of the official code.
        ramp_fraction: the code rises over 10 of 20 epochs.
        classifier: the heads' options, see ``Classifier``.

    Paper: arXiv:2304.04462.
    Deviation: W_T of ``LogitDistiller``, and ``centres = "teacher"`` is ours.
    """

    def __init__(
        self,
        context: Context,
        *,
        primary_weight: float = 8.0,
        binary_weight: float = 1.0,
        secondary_weight: float = 0.0,
        temperature: float = 4.0,
        group: int | Literal["adaptive"] | None = None,
        **classifier: Unpack[Classifier],
    ) -> None:
        super().__init__("gkd", context, **(Classifier(ramp_fraction=0.5) | classifier))
        if not temperature > 0:
            raise ConfigError(f"distiller 'gkd': temperature must be positive, got {temperature}")
        self.grouped = GroupedDistillation(
            primary_weight=primary_weight,
            binary_weight=binary_weight,
            secondary_weight=secondary_weight,
            temperature=temperature,
            group=group,
        )

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """GKD of one batch."""
        loss: Tensor = self.grouped(student, teacher, labels)
        return loss

    def monitors(self) -> dict[str, float]:
        """Size of the primary group in the newest batch."""
        size = self.grouped.last_group_size
        return {} if size is None else {"group_size": float(size)}
