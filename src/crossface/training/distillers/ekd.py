"""EKD: the student's pairs should pass the thresholds that the teacher's pass.

Paper: Huang et al., "Evaluation-oriented Knowledge Distillation for Deep Face Recognition",
arXiv:2206.02325 (CVPR 2022), and the authors' code.
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from crossface.losses.ekd import EvaluationOriented
from crossface.training.distillers.base import Context
from crossface.training.distillers.grounded import Ground, GroundedDistiller


class EkdDistiller(GroundedDistiller):
    """``term`` is ``losses.ekd.EvaluationOriented`` over the pairs of the batch.

    Args:
        context: needs a teacher.
        positive_weight: of the positive pairs; 0.02 in the code.
        negative_weight: of the hardest negatives; 0.01 in the code.
        hardest: how many negatives; 2,000 reported best.
        temperature: of the soft ranks; 0.01 reported best.
        momentum: of the thresholds; 0.01 in the code.
        weight: of the term beside the base; 1 in the code.
        ground: the base and its options, see ``Ground``.

    Paper: arXiv:2206.02325.
    Deviation: one batch of shuffled pictures gives the pairs, where the code draws a second,
    class-balanced batch, so positives are rare here; without labels there are none, and regression
    stands where the paper has cross-entropy.
    """

    def __init__(
        self,
        context: Context,
        *,
        positive_weight: float = 0.02,
        negative_weight: float = 0.01,
        hardest: int = 2_000,
        temperature: float = 0.01,
        momentum: float = 0.01,
        weight: float = 1.0,
        **ground: Unpack[Ground],
    ) -> None:
        super().__init__("ekd", context, weight=weight, **ground)
        self.ranks = EvaluationOriented(
            positive_weight=positive_weight,
            negative_weight=negative_weight,
            hardest=hardest,
            temperature=temperature,
            momentum=momentum,
        )

    def term(self, embedding: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """EKD of one batch."""
        loss: Tensor = self.ranks(embedding, targets, labels)
        return loss

    def monitors(self) -> dict[str, float]:
        """The thresholds at FPR 1e-1 and 1e-3."""
        student, teacher = self.ranks.student_thresholds, self.ranks.teacher_thresholds
        return {
            f"threshold_{side}_{name}": float(values[place])
            for side, values in (("student", student), ("teacher", teacher))
            for name, place in (("1e-1", 0), ("1e-3", 2))
        }
