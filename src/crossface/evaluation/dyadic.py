"""Sampling variance of a smooth statistic of comparisons between units that share them.

A comparison belongs to two units (people, or pictures where people are not known), so leaving out
one unit at a time counts the comparison's own noise twice; one share is taken off again.

Paper: Aronow, Samii and Assenova, "Cluster-robust variance estimation for dyadic data", Political
Analysis 2015.
Deviation: the sum over units is the delete-one jackknife's, and at least half of it is kept, as in
``influence.spread``, of which this is the form for any statistic of additive sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.evaluation.exact import student_quantile
from crossface.evaluation.influence import Spread
from crossface.evaluation.intervals import LEVEL, MIN_IDENTITIES, rate_interval
from crossface.evaluation.scores import ScoreTable

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
Statistic = Callable[[Float64Array], Float64Array]

_MIN_DF = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Impostors:
    """The highest impostor similarities and to whom they belong.

    Attributes:
        tail: (Q,) float32 descending, complete down to its last.
        a: (Q,) int32 lower unit of each.
        b: (Q,) int32 higher unit of each.
        tail_pairs: (Q,) float64 number of comparisons between these two units.
        of_unit: (G,) float64 comparisons that involve each unit.
        total: all comparisons.
        squares: sum over pairs of units of their squared number of comparisons.
        unit_name: "identities" or "pictures".
    """

    tail: npt.NDArray[np.float32]
    a: Int32Array
    b: Int32Array
    tail_pairs: Float64Array
    of_unit: Float64Array
    total: int
    squares: float
    unit_name: str

    @classmethod
    def of_table(cls, table: ScoreTable, *, unit_name: str = "identities") -> Impostors:
        """All impostor comparisons of a set."""
        sizes = table.sizes.astype(np.float64)
        second, fourth = float(np.sum(sizes**2)), float(np.sum(sizes**4))
        return cls(
            tail=table.tail,
            a=table.tail_a,
            b=table.tail_b,
            tail_pairs=sizes[table.tail_a] * sizes[table.tail_b],
            of_unit=table.impostor_of.astype(np.float64),
            total=table.n_impostor,
            squares=(second**2 - fourth) / 2,
            unit_name=unit_name,
        )

    @classmethod
    def of_list(
        cls, scores: npt.NDArray[np.float32], first: Int64Array, second: Int64Array
    ) -> Impostors:
        """A list of comparisons of pictures.

        Args:
            scores: (N,) similarities.
            first: (N,) number of the first picture.
            second: (N,) number of the second.
        """
        names, units = np.unique(np.concatenate([first, second]), return_inverse=True)
        low = np.minimum(units[: len(first)], units[len(first) :])
        high = np.maximum(units[: len(first)], units[len(first) :])
        order = np.argsort(-scores, kind="stable")
        key = low.astype(np.int64) * len(names) + high
        _, place, counts = np.unique(key, return_inverse=True, return_counts=True)
        return cls(
            tail=scores[order],
            a=low[order].astype(np.int32),
            b=high[order].astype(np.int32),
            tail_pairs=counts[place][order].astype(np.float64),
            of_unit=np.bincount(units, minlength=len(names)).astype(np.float64),
            total=len(scores),
            squares=float(np.sum(counts.astype(np.float64) ** 2)),
            unit_name="pictures",
        )

    @property
    def n_units(self) -> int:
        """Units that take part in a comparison."""
        return int(np.sum(self.of_unit > 0))

    def accepted(self, threshold: float) -> int:
        """Number of comparisons at or above a threshold.

        Raises:
            ValueError: if the kept scores end above it.
        """
        count = int(np.sum(self.tail >= np.float32(threshold)))
        if count == len(self.tail) < self.total:
            raise ValueError(f"the kept impostor scores end above threshold {threshold}")
        return count

    def unit_sums(self, threshold: float) -> Float64Array:
        """(G, 2) comparisons at or above a threshold, and comparisons, of each unit that has any.

        A comparison is one of both its units.
        """
        count, units = self.accepted(threshold), len(self.of_unit)
        own = np.bincount(self.a[:count], minlength=units)
        own = own + np.bincount(self.b[:count], minlength=units)
        return np.stack([own, self.of_unit], axis=1).astype(np.float64)[self.of_unit > 0]

    def variance(self, statistic: Statistic, columns: Float64Array) -> Spread:
        """Sampling variance of a statistic of sums over the highest comparisons.

        Args:
            statistic: (..., S + 1) sums to (...) values; the last sum is the number of all
                comparisons, the others are those of ``columns``.
            columns: (c, S) what each of the c highest comparisons adds to the sums.
        """
        count = len(columns)
        a, b = self.a[:count], self.b[:count]
        units = len(self.of_unit)
        sums = [
            np.bincount(a, column, units) + np.bincount(b, column, units) for column in columns.T
        ]
        by_unit = np.stack([*sums, self.of_unit], axis=1)[self.of_unit > 0]
        _, first, place = np.unique(
            a.astype(np.int64) * units + b, return_index=True, return_inverse=True
        )
        pairs = self.tail_pairs[:count][first]
        by_dyad = np.stack(
            [*(np.bincount(place, column, len(first)) for column in columns.T), pairs], axis=1
        )
        total = np.array([*columns.sum(axis=0), self.total], dtype=np.float64)
        rest = max(self.squares - float(np.sum(pairs**2)), 0.0)
        return delete_one(statistic, total, by_unit, by_dyad, rest)


def delete_one(
    statistic: Statistic,
    total: Float64Array,
    by_unit: Float64Array,
    by_dyad: Float64Array | None = None,
    rest_squares: float = 0.0,
) -> Spread:
    """Variance of a statistic of sums: jackknife over units less the dyadic correction.

    Args:
        statistic: (..., S) sums to (...) values; the last sum counts comparisons.
        total: (S,) sums.
        by_unit: (G, S) each unit's share.
        by_dyad: (K, S) share of each pair of units that adds to more than the last sum; None
            where every comparison belongs to one unit.
        rest_squares: sum over all other pairs of units of their squared number of comparisons.

    Returns:
        The variance and Satterthwaite's degrees of freedom, at least 4; NaN where a replicate
        leaves the statistic undefined.
    """
    value = statistic(total)
    node = statistic(total - by_unit) - value
    count = len(node)
    squares = (node - node.mean()) ** 2
    whole = (count - 1) / count * float(squares.sum())
    variance = whole
    if by_dyad is not None:
        pair = statistic(total - by_dyad) - value
        one = np.zeros_like(total)
        one[-1] = 1.0
        base = float(statistic(total - one) - value)
        dyadic = float(np.sum(pair**2)) + base**2 * rest_squares
        variance = max(whole - dyadic, whole / 2)
    uneven = float(np.sum(squares**2) - squares.sum() ** 2 / count)
    df = 2 * float(squares.sum()) ** 2 / uneven if uneven > 0 else math.inf
    return Spread(variance, max(df, _MIN_DF))


def rate(sums: Float64Array) -> Float64Array:
    """(..., 2) errors and comparisons to (...) their ratio."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1], dtype=np.float64)


