"""RKD: keep the distances and angles between the pictures of a batch.

Paper: Park et al., "Relational Knowledge Distillation", arXiv:1904.05068 (CVPR 2019).
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from crossface.losses.relations import rkd_angle, rkd_distance
from crossface.training.distillers.base import Context
from crossface.training.distillers.grounded import Ground, GroundedDistiller


class RkdDistiller(GroundedDistiller):
    """``term = distance_weight * RKD-D + angle_weight * RKD-A``.

    Args:
        context: needs a teacher.
        distance_weight: 25 in GKD's and RepDistiller's code.
        angle_weight: 50 in the same.
        weight: of the term beside the base [READING: so it pulls at a fresh student's embedding
            about half as hard as regression].
        ground: the base and its options, see ``Ground``.

    Paper: arXiv:1904.05068, Eq. 6-11.
    Deviation: that of ``rkd_distance`` and ``rkd_angle``; without labels regression stands where
    the paper has the task's loss.
    """

    def __init__(
        self,
        context: Context,
        *,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        weight: float = 0.5,
        **ground: Unpack[Ground],
    ) -> None:
        super().__init__("rkd", context, weight=weight, **ground)
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight

    def term(self, embedding: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """RKD of one batch; the labels are not looked at."""
        del labels
        distance = rkd_distance(embedding, targets)
        return self.distance_weight * distance + self.angle_weight * rkd_angle(embedding, targets)
