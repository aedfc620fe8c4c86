"""SP: pictures that are alike for the teacher should be alike for the student.

Paper: Tung & Mori, "Similarity-Preserving Knowledge Distillation", arXiv:1907.09682 (ICCV 2019).
"""

from __future__ import annotations

from typing import Literal, Unpack

from torch import Tensor

from crossface.losses.relations import similarity_preserving
from crossface.training.distillers.base import Context
from crossface.training.distillers.grounded import Ground, GroundedDistiller


class SpDistiller(GroundedDistiller):
    """``term = ||S_student - S_teacher||_F^2 / B^2``.

    Args:
        context: needs a teacher.
        form: what S is, see ``similarity_preserving``.
        weight: of the term beside the base [READING: so it pulls at a fresh student's embedding
            about half as hard as regression].
        ground: the base and its options, see ``Ground``.

    Paper: arXiv:1907.09682, Eq. 2-4.
    Deviation: that of ``similarity_preserving``; without labels regression stands where the paper
    has the task's loss.
    """

    def __init__(
        self,
        context: Context,
        *,
        form: Literal["cosine", "rows"] = "cosine",
        weight: float = 0.5,
        **ground: Unpack[Ground],
    ) -> None:
        super().__init__("sp", context, weight=weight, **ground)
        if form not in {"cosine", "rows"}:
            raise ValueError(f"form must be 'cosine' or 'rows', got {form!r}")
        self.form = form

    def term(self, embedding: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
        """SP of one batch; the labels are not looked at."""
        del labels
        return similarity_preserving(embedding, targets, self.form)
