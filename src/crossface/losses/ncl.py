"""NCL++: students that learn together, from labels, from each other and from their hard classes."""

from __future__ import annotations

from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossface.losses.checks import IGNORED, check_labels, wide
from crossface.losses.gkd import primary_group
from crossface.losses.margin import cross_entropy


class NestedCollaborative(nn.Module):
    """Labels, agreement of the students, agreement of one picture's copies; all and hard classes.

    Logits get the log of their class's count (balanced softmax) before everything. The hard
    classes of a picture are the first student's highest, the label among them.

    Args:
        class_counts: (C,) training pictures of every class, each >= 1.
        hard_classes: how many classes of a picture are hard; about 30 % of C in the paper's
            settings of 100 to 8,142 classes.
        agreement_weight: of the distillation; 0.6.
        zero_outside: what the other classes are in the hard classes' cross-entropy. False leaves
            them out; True repeats the code, which multiplies the logits by a mask, so that each
            stays in the softmax with the logit 0.

    Paper: NCL++, arXiv:2306.16709 (NCL: arXiv:2203.15359), with its code (Bazinga699/NCL,
    lib/loss/loss.py, NIL_NBOD_plus): sum of cross-entropies over all and over hard classes of
    every student, plus the distillation between students and between copies; the distillation of
    hard classes keeps the probabilities over all classes.
    Deviation: ``zero_outside`` is off; log-softmax where the code takes the log of the softmax
    plus 1e-9; pictures labelled -1 take part in the distillation alone.
    """

    log_counts: Tensor

    def __init__(
        self,
        class_counts: Tensor,
        *,
        hard_classes: int = 30,
        agreement_weight: float = 0.6,
        zero_outside: bool = False,
    ) -> None:
        super().__init__()
        if class_counts.ndim != 1 or len(class_counts) < 2 or bool((class_counts < 1).any()):
            raise ValueError("class_counts must be (C,), C >= 2, with a picture of every class")
        if not 1 <= hard_classes <= len(class_counts):
            raise ValueError(f"hard_classes must lie in 1..{len(class_counts)}, got {hard_classes}")
        if not agreement_weight >= 0:
            raise ValueError(f"agreement_weight must not be negative, got {agreement_weight}")
        self.hard_classes = hard_classes
        self.agreement_weight = agreement_weight
        self.zero_outside = zero_outside
        self.register_buffer("log_counts", class_counts.double().log().float())

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sum of ``parts``, a scalar in float32 at least."""
        return torch.stack(list(self.parts(logits, labels).values())).sum()

    def parts(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The terms of one batch.

        Args:
            logits: (K, N, C) of K students, or (K, A, N, C) of K students over A augmented
                copies of every picture.
            labels: (N,) int64 in [-1, C).

        Returns:
            Scalars "individual", "intra" (0 for one copy) and "inter" (0 for one student).

        Raises:
            ValueError: if shapes or labels do not fit.
        """
        raw = wide(logits if logits.ndim == 4 else logits.unsqueeze(1))
        if raw.ndim != 4 or raw.shape[-1] != len(self.log_counts):
            raise ValueError(
                f"logits must be (K, N, {len(self.log_counts)}) or (K, A, N, "
                f"{len(self.log_counts)}), got {tuple(logits.shape)}"
            )
        students, copies, rows, classes = raw.shape
        check_labels(labels, rows, classes)
        every = labels.repeat(copies)
        hard = primary_group(raw[0].detach().reshape(-1, classes), every, self.hard_classes)
        balanced = (raw + self.log_counts.to(raw.dtype)).reshape(students, -1, classes)
        individual = torch.stack(
            [cross_entropy(x, every) + self._hard_entropy(x, every, hard) for x in balanced]
        ).sum()
        shares = balanced.log_softmax(dim=-1)
        # (K, A, N, C): copies of one student, held to the first copy's hard classes.
        apart = shares.reshape(students, copies, rows, classes)
        intra = torch.stack([self._agreement(x, hard[:rows]) for x in apart]).sum()
        return {
            "individual": individual,
            "intra": intra,
            "inter": self._agreement(shares, hard),
        }

    def _hard_entropy(self, balanced: Tensor, labels: Tensor, hard: Tensor) -> Tensor:
        total = balanced.gather(1, hard).logsumexp(dim=1)
        outside = balanced.shape[1] - hard.shape[1]
        if self.zero_outside and outside:
            zeros = total.new_tensor(float(outside)).log()
            total = total + F.softplus(zeros - total)
        known = labels != IGNORED
        target = balanced.gather(1, labels.clamp_min(0)[:, None])[:, 0]
        return torch.where(known, total - target, 0.0).sum() / known.sum().clamp_min(1)

    def _agreement(self, shares: Tensor, hard: Tensor) -> Tensor:
        """Distillation among (n, rows, C) log-probabilities: mean over pairs, both directions."""
        pairs = list(combinations(range(len(shares)), 2))
        if not pairs:
            return shares.new_zeros(())
        total = shares.new_zeros(())
        for a, b in pairs:
            # KL(a | b) + KL(b | a), class by class.
            both = (shares[a].exp() - shares[b].exp()) * (shares[a] - shares[b])
            total = total + both.sum() + both.gather(1, hard).sum()
        return self.agreement_weight * total / (len(pairs) * shares.shape[1])
