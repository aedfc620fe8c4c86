"""EKD: the student's pairs should pass the same thresholds as the teacher's.

Paper: Huang et al., "Evaluation-oriented Knowledge Distillation for Deep Face Recognition",
arXiv:2206.02325 (CVPR 2022). The authors' code (Tencent/TFace, recognition/tasks/ekd) decides
where the text is loose.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossface.losses.checks import IGNORED, products, wide
from crossface.losses.relations import check_same_batch

_SHARES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)


class EvaluationOriented(nn.Module):
    """Differences of rank between pairs, where false positive rates are read.

    Six thresholds per network are the similarities of its negatives at FPR 1e-1 ... 1e-6, averaged
    over time. A pair's rank is the number of thresholds it passes, softly:
    ``r(s) = sum_k sigmoid((s - threshold_k) / tau)``. The loss is
    ``positive_weight * MSE(r_student, r_teacher)`` over the batch's positive pairs plus
    ``negative_weight *`` the same over the negatives that are hardest for the student.

    Args:
        positive_weight: 0.02 in the code.
        negative_weight: 0.01 in the code.
        hardest: how many negatives; 2,000 reported best.
        temperature: tau; 0.01 reported best.
        momentum: share of a new batch in the thresholds; 0.01 in the code.

    In eval mode the thresholds stay as they are.

    Paper: arXiv:2206.02325; thresholds, relation score and loss by the authors' code.
    Deviation: a pair with an unlabelled picture counts as a negative. A batch without a negative
    moves no threshold. The code clamps the sigmoid's exponent to 50, which changes no digit.
    """

    def __init__(
        self,
        *,
        positive_weight: float = 0.02,
        negative_weight: float = 0.01,
        hardest: int = 2_000,
        temperature: float = 0.01,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if min(positive_weight, negative_weight) < 0:
            raise ValueError(
                f"EKD's weights must not be negative, got {positive_weight}, {negative_weight}"
            )
        if hardest < 1 or not temperature > 0 or not 0 < momentum <= 1:
            raise ValueError(
                "EKD needs hardest >= 1, temperature > 0 and momentum in (0, 1], "
                f"got {hardest}, {temperature}, {momentum}"
            )
        self.positive_weight = positive_weight
        self.negative_weight = negative_weight
        self.hardest = hardest
        self.temperature = temperature
        self.momentum = momentum
        self.register_buffer("student_thresholds", torch.zeros(len(_SHARES)))
        self.register_buffer("teacher_thresholds", torch.zeros(len(_SHARES)))
        self.student_thresholds: Tensor
        self.teacher_thresholds: Tensor

    def forward(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """The loss of one batch.

        Args:
            student: (B, D) raw embeddings.
            teacher: (B, E) the teacher's of the same pictures; no gradient reaches them.
            labels: (B,) int64, -1 where unknown.

        Returns:
            Scalar >= 0, in float32 at least.

        Raises:
            ValueError: if the batches differ.
        """
        check_same_batch(student, teacher)
        if labels.shape != (len(student),):
            raise ValueError(f"labels must be ({len(student)},), got {tuple(labels.shape)}")
        rows, columns = torch.triu_indices(len(student), len(student), 1, device=student.device)
        positive = (labels[rows] == labels[columns]) & (labels[rows] != IGNORED)
        cosines = [_pair_cosines(side, rows, columns) for side in (student, teacher.detach())]
        positives = [cosine[positive] for cosine in cosines]
        negatives = [cosine[~positive] for cosine in cosines]
        if self.training and len(negatives[0]):
            self._move_thresholds(negatives[0].detach(), negatives[1])
        hardest = negatives[0].detach().topk(min(self.hardest, len(negatives[0]))).indices
        chosen = [cosine[hardest] for cosine in negatives]
        loss = self.positive_weight * self._rank_difference(positives[0], positives[1])
        return loss + self.negative_weight * self._rank_difference(chosen[0], chosen[1])

    def ranks(self, cosines: Tensor, thresholds: Tensor) -> Tensor:
        """(P,) soft number of thresholds that (P,) cosines pass."""
        passed = (cosines[:, None] - thresholds.to(cosines.dtype)) / self.temperature
        return torch.sigmoid(passed).sum(dim=1)

    def _rank_difference(self, student: Tensor, teacher: Tensor) -> Tensor:
        if not len(student):
            return student.sum()
        return F.mse_loss(
            self.ranks(student, self.student_thresholds),
            self.ranks(teacher, self.teacher_thresholds),
        )

    @torch.no_grad()
    def _move_thresholds(self, student: Tensor, teacher: Tensor) -> None:
        places = [len(student) // share for share in _SHARES]
        for kept, cosines in (
            (self.student_thresholds, student),
            (self.teacher_thresholds, teacher),
        ):
            newest = cosines.sort(descending=True).values[places]
            kept.lerp_(newest.to(kept.dtype), self.momentum)


def _pair_cosines(embeddings: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    unit = F.normalize(wide(embeddings), dim=1)
    return products(unit, unit)[rows, columns]
