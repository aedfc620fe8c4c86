"""OFA-KD's loss: cross-entropy to the teacher's probabilities, with the right class enhanced."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from crossface.losses.checks import IGNORED, check_labels, check_same_shape, wide


def ofa_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    exponent: float = 1.5,
    temperature: float = 1.0,
) -> Tensor:
    """``mean_rows sum_c w_c (log p_teacher - log p_student)``.

    ``w_c = p_c^exponent``, at the label ``(1 + p_c)^exponent - 1``, of the teacher's p.

    Args:
        student_logits: (N, C), from the end or from the middle of the student.
        teacher_logits: (N, C); no gradient reaches them.
        labels: (N,) int64 in [-1, C); a row labelled -1 has no enhanced class.
        exponent: gamma > 0; 1 is KL(teacher || student), above 1 the label weighs more.
        temperature: of both softmaxes; 1 in the code.

    Returns:
        Scalar, 0 for equal logits, in float32 at least. With an exponent other than 1 it can be
        below 0: the weights are no distribution.

    Raises:
        ValueError: if shapes or labels do not fit, or a number is not positive.

    Paper: Hao et al., "One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge
    Distillation", arXiv:2310.19444 (NeurIPS 2023), by the authors' code (Hao840/OFAKD).
    Deviation: less the teacher's own term, a constant, so that equal logits give 0; the gradient is
    the code's.
    """
    check_same_shape(student_logits, teacher_logits, "student and teacher logits")
    if student_logits.ndim != 2:
        raise ValueError(f"logits must be (N, C), got {tuple(student_logits.shape)}")
    check_labels(labels, *student_logits.shape)
    if not (exponent > 0 and temperature > 0):
        raise ValueError(
            f"exponent and temperature must be positive, got {exponent} and {temperature}"
        )
    teacher = F.log_softmax(wide(teacher_logits.detach()) / temperature, dim=1)
    student = F.log_softmax(wide(student_logits) / temperature, dim=1)
    weights = (exponent * teacher).exp()
    rows = torch.nonzero(labels != IGNORED).flatten()
    columns = labels[rows]
    weights[rows, columns] = (1.0 + teacher[rows, columns].exp()) ** exponent - 1.0
    return (weights * (teacher - student)).sum(dim=1).mean()
