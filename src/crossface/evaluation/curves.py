"""ROC and DET curves for plotting, with bands.

Both are one set of points (threshold, FMR, FNMR): a DET plots FNMR over FMR, a ROC plots 1 - FNMR.
``thin`` keeps the points of a full curve that a plot needs; ``det_band`` gives the FNMR with its
95 % limits at a few FMRs, people as units and the threshold chosen anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.evaluation.bootstrap import few_identities
from crossface.evaluation.influence import FnmrAtFmr, table_spread
from crossface.evaluation.intervals import MIN_FALSE_MATCHES, MIN_IDENTITIES, rate_interval
from crossface.evaluation.metrics import Roc
from crossface.evaluation.scores import ScoreTable

Float64Array = npt.NDArray[np.float64]
Axis = Literal["probit", "log"]

_WINDOW = 2.1  # a rank's slope is read up to e^0.7 beyond it; see influence.FnmrAtFmr
_HIGHEST_FMR = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class DetBand:
    """FNMR with pointwise 95 % limits at fixed FMRs.

    Attributes:
        fmr: (T,) rising.
        thresholds: (T,) falling; the smallest whose measured FMR does not exceed ``fmr``.
        fnmr: (T,)
        low: (T,) lower limits; NaN where no interval can be given.
        high: (T,) upper limits; NaN likewise.
        reason: why there are no limits, or None.
    """

    fmr: Float64Array
    thresholds: Float64Array
    fnmr: Float64Array
    low: Float64Array
    high: Float64Array
    reason: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON values: lists, None for a limit that cannot be given."""
        body: dict[str, Any] = {
            name: _or_none(getattr(self, name))
            for name in ("fmr", "thresholds", "fnmr", "low", "high")
        }
        return body if self.reason is None else {**body, "reason": self.reason}


def thin(curve: Roc, *, points: int = 200, axis: Axis = "probit") -> Roc:
    """The points of a curve that a plot on a probit or logarithmic axis needs.

    Steps of both rates are followed evenly along the axis; every point kept is a point of the
    curve, the first and the last among them, and nothing is interpolated.

    Args:
        curve: of ``metrics.roc`` or ``influence.tail_roc``.
        points: about how many per rate, at least 2; at most twice as many and two are kept.
        axis: "probit" spaces rates evenly in normal quantiles, "log" in their logarithm.

    Returns:
        The thinned curve; a short one comes back whole.
    """
    if points < 2:
        raise ValueError(f"a curve needs at least 2 points, got {points}")
    if len(curve.fmr) <= 2 * points:
        return curve
    falling = curve.fnmr[::-1]
    last = len(curve.fmr) - 1
    by_fmr = np.searchsorted(curve.fmr, _grid(curve.fmr, points, axis), side="right") - 1
    by_fnmr = last - (np.searchsorted(falling, _grid(falling, points, axis), side="right") - 1)
    kept = np.unique(np.concatenate([[0, last], by_fmr, by_fnmr]))
    return Roc(curve.thresholds[kept], curve.fmr[kept], curve.fnmr[kept])


def det_band(table: ScoreTable, *, points: int = 20) -> DetBand:
    """FNMR with its limits at FMRs evenly spaced on a logarithmic axis.

    From the lowest FMR that at least 30 false matches are expected at to 0.5, or as far as the
    kept impostor scores reach.

    Args:
        table: all comparisons, of a labelled set or of a pair list (``pair_table``).
        points: at most how many FMRs.

    Returns:
        The band; empty where the data have fewer than 30 false matches to give.
    """
    lowest = MIN_FALSE_MATCHES / table.n_impostor
    share = len(table.tail) / table.n_impostor
    highest = _HIGHEST_FMR if share >= 1 else min(_HIGHEST_FMR, share / _WINDOW)
    targets = np.geomspace(lowest, highest, points) if lowest <= highest else np.empty(0)
    units = int(np.sum(table.genuine_of > 0))
    found = [FnmrAtFmr(table, float(target)) for target in targets]
    limits = [_limits(table, point, units) for point in found]
    return DetBand(
        fmr=targets,
        thresholds=np.array([point.threshold for point in found]),
        fnmr=np.array([point.influence.value for point in found]),
        low=np.array([_or_nan(limit.low) for limit in limits]),
        high=np.array([_or_nan(limit.high) for limit in limits]),
        reason=few_identities(units) if units < MIN_IDENTITIES else None,
    )


def probit(rates: npt.ArrayLike) -> Float64Array:
    """Normal quantiles of rates in (0, 1), the axis of a DET plot."""
    normal = NormalDist()
    values = [normal.inv_cdf(float(rate)) for rate in np.ravel(rates)]
    return np.array(values, dtype=np.float64).reshape(np.shape(rates))


def _limits(table: ScoreTable, point: FnmrAtFmr, units: int) -> Interval:
    value = point.influence.value
    if units < MIN_IDENTITIES:
        return Interval(value=value)
    spread = table_spread(point.influence, table)
    errors = min(point.n_false_non_matches, len(table.genuine) - point.n_false_non_matches)
    return rate_interval(
        value,
        spread.variance,
        df=spread.df,
        trials=len(table.genuine),
        units=units,
        errors=errors,
    )


def _grid(rates: Float64Array, points: int, axis: Axis) -> Float64Array:
    """Rates from the lowest above 0 to the highest below 1, evenly spaced on the axis."""
    inside = rates[(rates > 0) & (rates < 1)]
    if not len(inside):
        return np.empty(0)
    low, high = float(inside[0]), float(inside[-1])
    if axis == "log":
        return np.geomspace(low, high, points)
    normal = NormalDist()
    ends = normal.inv_cdf(low), normal.inv_cdf(high)
    return np.array([normal.cdf(x) for x in np.linspace(*ends, points)])


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _or_none(values: Float64Array) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]
