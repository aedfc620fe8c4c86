"""A distillation term and what it stands beside: regression, a classifier, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict

from torch import Tensor, nn
from torch.nn import functional as F

from crossface.core.errors import ConfigError
from crossface.losses.embedding import cosine_distance_loss
from crossface.losses.margin import CosFace
from crossface.losses.relations import similarity_preserving
from crossface.training.distillers.base import Context, Objective, Signals


class Ground(TypedDict, total=False):
    """Options of every ``GroundedDistiller``.

    Attributes:
        base: "embedding" (the default) regresses to the teacher's embedding [READING: the papers
            have labels]; "ce" is the cross-entropy of an own CosFace head; "none" leaves the term
            alone.
        base_weight: of the base; 1.
        margin: of the head, with base = "ce"; 0.4 as in GKD's code.
        scale: of the head, with base = "ce"; 64 as in GKD's code.
        sp_weight: weight of SP's term ("cosine", ``losses.relations``) beside all of it; 0. So a
            method that looks inside the teacher can be joined with one that compares pictures.
    """

    base: Literal["embedding", "ce", "none"]
    base_weight: float
    margin: float
    scale: float
    sp_weight: float


class GroundedDistiller(Objective):
    """``loss = base_weight * base + weight * term + sp_weight * sp``; a subclass writes ``term``.

    Papers put their term beside the cross-entropy of labelled faces. Without labels that place is
    empty, and a term that only compares relations leaves the student's space undecided: regression
    to the teacher's embedding takes the place then.

    Args:
        name: of the distiller, for sentences.
        context: needs a teacher.
        weight: of the term.
        ground: see ``Ground``.
    """

    term_keeps_space = False
    """Whether the term alone puts the student into the teacher's space."""

    def __init__(  # the options of ``Ground``, one by one
        self,
        name: str,
        context: Context,
        *,
        weight: float,
        base: Literal["embedding", "ce", "none"] = "embedding",
        base_weight: float = 1.0,
        margin: float = 0.4,
        scale: float = 64.0,
        sp_weight: float = 0.0,
    ) -> None:
        super().__init__(context.student)
        self.name = name
        if context.target_dim == 0:
            raise ConfigError(f"distiller {name!r} needs a teacher")
        if base not in {"embedding", "ce", "none"}:
            raise ConfigError(
                f"distiller {name!r}: base is 'embedding', 'ce' or 'none', got {base!r}"
            )
        if min(weights := (base_weight, weight, sp_weight)) < 0:
            raise ConfigError(f"distiller {name!r}: weights must not be negative, got {weights}")
        self.base = base
        self.base_weight = base_weight
        self.weight = weight
        self.sp_weight = sp_weight
        self.head: nn.Module | None = None
        if base == "ce":
            if context.classes < 2:
                raise ConfigError(f"distiller {name!r} with base = 'ce' needs 2 identities")
            self.head = CosFace(context.classes, context.target_dim, margin=margin, scale=scale)
        self.keeps_space = base == "embedding" or (base == "none" and self.term_keeps_space)

    @classmethod
    def wants_labels(cls, options: Mapping[str, object]) -> bool:
        """Identities are needed with base = "ce", and where the term needs them."""
        return cls.needs_labels or options.get("base") == "ce"

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Losses of one batch."""
        if signals.targets is None:
            raise ConfigError(f"distiller {self.name!r} needs teacher embeddings")
        embedding, term = self.distil(signals, signals.targets)
        losses = {"term": term}
        total = self.weight * term
        if self.base == "embedding":
            losses["base"] = cosine_distance_loss(embedding, signals.targets)
        elif self.head is not None:
            losses["base"] = cross_entropy(self.head(embedding, signals.labels), signals.labels)
        if "base" in losses:
            total = total + self.base_weight * losses["base"]
        if self.sp_weight:
            losses["sp"] = similarity_preserving(embedding, signals.targets)
            total = total + self.sp_weight * losses["sp"]
        return {"loss": total, **losses}

    def distil(self, signals: Signals, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The student's (B, D) embedding in float32, and the method's own scalar loss."""
        embedding = self.student_embedding(signals.images).float()
        return embedding, self.term(embedding, targets, signals.labels)

    def term(self, embedding: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """The method's own loss of (B, D) student and (B, D) unit teacher embeddings."""
        raise NotImplementedError


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the labelled rows; 0 where there is none, instead of not-a-number."""
    total = F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
    return total / (labels != -1).sum().clamp_min(1)
