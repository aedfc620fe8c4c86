"""Two or three students that learn from labels and from each other; the first one is kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crossface.core.errors import ConfigError
from crossface.losses.margin import CosFace
from crossface.losses.ncl import NestedCollaborative
from crossface.nets.layers import Backbone
from crossface.training.distillers.base import Objective, Signals
from crossface.training.schema import CollaborativeConfig


class Collaborative(Objective):
    """NCL++ over whole networks, each with a head of cosines of its own.

    Args:
        student: the network that is kept.
        others: those it learns with; thrown away with the run.
        class_counts: (C,) training pictures of every identity.
        config: students, copies and the options of the loss.

    Paper: NCL++, arXiv:2306.16709, see ``losses.ncl``.
    Deviation: the second copy of a picture is its mirror image, where the paper augments each copy
    by itself; any one student may be deployed, and it is the first.
    """

    needs_labels = True

    def __init__(
        self,
        student: Backbone,
        others: list[Backbone],
        *,
        class_counts: Tensor,
        config: CollaborativeConfig,
    ) -> None:
        super().__init__(student)
        self.copies = config.copies
        try:
            self.nested = NestedCollaborative(
                class_counts,
                hard_classes=config.hard_classes,
                agreement_weight=config.agreement_weight,
                zero_outside=config.zero_outside,
            )
        except ValueError as error:
            raise ConfigError(f"collaborative: {error}") from None
        self.others = nn.ModuleList(others)
        self.heads = nn.ModuleList(
            CosFace(len(class_counts), student.embedding_dim, margin=0.0, scale=config.scale)
            for _ in range(1 + len(others))
        )

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Losses of one batch; the parts are "individual", "intra" and "inter"."""
        images = signals.images
        if self.copies == 2:
            images = torch.cat([images, images.flip(-1)])
        embeddings = [self.student_embedding(images), *(net(images) for net in self.others)]
        unmarked = signals.labels.new_full((len(images),), -1)  # no margin
        logits = torch.stack(
            [head(x.float(), unmarked) for head, x in zip(self.heads, embeddings, strict=True)]
        )
        shaped = logits.reshape(len(logits), self.copies, -1, logits.shape[-1])
        parts = self.nested.parts(shaped, signals.labels)
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}
