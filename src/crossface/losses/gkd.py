"""Distillation of logits: Hinton's, and GKD's split of it into two groups of classes.

Paper: Zhao et al., "Grouped Knowledge Distillation for Deep Face Recognition", arXiv:2304.04462.
The authors' code (WisonZ/GKD, commit 0c295cc) decides where the text is loose.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossface.losses.checks import IGNORED, check_labels, check_same_shape, wide

# The authors keep 10,000 of 85,742 classes, and count in steps of 100 of them.
_FIXED_SHARE = 0.117
_STEPS_PER_CLASSES = 850


def hinton_kd(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 4.0) -> Tensor:
    """T^2 times the mean over rows of KL(teacher || student) at temperature T.

    Args:
        student_logits: (N, C).
        teacher_logits: (N, C); no gradient reaches them.
        temperature: T > 0; GKD's code uses 4.

    Returns:
        Scalar >= 0, in float32 at least.

    Raises:
        ValueError: if the shapes differ, there is no row, or T is not positive.

    Paper: Hinton et al., arXiv:1503.02531, section 2.
    Deviation: none.
    """
    student, teacher = _softened(student_logits, teacher_logits, temperature)
    divergence = _kl(F.log_softmax(teacher, dim=1), F.log_softmax(student, dim=1))
    return temperature**2 * divergence.mean()


class Decomposition(NamedTuple):
    """KL(teacher || student) split by a group M, per row; all (N,).

    ``KL = binary + teacher_mass * primary + (1 - teacher_mass) * secondary`` exactly.

    Attributes:
        binary: KL of the two-bin distributions [P(M), 1 - P(M)].
        primary: KL inside M, both sides renormalised; 0 where M is empty.
        secondary: KL outside M, both sides renormalised; 0 where M is everything.
        teacher_mass: the teacher's P(M).
    """

    binary: Tensor
    primary: Tensor
    secondary: Tensor
    teacher_mass: Tensor


def group_decomposition(
    teacher_logits: Tensor, student_logits: Tensor, mask: Tensor, temperature: float = 4.0
) -> Decomposition:
    """The chain rule of KL over a group of classes and the rest.

    Args:
        teacher_logits: (N, C); no gradient reaches them.
        student_logits: (N, C).
        mask: (N, C) bool, true for the classes of M; every row may have its own.
        temperature: T > 0. The result is not multiplied by T^2.

    Raises:
        ValueError: if the shapes differ, there is no row, or T is not positive.

    Paper: GKD, arXiv:2304.04462, section 3; an identity, not an approximation.
    """
    student, teacher = _softened(student_logits, teacher_logits, temperature)
    if mask.shape != student.shape or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be {tuple(student.shape)} bool, got {tuple(mask.shape)} {mask.dtype}"
        )
    teacher_odds = _masked_lse(teacher, mask) - _masked_lse(teacher, ~mask)
    student_odds = _masked_lse(student, mask) - _masked_lse(student, ~mask)
    split = mask.any(dim=1) & ~mask.all(dim=1)
    binary = _binary_kl(teacher_odds, torch.where(split, student_odds, teacher_odds))
    return Decomposition(
        binary=binary,
        primary=_masked_kl(teacher, student, mask),
        secondary=_masked_kl(teacher, student, ~mask),
        teacher_mass=torch.sigmoid(teacher_odds),
    )


def adaptive_group_size(logits: Tensor, *, rate: float = 0.93, step: int | None = None) -> int:
    """The group size of a batch: how many classes carry ``rate`` of its summed probability.

    Args:
        logits: (N, C); the softmax is taken at temperature 1.
        rate: share of the probability to be carried, in (0, 1].
        step: sizes tried are 1, 1 + step, 1 + 2 step, ...; None is max(1, C // 850).

    Returns:
        The smallest size tried whose classes, summed over the batch and sorted, hold at least
        ``rate``; C if none does.

    Raises:
        ValueError: if the logits are not (N, C) or ``rate`` is out of range.

    Paper: GKD, arXiv:2304.04462, by the authors' ``gkd_adaptive.py``.
    Deviation: the step is 100 there, for 85,742 classes; here it scales with C. The text speaks
    of softened predictions, the code does not soften; this follows the code.
    """
    if logits.ndim != 2 or len(logits) == 0:
        raise ValueError(f"logits must be (N, C) with N >= 1, got {tuple(logits.shape)}")
    if not 0 < rate <= 1:
        raise ValueError(f"rate must lie in (0, 1], got {rate}")
    classes = logits.shape[1]
    stride = max(1, classes // _STEPS_PER_CLASSES) if step is None else step
    mass = F.softmax(wide(logits.detach()), dim=1).double().sum(dim=0)
    carried = mass.sort(descending=True).values.cumsum(dim=0)[::stride]
    enough = torch.nonzero(carried >= rate * len(logits)).flatten()
    return 1 + int(enough[0]) * stride if len(enough) else classes


class GroupedDistillation(nn.Module):
    """GKD: keep what the primary classes say and how much they weigh, drop the long tail.

    ``T^2 * mean(binary_weight * Binary + primary_weight * Primary + secondary_weight * Secondary)``
    with the terms of ``group_decomposition``. M is the top classes of the selecting network, and
    always holds the label. Both logits carry their head's margin, as in the authors' code.

    Args:
        primary_weight: 8 in the paper; the authors' adaptive code ships 4.
        binary_weight: 1 in the paper.
        secondary_weight: 0 in the paper; above 0 for ablations only, it costs (N, C) more.
        temperature: T; the paper uses 4.
        group: how many classes M holds. A number (at most C is used), None for 11.7 % of C,
            which is the authors' 10,000 of 85,742, or "adaptive" for one size per batch by
            ``adaptive_group_size`` of the selecting network's logits.
        adaptive_rate: share of probability of the adaptive rule; the paper uses 0.93.
        select_by: whose logits choose M, "student" as in the paper or "teacher".

    Paper: GKD, arXiv:2304.04462.
    Deviation: the two bins are computed as log-sigmoids of the log-odds of M against the rest,
    which is the same number as the authors' sum of probabilities and never the log of 0.
    """

    def __init__(
        self,
        *,
        primary_weight: float = 8.0,
        binary_weight: float = 1.0,
        secondary_weight: float = 0.0,
        temperature: float = 4.0,
        group: int | Literal["adaptive"] | None = None,
        adaptive_rate: float = 0.93,
        select_by: Literal["student", "teacher"] = "student",
    ) -> None:
        super().__init__()
        if min(primary_weight, binary_weight, secondary_weight) < 0:
            raise ValueError(
                "GKD's weights must not be negative, "
                f"got {primary_weight}, {binary_weight}, {secondary_weight}"
            )
        if group not in {None, "adaptive"} and not (isinstance(group, int) and group >= 1):
            raise ValueError(f"group must be a number >= 1, 'adaptive' or None, got {group!r}")
        if select_by not in {"student", "teacher"}:
            raise ValueError(f"select_by must be 'student' or 'teacher', got {select_by!r}")
        self.primary_weight = primary_weight
        self.binary_weight = binary_weight
        self.secondary_weight = secondary_weight
        self.temperature = temperature
        self.group = group
        self.adaptive_rate = adaptive_rate
        self.select_by = select_by
        self.last_group_size: int | None = None
        """Size of M in the last batch, for the log."""

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of one batch.

        Args:
            student_logits: (N, C).
            teacher_logits: (N, C); no gradient reaches them.
            labels: (N,) int64 in [-1, C); a row labelled -1 is distilled by its top classes.

        Returns:
            Scalar >= 0, in float32 at least.

        Raises:
            ValueError: if shapes or labels do not fit.
        """
        student, teacher = _softened(student_logits, teacher_logits, self.temperature)
        check_labels(labels, *student.shape)
        chooser = (student_logits if self.select_by == "student" else teacher_logits).detach()
        size = self._group_size(chooser)
        self.last_group_size = size
        members = primary_group(chooser, labels, size)
        student_in, teacher_in = student.gather(1, members), teacher.gather(1, members)
        primary = _kl(F.log_softmax(teacher_in, dim=1), F.log_softmax(student_in, dim=1))
        loss = self.primary_weight * primary
        if size < student.shape[1]:
            student_rest, teacher_rest = _without(student, members), _without(teacher, members)
            teacher_odds = teacher_in.logsumexp(dim=1) - teacher_rest.logsumexp(dim=1)
            student_odds = student_in.logsumexp(dim=1) - student_rest.logsumexp(dim=1)
            loss = loss + self.binary_weight * _binary_kl(teacher_odds, student_odds)
            if self.secondary_weight > 0:
                secondary = _kl(F.log_softmax(teacher_rest, 1), F.log_softmax(student_rest, 1))
                loss = loss + self.secondary_weight * secondary
        return self.temperature**2 * loss.mean()

    def _group_size(self, logits: Tensor) -> int:
        classes = logits.shape[1]
        if self.group == "adaptive":
            return adaptive_group_size(logits, rate=self.adaptive_rate)
        wanted = round(_FIXED_SHARE * classes) if self.group is None else int(self.group)
        return min(max(1, wanted), classes)


def primary_group(logits: Tensor, labels: Tensor, size: int) -> Tensor:
    """The classes of M: the label and the highest others.

    Args:
        logits: (N, C) of the network that selects.
        labels: (N,) int64 in [-1, C); -1 forces nothing in.
        size: how many classes, in 1..C.

    Returns:
        (N, size) int64 class indices.
    """
    if size == logits.shape[1]:
        return torch.arange(size, device=logits.device).expand(len(logits), size)
    forced = logits.detach().clone()
    rows = torch.nonzero(labels != IGNORED).flatten()
    forced[rows, labels[rows]] = torch.inf
    return forced.topk(size, dim=1, sorted=False).indices


def _softened(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    check_same_shape(student, teacher, "student and teacher logits")
    if student.ndim != 2:
        raise ValueError(f"logits must be (N, C), got {tuple(student.shape)}")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    return wide(student) / temperature, wide(teacher.detach()) / temperature


def _kl(teacher_log: Tensor, student_log: Tensor) -> Tensor:
    """(N,) KL of two (N, C) log-probabilities."""
    return (teacher_log.exp() * (teacher_log - student_log)).sum(dim=1)


def _binary_kl(teacher_odds: Tensor, student_odds: Tensor) -> Tensor:
    """(N,) KL of two coins given by their log-odds."""
    inside = F.logsigmoid(teacher_odds) - F.logsigmoid(student_odds)
    outside = F.logsigmoid(-teacher_odds) - F.logsigmoid(-student_odds)
    return torch.sigmoid(teacher_odds) * inside + torch.sigmoid(-teacher_odds) * outside


def _without(scaled: Tensor, members: Tensor) -> Tensor:
    """The logits with the group's entries at the lowest number: their probability is exactly 0."""
    return scaled.scatter(1, members, torch.finfo(scaled.dtype).min)


def _masked_lse(scaled: Tensor, mask: Tensor) -> Tensor:
    return scaled.masked_fill(~mask, torch.finfo(scaled.dtype).min).logsumexp(dim=1)


def _masked_kl(teacher: Tensor, student: Tensor, mask: Tensor) -> Tensor:
    lowest = torch.finfo(student.dtype).min
    teacher_log = F.log_softmax(teacher.masked_fill(~mask, lowest), dim=1)
    student_log = F.log_softmax(student.masked_fill(~mask, lowest), dim=1)
    terms = teacher_log.exp() * (teacher_log - student_log)
    return torch.where(mask, terms, 0.0).sum(dim=1)
