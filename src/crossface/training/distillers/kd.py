"""KD: the student's softened class probabilities should be the teacher's.

Paper: Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv:1503.02531.
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from crossface.core.errors import ConfigError
from crossface.losses.gkd import hinton_kd
from crossface.training.distillers.base import Context
from crossface.training.distillers.logits import Classifier, LogitDistiller


class KdDistiller(LogitDistiller):
    """``loss = ce_weight * CE + weight * T^2 KL(teacher || student)`` between margin logits.

    Args:
        context: needs identities.
        temperature: T; 4 in GKD's and EKD's code.
        weight: of the term; 1 in GKD's code.
        classifier: the heads' options, see ``Classifier``.

    Paper: arXiv:1503.02531, section 2.
    Deviation: W_T of ``LogitDistiller``; the logits carry the margin of a face head.
    """

    def __init__(
        self,
        context: Context,
        *,
        temperature: float = 4.0,
        weight: float = 1.0,
        **classifier: Unpack[Classifier],
    ) -> None:
        super().__init__("kd", context, weight=weight, **classifier)
        if not temperature > 0:
            raise ConfigError(f"distiller 'kd': temperature must be positive, got {temperature}")
        self.temperature = temperature

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """KD of one batch; the labels are in the margins only."""
        del labels
        return hinton_kd(student, teacher, self.temperature)
