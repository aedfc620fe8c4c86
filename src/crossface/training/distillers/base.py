"""What every training objective is: tensors of one batch in, named losses out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from crossface.nets.layers import Backbone, PixelFeatures
from crossface.nets.stages import StagedForward, stage_paths

StudentForward = Callable[[Tensor], Any]
"""The embedding, or (embedding, pixel features), or (embedding, maps of stages)."""


class Signals(NamedTuple):
    """Tensors of one batch.

    Attributes:
        images: (B, 3, 112, 112) float32 in [-1, 1], RGB, augmented.
        targets: (B, D) float32 unit teacher embeddings, or None without a teacher.
        labels: (B,) int64 classes, -1 where unknown.
        others: (B, D_k) float32 unit embeddings of each further teacher.
    """

    images: Tensor
    targets: Tensor | None
    labels: Tensor
    others: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """What an objective may be built from.

    Attributes:
        student: the network to train.
        feature_teacher: one of our networks whose pixel features are used, frozen; or None.
        target_dim: D of the teacher's embedding; 0 without a teacher.
        classes: number of identities (or pseudo-identities); 0 where unlabelled.
        class_centres: (classes, D) unit mean teacher embedding per identity, or None.
        other_dims: D_k of each further teacher.
        saliency: side of a grid to the feature teacher's (side, side) saliency map, or None.
    """

    student: Backbone
    feature_teacher: Backbone | None = None
    target_dim: int = 0
    classes: int = 0
    class_centres: Tensor | None = None
    saliency: Callable[[int], Tensor] | None = None
    other_dims: tuple[int, ...] = ()


class Objective(nn.Module):
    """Base of supervised training and of every distiller.

    ``forward`` returns named scalar losses; "loss" is the one that is minimised, the others are
    logged. ``progress`` (share of the budget used) is set by the loop before every step.

    Class attributes: ``keeps_space`` says whether the student ends in the teacher's embedding
    space; the ``needs_*`` say what must be given, ``takes_others`` whether further teachers may be.
    """

    keeps_space: bool = True
    needs_labels: bool = False
    needs_features: bool = False
    needs_student_features: bool = False
    takes_others: bool = False

    def __init__(self, student: Backbone) -> None:
        super().__init__()
        self.student = student
        self.progress = 0.0
        # The loop may put a compiled version here; the module itself stays plain.
        self.run_student: StudentForward = (
            student.forward_both if self.needs_student_features else student.forward
        )

    @classmethod
    def wants_labels(cls, options: Mapping[str, object]) -> bool:
        """Whether identities are needed with these options."""
        del options
        return cls.needs_labels

    @classmethod
    def wants_features(cls, options: Mapping[str, object]) -> bool:
        """Whether a feature teacher is needed with these options."""
        del options
        return cls.needs_features

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Named scalar losses of one batch."""
        raise NotImplementedError

    def monitors(self) -> dict[str, float]:
        """Figures that show whether the method is healthy; logged with every report."""
        return {}

    def tap_student(self, paths: Sequence[str] | None = None) -> list[tuple[int, int, int]]:
        """Have ``student_stages`` give the maps of these modules; (C, H, W) of each.

        Args:
            paths: as ``StagedForward``; ``stage_paths`` of the student by default.
        """
        staged = StagedForward(self.student, paths or stage_paths(self.student))
        self.run_student = staged.forward
        return staged.shapes

    def student_stages(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(B, D) raw embeddings and the (B, C, H, W) maps that were tapped, in one pass."""
        embedding, maps = self.run_student(images)
        return embedding, maps

    def student_embedding(self, images: Tensor) -> Tensor:
        """(B, D) raw embeddings of the student, by the possibly compiled forward."""
        out = self.run_student(images)
        embedding: Tensor = out[0] if isinstance(out, tuple) else out
        return embedding

    def student_both(self, images: Tensor) -> tuple[Tensor, PixelFeatures]:
        """Raw embeddings and pixel features of the student in one pass."""
        out = self.run_student(images)
        if not isinstance(out, tuple):
            raise TypeError("the objective must set needs_student_features")
        embedding, features = out
        return embedding, features
