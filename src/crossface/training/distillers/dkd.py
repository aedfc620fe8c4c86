"""DKD: the label's probability and the other classes' shape, distilled with weights of their own.

Paper: Zhao et al., "Decoupled Knowledge Distillation", arXiv:2203.08679 (CVPR 2022), and its
official code (megvii-research/mdistiller).
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from crossface.core.errors import ConfigError
from crossface.losses.dkd import dkd
from crossface.training.distillers.base import Context
from crossface.training.distillers.logits import Classifier, LogitDistiller


class DkdDistiller(LogitDistiller):
    """``loss = ce_weight * CE + ramp * weight * DKD`` between margin logits.

    Args:
        context: needs identities.
        target_weight: alpha.
        others_weight: beta.
        temperature: T.
        weight: of the term; 1 in the paper.
        ramp_fraction: the code rises over 20 of 240 epochs.
        classifier: the heads' options, see ``Classifier``.

    Paper: arXiv:2203.08679, Eq. 7.
    Deviation: W_T of ``LogitDistiller``; the logits carry the margin of a face head.
    """

    def __init__(
        self,
        context: Context,
        *,
        target_weight: float = 1.0,
        others_weight: float = 8.0,
        temperature: float = 4.0,
        weight: float = 1.0,
        **classifier: Unpack[Classifier],
    ) -> None:
        options = Classifier(ramp_fraction=1 / 12) | classifier
        super().__init__("dkd", context, weight=weight, **options)
        if min(target_weight, others_weight) < 0 or not temperature > 0:
            raise ConfigError(
                "distiller 'dkd': weights must not be negative and temperature be positive, "
                f"got {target_weight}, {others_weight} and {temperature}"
            )
        self.target_weight = target_weight
        self.others_weight = others_weight
        self.temperature = temperature

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """DKD of one batch."""
        return dkd(
            student,
            teacher,
            labels,
            target_weight=self.target_weight,
            others_weight=self.others_weight,
            temperature=self.temperature,
        )
