"""FitNet: a map in the middle of the student learns to say what the teacher's middle says.

Paper: Romero et al., "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550 (ICLR 2015).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossface.core.errors import ConfigError
from crossface.losses.hints import hint_loss
from crossface.nets.stages import StagedForward, stage_paths
from crossface.training.distillers.base import Context, Signals
from crossface.training.distillers.grounded import Ground, GroundedDistiller


class FitNetDistiller(GroundedDistiller):
    """``term = hint_loss`` of a regressed student map against a teacher map.

    Args:
        context: needs a feature teacher, with on = "maps".
        on: "maps", or "embedding" for what GKD's and EKD's tables call FitNet: the hint is the
            normalised embedding. With base = "ce" that is GKD's code; with base = "none" it is
            plain cosine regression, number for number.
        stage: path of the student's module; the middle one of ``stage_paths`` by default.
        teacher_stage: path of the teacher's; likewise.
        weight: of the term beside the base; 1 in GKD's code.
        ground: the base and its options, see ``Ground``.

    Paper: arXiv:1412.6550, Eq. 3: a convolutional regressor on top of the guided layer.
    Deviation: features are normalised; hints act all along beside the base, where the paper
    trains by hints first and by KD then; the regressor is 1x1 and the larger map is averaged down
    to the smaller one's grid, since ours do not have the paper's sizes.
    """

    term_keeps_space = True

    def __init__(
        self,
        context: Context,
        *,
        on: Literal["maps", "embedding"] = "maps",
        stage: str | None = None,
        teacher_stage: str | None = None,
        weight: float = 1.0,
        **ground: Unpack[Ground],
    ) -> None:
        super().__init__("fitnet", context, weight=weight, **ground)
        if on not in {"maps", "embedding"}:
            raise ConfigError(f"distiller 'fitnet': on is 'maps' or 'embedding', got {on!r}")
        self.on = on
        if on == "embedding":
            return
        if context.feature_teacher is None:
            raise ConfigError("distiller 'fitnet' needs a teacher with pixel features")
        self.keeps_space = self.base == "embedding"  # a hint decides no space
        self.teacher = context.feature_teacher
        bare = getattr(self.teacher, "net", self.teacher)
        self.teacher_maps = StagedForward(bare, [teacher_stage or _middle(stage_paths(bare))])
        (mine,) = self.tap_student([stage or _middle(stage_paths(self.student))])
        (theirs,) = self.teacher_maps.shapes
        self.side = min(mine[1], theirs[1])
        self.regressor = nn.Conv2d(mine[0], theirs[0], 1)

    @classmethod
    def wants_features(cls, options: Mapping[str, object]) -> bool:
        """A feature teacher is needed for maps."""
        return options.get("on", "maps") == "maps"

    def distil(self, signals: Signals, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The embedding and the hint's loss."""
        if self.on == "embedding":
            return super().distil(signals, targets)
        embedding, (mine,) = self.student_stages(signals.images)
        with torch.no_grad():
            _, (theirs,) = self.teacher_maps.forward(signals.images)
        mine, theirs = (F.adaptive_avg_pool2d(x, self.side) for x in (mine, theirs))
        regressed = self.regressor(mine)
        hint = hint_loss(regressed.movedim(1, -1), theirs.movedim(1, -1))
        return embedding.float(), hint

    def term(self, embedding: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """The hint of the embedding."""
        del labels
        return hint_loss(embedding, targets)


def _middle(paths: tuple[str, ...]) -> str:
    return paths[len(paths) // 2]
