"""FMR and FNMR of a pair list at a threshold that was chosen elsewhere, with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.evaluation.intervals import MIN_IDENTITIES, group_jackknife, rate_interval
from crossface.evaluation.pair_scores import PairScores
from crossface.evaluation.report import interval_dict

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]


def rates_at_threshold(scored: PairScores, threshold: float) -> dict[str, Any]:
    """{fmr, fnmr}, each {value, low, high, n_errors, n_trials}.

    Args:
        scored: the comparisons of one group.
        threshold: accepted when similarity >= threshold.
    """
    accepted = scored.scores >= np.float32(threshold)
    wrong = accepted != scored.same

    def rates(mask: BoolArray) -> Float64Array:
        return np.array([_share(wrong, mask & ~scored.same), _share(wrong, mask & scored.same)])

    values = rates(np.ones(len(wrong), dtype=bool))
    variances = group_jackknife(rates, scored.a, scored.b)
    rows = {}
    for place, (name, kind) in enumerate((("fmr", ~scored.same), ("fnmr", scored.same))):
        errors, trials = int(np.sum(wrong & kind)), int(np.sum(kind))
        limits = rate_limits(
            float(values[place]),
            float(variances[place]),
            trials=trials,
            units=scored.n_identities,
            errors=errors,
        )
        rows[name] = interval_dict(limits, n_errors=errors, n_trials=trials)
    return rows


def rate_limits(value: float, variance: float, *, trials: int, units: int, errors: int) -> Interval:
    """The interval of a rate, or the reason why there is none."""
    if np.isnan(value):
        return Interval(value=None, reason="there is no comparison of this kind")
    if units < MIN_IDENTITIES or np.isnan(variance):
        reason = f"an interval needs {MIN_IDENTITIES} identities spread over the pairs"
        return Interval(value=value, reason=f"{reason}, there are {units}")
    return rate_interval(value, variance, trials=trials, units=units, errors=errors)


def _share(wrong: BoolArray, mask: BoolArray) -> float:
    count = int(np.count_nonzero(mask))
    return np.count_nonzero(wrong & mask) / count if count else float("nan")
