"""DKD: how sure the teacher is of the class, and what it says of all others, weighed apart."""

from __future__ import annotations

from torch import Tensor

from crossface.losses.gkd import GroupedDistillation


def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    target_weight: float = 1.0,
    others_weight: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """``T^2 * mean(target_weight * TCKD + others_weight * NCKD)``.

    TCKD is the KL of the two-bin distributions [p_y, 1 - p_y]; NCKD the KL of the distributions
    over the other classes, renormalised.

    Args:
        student_logits: (N, C), C >= 2.
        teacher_logits: (N, C); no gradient reaches them.
        labels: (N,) int64 in [-1, C).
        target_weight: alpha; 1 in the paper.
        others_weight: beta; 8 for most of the paper's CIFAR pairs, 0.5 for ImageNet.
        temperature: T > 0; 4 on CIFAR, 1 on ImageNet.

    Returns:
        Scalar >= 0, in float32 at least.

    Raises:
        ValueError: if shapes, labels or weights do not fit.

    Paper: Zhao et al., "Decoupled Knowledge Distillation", arXiv:2203.08679 (CVPR 2022), Eq. 7.
    Deviation: none for labelled rows; it is GKD's split with the label alone in the group, and
    computed so. In a row labelled -1 the student's top class takes the label's place.
    """
    split = GroupedDistillation(
        primary_weight=0.0,  # a group of one class has nothing inside
        binary_weight=target_weight,
        secondary_weight=others_weight,
        temperature=temperature,
        group=1,
    )
    loss: Tensor = split(student_logits, teacher_logits, labels)
    return loss
