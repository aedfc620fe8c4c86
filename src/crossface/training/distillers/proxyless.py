"""ProxylessKD: the student is classified by the teacher's own classifier, which stays as it is.

Paper: Shi et al., "ProxylessKD: Direct Knowledge Distillation with Inherited Classifier for Face
Recognition", arXiv:2011.00265.
"""

from __future__ import annotations

from torch import Tensor

from crossface.core.errors import ConfigError
from crossface.losses import HEADS
from crossface.losses.margin import MarginHead
from crossface.training.distillers.base import Context, Objective, Signals
from crossface.training.distillers.grounded import cross_entropy


class ProxylessDistiller(Objective):
    """Cross-entropy of a margin head whose class centres are the teacher's and frozen.

    Args:
        context: needs identities.
        head: "arcface" or "cosface", with the head's own default margin.
        scale: of the head.

    Paper: arXiv:2011.00265: the inherited classifier W_T, a margin softmax on top.
    Deviation: a black box shows no classifier, so W_T is the unit mean of its embeddings per
    identity (or pseudo-identity). Which margin the paper uses could not be read.
    """

    needs_labels = True

    def __init__(self, context: Context, *, head: str = "arcface", scale: float = 64.0) -> None:
        super().__init__(context.student)
        if context.class_centres is None or context.classes < 2:
            raise ConfigError("distiller 'proxyless' needs a teacher and at least 2 identities")
        self.head: MarginHead = HEADS.resolve(head)(
            context.classes, context.target_dim, scale=scale
        )
        self.head.centres.data.copy_(context.class_centres)
        self.head.centres.requires_grad_(False)

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Loss of one batch."""
        embedding = self.student_embedding(signals.images).float()
        return {"loss": cross_entropy(self.head(embedding, signals.labels), signals.labels)}
