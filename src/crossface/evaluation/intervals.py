"""95 % intervals of error rates measured on people who appear in many comparisons.

Comparisons of one person are not independent, so identities are the units. Three tools:

- ``influence.spread``: delete-one-identity jackknife with a dyadic correction, for the millions
  of comparisons of ``all-pairs``, where deletion can be done by counting;
- ``group_jackknife``: the same by deleting groups, with the statistic computed afresh, for pair
  lists, where everything is small and the statistics (a threshold chosen on other folds, a rate
  at an order statistic) are too rough for the delete-one jackknife;
- ``rate_interval``: from a variance to limits, on the logit scale, exact where counts are tiny.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.core.seeds import generator
from crossface.evaluation.exact import clopper_pearson, student_quantile

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LEVEL = 0.95
MIN_FALSE_MATCHES = 30
TINY_COUNT = 10
MIN_IDENTITIES = 10

_GROUPS = 5
_PARTITIONS = 40


def too_few_false_matches(target_fmr: float, n_impostor: int) -> str | None:
    """Why no figure is given at this FMR, or None where one is.

    Below 30 expected false matches the threshold itself is a guess: its FMR is off by more than
    about a third either way.
    """
    expected = target_fmr * n_impostor
    if expected >= MIN_FALSE_MATCHES * (1 - 1e-9):
        return None
    return (
        f"{expected:.3g} false matches are expected among {n_impostor} impostor comparisons, "
        f"at least {MIN_FALSE_MATCHES} are needed"
    )


def rate_interval(
    value: float,
    variance: float,
    *,
    trials: int,
    units: int,
    errors: int | None = None,
    df: float = math.inf,
) -> Interval:
    """Limits of a rate in [0, 1] from its sampling variance.

    On the logit scale, which keeps the limits inside and follows the skew of small rates. Where
    fewer than 10 errors were seen, or the rate is 0 or 1, the limits are Clopper-Pearson's for the
    effective number of trials p (1 - p) / variance, and for as many trials as there are
    independent units where no variance can be seen.

    Args:
        value: the rate.
        variance: of the rate, >= 0.
        trials: comparisons behind the rate; the effective number is never more.
        units: identities behind the rate.
        errors: errors seen, if the rate counts errors.
        df: degrees of freedom of the variance; Student's quantile is used.

    Paper: Korn and Graubard, Survey Methodology 1998 (effective sample size).
    Deviation: without their correction for degrees of freedom.
    """
    spread = value * (1.0 - value)
    few = errors is not None and errors < TINY_COUNT
    if few or spread <= 0 or variance <= 0:
        seen = spread > 0 and variance > 0
        effective = min(spread / variance, float(trials)) if seen else float(min(units, trials))
        low, high = clopper_pearson(value * effective, effective, level=LEVEL)
        return Interval(value=value, low=low, high=high)
    centre = math.log(value / (1.0 - value))
    reach = student_quantile(0.5 + LEVEL / 2, df) * math.sqrt(variance) / spread
    return Interval(value=value, low=_expit(centre - reach), high=_expit(centre + reach))


def difference_interval(value: float, variance: float, *, df: float = math.inf) -> Interval:
    """Symmetric limits of a difference of two statistics from its sampling variance."""
    reach = student_quantile(0.5 + LEVEL / 2, df) * math.sqrt(max(variance, 0.0))
    return Interval(value=value, low=value - reach, high=value + reach)


def group_jackknife(
    statistic: Callable[[BoolArray], Float64Array], a: Int64Array, b: Int64Array
) -> Float64Array:
    """Sampling variances of statistics of a pair list, everything computed anew per replicate.

    Identities are dealt into 5 groups; each replicate leaves out every comparison that touches
    one group. Large groups, not single identities: thresholds are order statistics, for which the
    delete-one jackknife is inconsistent and the delete-d jackknife, d growing with the sample, is
    not (Shao and Wu, Ann. Statist. 1989); a threshold of best accuracy is rougher still and jumps
    between near-equal optima. In simulations with known truth 5 groups overstate the variance of
    the accuracy by a third, 20 groups by nine tenths. The dealing is repeated 40 times and
    averaged, since 5 replicates alone leave the variance itself uncertain.

    A comparison of two people is left out with either of them, so the noise that is its own (not
    its people's) counts (1 + q) / q times, q = 4 / 5. A second set of replicates, which leaves
    out groups of impostor pairs of identities, measures that noise, and the excess, 1 / q of it,
    is taken off: the dyadic correction of ``influence.spread`` by replication.

    Args:
        statistic: (N,) mask of comparisons that stay, to (S,) values; NaN where one is undefined.
        a: (N,) identity of the first picture, 0..G-1.
        b: (N,) identity of the second; equal to ``a`` in genuine comparisons.

    Returns:
        (S,) variances; NaN where a replicate leaves a statistic undefined.
    """
    count = int(max(a.max(), b.max())) + 1
    rng = generator("group jackknife", count, len(a))
    groups = min(_GROUPS, count)
    low, high = np.minimum(a, b), np.maximum(a, b)
    _, dyad = np.unique(low * count + high, return_inverse=True)
    genuine = a == b
    whole, own = [], []
    for _ in range(_PARTITIONS):
        of_identity = rng.permutation(count) % groups
        ga, gb = of_identity[a], of_identity[b]
        whole.append(_grouped(statistic, [(ga != g) & (gb != g) for g in range(groups)]))
        of_dyad = (rng.permutation(int(dyad.max()) + 1) % groups)[dyad]
        own.append(_grouped(statistic, [genuine | (of_dyad != g) for g in range(groups)]))
    node, pair = np.mean(whole, axis=0), np.mean(own, axis=0)
    kept = (groups - 1) / groups
    return np.asarray(np.maximum(node - pair / kept, node / 2), dtype=np.float64)


def _grouped(
    statistic: Callable[[BoolArray], Float64Array], masks: list[BoolArray]
) -> Float64Array:
    values = np.array([statistic(mask) for mask in masks])
    squares = np.sum((values - values.mean(axis=0)) ** 2, axis=0)
    return np.asarray((len(masks) - 1) / len(masks) * squares, dtype=np.float64)


def _expit(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))
