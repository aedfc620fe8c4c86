"""What a step of several configurations costs, timed side by side in one process.

Two runs timed one after the other differ by whatever else the machine did meanwhile. Here they
take turns, a few steps each, and the median over the rounds is taken, so that a fair budget in
minutes can be turned into one in steps, which is reproducible.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from crossface.core.progress import Progress
from crossface.data.loader import Batch
from crossface.training.loop import Session, step_once
from crossface.training.run import RunFolder, usable_cores
from crossface.training.schema import RunConfig
from crossface.training.setup import prepare

_WARM_UP = 2


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of a step, its batch's preparation included.

    Attributes:
        again_s: of a step as most are.
        fresh_s: of a step whose pictures the teacher sees for the first time, where it sees the
            student's own crops and keeps what it said (``teacher.views``); else ``again_s``.
        fresh_steps: how many steps of a run are of that kind.
    """

    again_s: float
    fresh_s: float
    fresh_steps: int = 0

    def seconds(self, steps: int) -> float:
        """Seconds of a run of so many steps, validation left out."""
        fresh = min(steps, self.fresh_steps)
        return fresh * self.fresh_s + (steps - fresh) * self.again_s

    def steps_within(self, seconds: float) -> int:
        """The number of steps, at least one, whose time is nearest to so many seconds."""
        all_fresh = self.fresh_steps * self.fresh_s
        if seconds <= all_fresh:
            return max(1, round(seconds / self.fresh_s))
        return max(1, self.fresh_steps + round((seconds - all_fresh) / self.again_s))


def time_side_by_side(
    configs: Mapping[str, RunConfig],
    *,
    rounds: int = 5,
    steps: int = 3,
    cache: Path | None = None,
    show_progress: bool = True,
) -> dict[str, StepTime]:
    """Time a few steps of every configuration, taking turns; nothing is written but caches.

    Args:
        configs: by name; each is prepared as a run of its own.
        rounds: turns of each, of which the median is taken.
        steps: steps in a turn.
        cache: where shared work is kept, as for ``launch``.
        show_progress: progress on stderr.

    Raises:
        CrossfaceError: naming what does not fit, or that a loss is not a number.
    """
    timed = {
        name: _Timed(prepare(config, RunFolder("."), show_progress=show_progress, cache=cache))
        for name, config in configs.items()
    }
    label = f"timing {' and '.join(configs)}"
    with Progress(label, rounds * len(timed), enabled=show_progress) as bar:
        for one in timed.values():
            one.turn(_WARM_UP, keep=False)
        for _ in range(rounds):
            for one in timed.values():
                one.turn(steps)
                bar.advance()
    return {name: one.result() for name, one in timed.items()}


class _Timed:
    """One configuration, ready to step."""

    def __init__(self, session: Session) -> None:
        self._session = session
        session.average.net.to(session.fabric.device)
        self._objective: nn.Module
        self._optimizer: Any
        self._objective, self._optimizer = session.fabric.setup(
            session.objective, session.optimizer
        )
        self._objective.train()
        self._next = 0
        self._load: list[float] = []
        self._fresh: list[float] = []
        self._again: list[float] = []

    def turn(self, steps: int, *, keep: bool = True) -> None:
        """Make ``steps`` batches and step on them, twice."""
        start = time.perf_counter()
        batches = [self._session.loader.batch(self._next + n) for n in range(steps)]
        # Batches are made beside the steps; they cost the cores that they share with them.
        load = (time.perf_counter() - start) / usable_cores()
        self._next += steps
        fresh, again = self._steps(batches), self._steps(batches)
        if keep:
            self._load.append(load / steps)
            self._fresh.append(fresh / steps)
            self._again.append(again / steps)

    def _steps(self, batches: list[Batch]) -> float:
        start = time.perf_counter()
        for batch in batches:
            step_once(self._session, self._objective, self._optimizer, batch)
        return time.perf_counter() - start

    def result(self) -> StepTime:
        load = float(np.median(self._load))
        again = float(np.median(self._again)) + load
        teacher = self._session.config.teacher
        if teacher is None or teacher.view == "clean" or teacher.views == 0:
            both = float(np.median([self._fresh, self._again])) + load
            return StepTime(again_s=both, fresh_s=both)
        steps = teacher.views * self._session.loader.batches_per_epoch
        fresh = max(float(np.median(self._fresh)) + load, again)
        return StepTime(again_s=again, fresh_s=fresh, fresh_steps=steps)
