"""Progress of a budget and the learning rate along it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from crossface.training.schema import BudgetConfig


@dataclass(frozen=True, slots=True)
class Budget:
    """When a run ends, and how far it is.

    Attributes:
        steps: total optimiser steps, or None where ``seconds`` decides.
        seconds: total training seconds, or None where ``steps`` decides.
    """

    steps: int | None
    seconds: float | None

    @classmethod
    def from_config(cls, config: BudgetConfig, steps_per_epoch: int) -> Budget:
        """Resolve epochs into steps of this data set."""
        if config.minutes is not None:
            return cls(None, config.minutes * 60)
        if config.epochs is not None:
            return cls(max(1, round(config.epochs * steps_per_epoch)), None)
        return cls(config.steps, None)

    def progress(self, step: int, elapsed_s: float) -> float:
        """Share of the budget used before this step, in [0, 1]."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        return min(1.0, elapsed_s / (self.seconds or 1.0))

    def is_spent(self, step: int, elapsed_s: float) -> bool:
        """Whether no further step is due."""
        return self.progress(step, elapsed_s) >= 1.0


def warmup_cosine(progress: float, *, warmup_fraction: float, final_fraction: float) -> float:
    """Factor on the peak learning rate: linear warm-up, then half a cosine.

    Args:
        progress: share of the budget used, in [0, 1].
        warmup_fraction: share spent rising from near 0 to 1.
        final_fraction: factor at the very end.
    """
    if progress < warmup_fraction:
        return max(1e-3, progress / warmup_fraction)
    along = (progress - warmup_fraction) / max(1e-12, 1.0 - warmup_fraction)
    return final_fraction + (1 - final_fraction) * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))
