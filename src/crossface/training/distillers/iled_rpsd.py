"""ILED + RPSD: align the hard pictures, and the relations that are most wrong.

Paper: Mishra & Uikey, "Unified Knowledge Distillation Framework: Fine-Grained Alignment and
Geometric Relationship Preservation for Deep Face Recognition", arXiv:2508.11376 (IJCB 2025), of
which only the abstract could be read.
"""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from crossface.losses.iled_rpsd import PairwiseSimilarities, iled
from crossface.training.distillers.base import Context
from crossface.training.distillers.grounded import Ground, GroundedDistiller


class IledRpsdDistiller(GroundedDistiller):
    """``term = ILED + relation_weight * RPSD``.

    Args:
        context: needs a teacher.
        hard_weight: of a hard picture in ILED [READING].
        relation_weight: of RPSD [READING: so it pulls at a fresh student's embedding about half as
            hard as ILED].
        bank: pictures remembered for RPSD [READING].
        mined: relations that count per picture [READING].
        weight: of the term beside the base.
        ground: the base, "none" by default, since ILED is itself a regression; see ``Ground``.

    Paper: arXiv:2508.11376. Deviation: unknown; the formulas are a [READING] of the abstract.
    """

    term_keeps_space = True

    def __init__(
        self,
        context: Context,
        *,
        hard_weight: float = 2.0,
        relation_weight: float = 0.5,
        bank: int = 4096,
        mined: int | None = 64,
        weight: float = 1.0,
        **ground: Unpack[Ground],
    ) -> None:
        super().__init__("iled_rpsd", context, weight=weight, **(Ground(base="none") | ground))
        if hard_weight < 0:
            raise ValueError(f"hard_weight must not be negative, got {hard_weight}")
        self.hard_weight = hard_weight
        self.relation_weight = relation_weight
        self.relations = PairwiseSimilarities(context.target_dim, bank=bank, mined=mined)

    def term(self, embedding: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """Both losses of one batch; the labels are not looked at."""
        del labels
        relations: Tensor = self.relations(embedding, targets)
        return iled(embedding, targets, self.hard_weight) + self.relation_weight * relations
