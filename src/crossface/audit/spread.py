"""How far groups lie apart: worst to best, with intervals from resampled pictures.

The pictures of a group (its people, where identities are known) are drawn anew with replacement.
A comparison is shared by two of them, so plain resampling would count the comparison's own noise
twice; every replicate's deviation is shrunk to the group's dyadic variance
(``evaluation.dyadic``), which is what its own interval rests on. Deviations are those of the log
rate, to first order.

Source: Owen, "The pigeonhole bootstrap", Ann. Appl. Stat. 2007, on why plain resampling of both
ends is conservative. Deviation: the shrinkage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.core.seeds import generator
from crossface.evaluation.intervals import TINY_COUNT
from crossface.evaluation.report import interval_dict

Float64Array = npt.NDArray[np.float64]

REPLICATES = 2000
_CHUNK_CELLS = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class GroupRate:
    """An error rate of one group and what it rests on.

    Attributes:
        limits: the rate with its interval.
        errors: comparisons in error.
        trials: comparisons.
        by_unit: (G, 2) errors and comparisons of each picture or person.
        variance: sampling variance of the rate.
    """

    limits: Interval
    errors: int
    trials: int
    by_unit: Float64Array
    variance: float

    @property
    def value(self) -> float:
        """The rate."""
        return self.errors / self.trials


def gap(rates: Mapping[str, GroupRate]) -> dict[str, Any]:
    """Worst-to-best ratio and largest difference between groups, with 95 % intervals.

    The worst and the best group are those seen; that they were picked for being extreme is not in
    the intervals, so ``ratio_if_equal`` says how large a ratio chance alone would make: 95 % of
    replicates in which all groups have the same rate stay below it.

    Args:
        rates: groups with an interval.

    Returns:
        {worst, best, ratio, difference, ratio_if_equal}; a value that cannot be given is None
        with the reason.
    """
    if len(rates) < 2:
        reason = f"a gap needs two groups with an interval, there are {len(rates)}"
        none = interval_dict(Interval(value=None, reason=reason))
        return {"worst": None, "best": None, "ratio": none, "difference": none}
    worst = max(rates, key=lambda name: rates[name].value)
    best = min(rates, key=lambda name: rates[name].value)
    moves = {name: _deviations(rate, name) for name, rate in rates.items() if rate.errors}
    return {
        "worst": worst,
        "best": best,
        "ratio": interval_dict(_ratio(rates[worst], rates[best], moves, worst, best)),
        "difference": interval_dict(_difference(rates[worst], rates[best], moves, worst, best)),
        "ratio_if_equal": _by_chance(rates, moves),
    }


def _ratio(
    high: GroupRate, low: GroupRate, moves: dict[str, Float64Array], worst: str, best: str
) -> Interval:
    if not low.errors:
        reason = (
            f"{best} has no error among {low.trials} comparisons"
            if high.errors
            else "no group has an error"
        )
        return Interval(value=None, reason=reason)
    value = high.value / low.value
    if low.errors < TINY_COUNT:
        reason = f"{best} has {low.errors} errors, an interval needs {TINY_COUNT}"
        return Interval(value=value, reason=reason)
    ends = np.quantile(moves[worst] - moves[best], [0.025, 0.975])
    return Interval(value=value, low=value * math.exp(ends[0]), high=value * math.exp(ends[1]))


def _difference(
    high: GroupRate, low: GroupRate, moves: dict[str, Float64Array], worst: str, best: str
) -> Interval:
    value = high.value - low.value
    if high.errors < TINY_COUNT:
        reason = f"{worst} has {high.errors} errors, an interval needs {TINY_COUNT}"
        return Interval(value=value, reason=reason)
    parts = [
        rate.value * np.exp(moves[name]) if name in moves else np.zeros(REPLICATES)
        for name, rate in ((worst, high), (best, low))
    ]
    ends = np.quantile(parts[0] - parts[1], [0.025, 0.975])
    return Interval(value=value, low=float(ends[0]), high=float(ends[1]))


def _by_chance(rates: Mapping[str, GroupRate], moves: dict[str, Float64Array]) -> float | None:
    """95 % quantile of the worst-to-best ratio if all groups had the common rate."""
    common = sum(r.errors for r in rates.values()) / sum(r.trials for r in rates.values())
    if len(moves) < len(rates) or any(rate.errors < TINY_COUNT for rate in rates.values()):
        return None
    scaled = [moves[name] * math.sqrt(rates[name].value / common) for name in moves]
    logs = np.stack(scaled)
    return float(np.exp(np.quantile(logs.max(axis=0) - logs.min(axis=0), 0.95)))


def _deviations(rate: GroupRate, name: str) -> Float64Array:
    """(REPLICATES,) deviations of the log rate when the group's units are drawn anew."""
    units = len(rate.by_unit)
    own = (rate.by_unit[:, 0] - rate.value * rate.by_unit[:, 1]) / rate.errors
    rng = generator("audit", name, units)
    chance = np.full(units, 1.0 / units)
    rows = max(_CHUNK_CELLS // units, 1)
    parts = [
        rng.multinomial(units, chance, min(rows, REPLICATES - start)) @ own
        for start in range(0, REPLICATES, rows)
    ]
    moved = np.concatenate(parts)
    plain = math.sqrt(float(np.sum(own**2)))
    wanted = math.sqrt(rate.variance) / rate.value
    return np.asarray((moved - own.sum()) * (wanted / plain if plain > 0 else 0.0))
