"""OFA-KD: every stage of the student speaks for itself in the teacher's output space.

Paper: Hao et al., "One-for-All: Bridge the Gap Between Heterogeneous Architectures in Knowledge
Distillation", arXiv:2310.19444 (NeurIPS 2023), and the authors' code (Hao840/OFAKD).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Unpack

import torch
from torch import Tensor, nn

from crossface.core.errors import ConfigError
from crossface.losses.embedding import cosine_distance_loss
from crossface.losses.margin import cosine_logits
from crossface.losses.ofa import ofa_loss
from crossface.training.distillers.base import Context, Signals
from crossface.training.distillers.grounded import Ground, GroundedDistiller

_LAST_SIDE = 7


class OfaDistiller(GroundedDistiller):
    """``term = sum over stages of loss(projector(map), teacher)``; projectors are thrown away.

    Args:
        context: needs a teacher, a black box will do; identities with space = "logits".
        space: "embedding" projects into the teacher's embedding and takes 1 - cos [READING: a face
            teacher without labels has no logits]; "logits" compares cosines against W_T by
            ``ofa_loss``, those of the student's own embedding too, as the code.
        stages: paths of the student's modules with commas between; ``stage_paths`` by default.
        exponent: gamma of ``ofa_loss``; 1.5 in the authors' example for a Transformer teacher.
        temperature: of ``ofa_loss``; 1 in the code.
        weight: of the term beside the base; 1 in the code.
        ground: the base and its options, see ``Ground``; ``scale`` is also that of the logits.

    Paper: arXiv:2310.19444. The projector is the code's for CNN students: separable convolutions
    that halve the grid and double the channels, average pooling, a linear map.
    Deviation: the linear map ends in the teacher's embedding, and W_T (the unit mean embedding per
    identity) makes logits of it, where the code has one row of weights per class and stage.
    """

    term_keeps_space = True

    def __init__(
        self,
        context: Context,
        *,
        space: Literal["embedding", "logits"] = "embedding",
        stages: str | None = None,
        exponent: float = 1.5,
        temperature: float = 1.0,
        weight: float = 1.0,
        **ground: Unpack[Ground],
    ) -> None:
        super().__init__("ofa", context, weight=weight, **ground)
        if space not in {"embedding", "logits"}:
            raise ConfigError(f"distiller 'ofa': space is 'embedding' or 'logits', got {space!r}")
        if not (exponent > 0 and temperature > 0):
            raise ConfigError(
                "distiller 'ofa': exponent and temperature must be positive, "
                f"got {exponent} and {temperature}"
            )
        self.exponent = exponent
        self.temperature = temperature
        self.scale = ground.get("scale", 64.0)
        self.register_buffer("teacher_centres", None)
        self.teacher_centres: Tensor | None
        if space == "logits":
            if context.class_centres is None:
                raise ConfigError("distiller 'ofa' with space = 'logits' needs identities")
            self.teacher_centres = context.class_centres
        elif self.base == "none":
            self.keeps_space = False  # the stages' projectors do not reach the embedding
        paths = None if stages is None else [part.strip() for part in stages.split(",")]
        width = max(context.student.feature_dim, context.target_dim)
        self.projectors = nn.ModuleList(
            _projector(channels, side, width, context.target_dim)
            for channels, side, _ in self.tap_student(paths)
        )

    @classmethod
    def wants_labels(cls, options: Mapping[str, object]) -> bool:
        """Identities are needed for logits."""
        return super().wants_labels(options) or options.get("space") == "logits"

    def distil(self, signals: Signals, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding and the sum of the stages' losses."""
        embedding, maps = self.student_stages(signals.images)
        embedding = embedding.float()
        projected = [
            project(found).float() for project, found in zip(self.projectors, maps, strict=True)
        ]
        if self.teacher_centres is None:
            losses = [cosine_distance_loss(vectors, targets) for vectors in projected]
            return embedding, torch.stack(losses).sum()
        with torch.no_grad():
            teacher = self.scale * cosine_logits(targets, self.teacher_centres)
        losses = [
            ofa_loss(
                self.scale * cosine_logits(vectors, self.teacher_centres),
                teacher,
                signals.labels,
                exponent=self.exponent,
                temperature=self.temperature,
            )
            for vectors in (embedding, *projected)
        ]
        return embedding, torch.stack(losses).sum()


def _projector(channels: int, side: int, width: int, dim: int) -> nn.Sequential:
    """(B, channels, side, side) to (B, dim)."""
    halvings = max(0, round(math.log2(side / _LAST_SIDE)))
    blocks: list[nn.Module] = []
    for n in range(halvings):
        outputs = width if n == halvings - 1 else 2 * channels
        blocks.append(_separable(channels, outputs))
        channels = outputs
    if not halvings:
        blocks.append(nn.Conv2d(channels, width, 1))
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, dim))


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    """Two separable 3x3 convolutions with batch norm and ReLU, the first one with stride 2."""

    def half(channels: int, stride: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.Conv2d(inputs, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        ]

    return nn.Sequential(*half(inputs, 2), *half(outputs, 1))