def fmr_at(impostors: Impostors, threshold: float) -> Interval:
    """FMR at a threshold that is given, with its interval; units are people or pictures."""
    accepted = impostors.accepted(threshold)
    value = accepted / impostors.total
    if impostors.n_units < MIN_IDENTITIES:
        return Interval(value=value, reason=_few(impostors.n_units, impostors.unit_name))
    found = impostors.variance(rate, np.ones((accepted, 1)))
    if not np.isfinite(found.variance):
        reason = f"one of the {impostors.unit_name} takes part in every comparison"
        return Interval(value=value, reason=reason)
    return rate_interval(
        value,
        found.variance,
        df=found.df,
        trials=impostors.total,
        units=impostors.n_units,
        errors=accepted,
    )


def fnmr_at(table: ScoreTable, threshold: float) -> Interval:
    """FNMR at a threshold that is given, with its interval; identities are the units."""
    by_unit = genuine_sums(table, threshold)
    if not len(by_unit):
        return Interval(value=None, reason="there are no genuine comparisons")
    total = by_unit.sum(axis=0)
    value = float(total[0] / total[1])
    if len(by_unit) < MIN_IDENTITIES:
        reason = _few(len(by_unit), "identities with genuine comparisons")
        return Interval(value=value, reason=reason)
    found = delete_one(rate, total, by_unit)
    return rate_interval(
        value,
        found.variance,
        df=found.df,
        trials=int(total[1]),
        units=len(by_unit),
        errors=int(total[0]),
    )


def genuine_sums(table: ScoreTable, threshold: float) -> Float64Array:
    """(G, 2) genuine comparisons below a threshold, and all, of each identity that has any."""
    missed = int(np.searchsorted(table.genuine, np.float32(threshold), side="left"))
    own = np.bincount(table.genuine_identity[:missed], minlength=len(table.sizes))
    both = np.stack([own, table.genuine_of], axis=1).astype(np.float64)
    return both[table.genuine_of > 0]


def reach_of(found: Spread) -> float:
    """Half the width of a symmetric 95 % interval."""
    return student_quantile(0.5 + LEVEL / 2, found.df) * math.sqrt(max(found.variance, 0.0))


def _few(units: int, unit_name: str) -> str:
    return f"an interval needs {MIN_IDENTITIES} {unit_name}, there are {units}"
