"""GKD: distil what the primary classes say and how much they weigh, not the long tail.

Paper: Zhao et al., "Grouped Knowledge Distillation for Deep Face Recognition", arXiv:2304.04462
(AAAI 2023), and its official code.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from crossface.core.errors import ConfigError
from crossface.losses.gkd import GroupedDistillation
from crossface.losses.margin import CosFace, additive_margin_logits, cosine_logits
from crossface.training.distillers.base import Context, Objective, Signals


class GkdDistiller(Objective):
    """Cross-entropy of the student's own head, plus GKD between margin logits.

    ``loss = ce_weight * CE + w * GKD``, w rising linearly from 0 to 1 over ``ramp_fraction``.

    Args:
        context: needs identities; the teacher's class centres W_T are the unit mean of its
            embeddings per identity, since a black box shows none of its own.
        margin: of both heads; it stays in the logits that are distilled, as in the code.
        scale: of both heads.
        primary_weight: the paper's lambda_1.
        binary_weight: the paper's lambda_2.
        secondary_weight: 0 in the paper.
        temperature: T.
        group: size of the primary group; None for the paper's share of the classes, "adaptive"
            for the batch rule of the official code.
        ce_weight: of the student's cross-entropy.
        ramp_fraction: the code rises over 10 of 20 epochs.
        centres: "own" trains the student's head; "teacher" uses W_T for both, which keeps the
            student in the teacher's space.

    Paper: arXiv:2304.04462. Deviation: W_T as above, and ``centres = "teacher"`` is ours.
    """

    needs_labels = True

    def __init__(
        self,
        context: Context,
        *,
        margin: float = 0.4,
        scale: float = 64.0,
        primary_weight: float = 8.0,
        binary_weight: float = 1.0,
        secondary_weight: float = 0.0,
        temperature: float = 4.0,
        group: int | Literal["adaptive"] | None = None,
        ce_weight: float = 1.0,
        ramp_fraction: float = 0.5,
        centres: Literal["own", "teacher"] = "own",
    ) -> None:
        super().__init__(context.student)
        if context.class_centres is None or context.classes < 2:
            raise ConfigError("distiller 'gkd' needs a teacher and at least 2 identities")
        if not (0 <= margin < 2 and temperature > 0):
            raise ConfigError(
                f"distiller 'gkd': margin must lie in [0, 2) and temperature be positive, "
                f"got {margin} and {temperature}"
            )
        if centres not in {"own", "teacher"}:
            raise ConfigError(f"distiller 'gkd': centres are 'own' or 'teacher', got {centres!r}")
        self.register_buffer("teacher_centres", context.class_centres)
        self.teacher_centres: Tensor
        self.head = CosFace(context.classes, context.target_dim, margin=margin, scale=scale)
        if centres == "teacher":
            with torch.no_grad():
                self.head.centres.copy_(context.class_centres)
            self.head.centres.requires_grad_(False)
        self.grouped = GroupedDistillation(
            primary_weight=primary_weight,
            binary_weight=binary_weight,
            secondary_weight=secondary_weight,
            temperature=temperature,
            group=group,
        )
        self.keeps_space = centres == "teacher"
        self.ce_weight = ce_weight
        self.ramp_fraction = ramp_fraction

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Losses of one batch."""
        if signals.targets is None:
            raise ConfigError("distiller 'gkd' needs teacher embeddings")
        embedding = self.student_embedding(signals.images).float()
        student = self.head(embedding, signals.labels)
        with torch.no_grad():
            teacher = additive_margin_logits(
                cosine_logits(signals.targets, self.teacher_centres),
                signals.labels,
                margin=self.head.margin,
                scale=self.head.scale,
            )
        losses = {
            "ce": F.cross_entropy(student, signals.labels, ignore_index=-1),
            "gkd": self.grouped(student, teacher, signals.labels),
        }
        ramp = min(1.0, self.progress / max(self.ramp_fraction, 1e-9))
        return {"loss": self.ce_weight * losses["ce"] + ramp * losses["gkd"], **losses}

    def monitors(self) -> dict[str, float]:
        """Size of the primary group in the newest batch."""
        size = self.grouped.last_group_size
        return {} if size is None else {"group_size": float(size)}
