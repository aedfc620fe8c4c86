"""Distillation between class logits: what Hinton's KD, DKD and GKD have in common."""

from __future__ import annotations

from typing import Literal, TypedDict

import torch
from torch import Tensor

from crossface.core.errors import ConfigError
from crossface.losses.margin import CosFace, additive_margin_logits, cosine_logits
from crossface.training.distillers.base import Context, Objective, Signals
from crossface.training.distillers.grounded import cross_entropy


class Classifier(TypedDict, total=False):
    """Options of every ``LogitDistiller``.

    Attributes:
        margin: of both heads; 0.4 as in GKD's code.
        scale: of both heads; 64 as in GKD's code.
        ce_weight: of the student's cross-entropy; 1.
        ramp_fraction: share of the budget over which the distillation rises from 0.
        centres: "own" trains the student's head; "teacher" uses W_T for both [READING], which
            keeps the student in the teacher's space.
        distil_margin: whether the margin stays in the logits that are compared, as in GKD's code.
    """

    margin: float
    scale: float
    ce_weight: float
    ramp_fraction: float
    centres: Literal["own", "teacher"]
    distil_margin: bool


class LogitDistiller(Objective):
    """``loss = ce_weight * CE + ramp * weight * term``; a subclass writes ``compare``.

    A black box shows no classifier, so the teacher's logits are its cosines against W_T: the unit
    mean of its embeddings per identity, or per pseudo-identity.

    Args:
        name: of the distiller, for sentences; its term is logged under that name.
        context: needs a teacher and identities.
        weight: of the term.
        classifier: see ``Classifier``.
    """

    needs_labels = True

    def __init__(  # the options of ``Classifier``, one by one
        self,
        name: str,
        context: Context,
        *,
        weight: float = 1.0,
        margin: float = 0.4,
        scale: float = 64.0,
        ce_weight: float = 1.0,
        ramp_fraction: float = 0.0,
        centres: Literal["own", "teacher"] = "own",
        distil_margin: bool = True,
    ) -> None:
        super().__init__(context.student)
        self.name = name
        if context.class_centres is None or context.classes < 2:
            raise ConfigError(f"distiller {name!r} needs a teacher and at least 2 identities")
        if not 0 <= margin < 2:
            raise ConfigError(f"distiller {name!r}: margin must lie in [0, 2), got {margin}")
        if centres not in {"own", "teacher"}:
            raise ConfigError(
                f"distiller {name!r}: centres are 'own' or 'teacher', got {centres!r}"
            )
        self.register_buffer("teacher_centres", context.class_centres)
        self.teacher_centres: Tensor
        self.head = CosFace(context.classes, context.target_dim, margin=margin, scale=scale)
        if centres == "teacher":
            with torch.no_grad():
                self.head.centres.copy_(context.class_centres)
            self.head.centres.requires_grad_(False)
        self.keeps_space = centres == "teacher"
        self.weight = weight
        self.ce_weight = ce_weight
        self.ramp_fraction = ramp_fraction
        self.distil_margin = distil_margin

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Losses of one batch."""
        if signals.targets is None:
            raise ConfigError(f"distiller {self.name!r} needs teacher embeddings")
        embedding = self.student_embedding(signals.images).float()
        cosine, labels = self.head.cosine(embedding), signals.labels
        margin = self.head.margin
        student = self._logits(cosine, labels, margin)
        ce = cross_entropy(student, labels)
        if not self.distil_margin:
            margin, student = 0.0, self._logits(cosine, labels, 0.0)
        with torch.no_grad():
            cosine = cosine_logits(signals.targets, self.teacher_centres)
            teacher = self._logits(cosine, labels, margin)
        term = self.compare(student, teacher, labels)
        rising = self.ramp_fraction > 0
        ramp = min(1.0, self.progress / self.ramp_fraction) if rising else 1.0
        return {
            "loss": self.ce_weight * ce + ramp * self.weight * term,
            "ce": ce,
            self.name: term,
        }

    def compare(self, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        """The method's scalar loss of two (B, C) logits and (B,) labels."""
        raise NotImplementedError

    def _logits(self, cosine: Tensor, labels: Tensor, margin: float) -> Tensor:
        return additive_margin_logits(cosine, labels, margin=margin, scale=self.head.scale)
