"""AdaDistill: classify the student by centres that follow its teacher.

Paper: Boutros et al., "AdaDistill: Adaptive Knowledge Distillation for Deep Face Recognition"
(ECCV 2024), and the authors' code.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from crossface.core.errors import ConfigError
from crossface.losses.adadistill import AdaptiveCentres
from crossface.losses.margin import additive_margin_logits, cosine_logits, margin_logits
from crossface.training.distillers.base import Context, Objective, Signals
from crossface.training.distillers.grounded import cross_entropy


class AdaDistiller(Objective):
    """Cross-entropy of margin logits against ``AdaptiveCentres``.

    Args:
        context: needs identities.
        form: "arcface" or "cosface", the paper's AdaArcDistill and AdaCosDistill.
        margin: None for the code's: 0.45 rad with "arcface", 0.35 with "cosface".
        scale: 64 in the code.
        weighted: see ``AdaptiveCentres``.

    Paper: AdaDistill (ECCV 2024).
    Deviation: that of ``AdaptiveCentres``; the exact slope of ArcFace's margin.
    """

    needs_labels = True

    def __init__(
        self,
        context: Context,
        *,
        form: Literal["arcface", "cosface"] = "arcface",
        margin: float | None = None,
        scale: float = 64.0,
        weighted: bool = True,
    ) -> None:
        super().__init__(context.student)
        if context.target_dim == 0 or context.classes < 2:
            raise ConfigError("distiller 'adadistill' needs a teacher and at least 2 identities")
        if form not in {"arcface", "cosface"}:
            raise ConfigError(
                f"distiller 'adadistill': form is 'arcface' or 'cosface', got {form!r}"
            )
        self.form = form
        self.margin = margin if margin is not None else {"arcface": 0.45, "cosface": 0.35}[form]
        self.scale = scale
        self.adaptive = AdaptiveCentres(context.classes, context.target_dim, weighted=weighted)

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Loss of one batch; in training mode its teacher embeddings move the centres first."""
        if signals.targets is None:
            raise ConfigError("distiller 'adadistill' needs teacher embeddings")
        embedding = self.student_embedding(signals.images).float()
        if self.training:
            self.adaptive.update(embedding, signals.targets, signals.labels)
        # A copy: the next step writes into the centres, and this step's graph keeps them.
        cosine = cosine_logits(embedding, self.adaptive.centres.clone())
        labels, scale = signals.labels, self.scale
        if self.form == "arcface":
            logits = margin_logits(cosine, labels, margin_rad=self.margin, scale=scale)
        else:
            logits = additive_margin_logits(cosine, labels, margin=self.margin, scale=scale)
        return {"loss": cross_entropy(logits, labels)}

    def monitors(self) -> dict[str, float]:
        """Mean a of the newest batch: how much of the old centres stays."""
        alpha = self.adaptive.last_alpha
        return {} if alpha is None else {"alpha": alpha}
