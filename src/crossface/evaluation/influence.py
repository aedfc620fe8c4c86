"""How much each identity, and each pair of identities, moves a statistic of all pairs.

The variance follows the data's two-way structure. An identity's own deviation comes from the
delete-one-identity jackknife. An impostor comparison belongs to two identities, so the sum over
identities counts its own noise twice; one share is taken off again (the dyadic correction). What
is left is right both where false matches cluster on a few people and where they do not; resampling
identities as if comparisons had one owner would overstate the latter up to three times.

Paper: Aronow, Samii and Assenova, "Cluster-robust variance estimation for dyadic data", Political
Analysis 2015; Efron and Stein, "The jackknife estimate of variance", Ann. Statist. 1981.
Deviation: the sum over identities is the jackknife's, not a first-order one, so that one identity
with most of the pictures is not understated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crossface.evaluation.metrics import (
    Roc,
    eer_of_roc,
    false_matches_allowed,
    roc,
    threshold_above,
)
from crossface.evaluation.scores import ScoreTable, all_pairs_squared

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

_WINDOW_SD = 2.0  # half width, in standard deviations of the rank, over which a slope is read
_WINDOW_MIN = 0.1
_WINDOW_MAX = 0.7
_MIN_DF = 4.0


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """A statistic and what the data's parts contribute to its error.

    Attributes:
        value: the statistic.
        node: (G,) value without the identity minus value.
        dyads: (K,) int64 sorted pairs of identities, a * G + b with a < b, with false matches.
        dyad: (K,) value without the pair minus value, due to its false matches.
        dyad_base: the same due to one comparison of any pair of identities without false match.
    """

    value: float
    node: Float64Array
    dyads: Int64Array
    dyad: Float64Array
    dyad_base: float


class Spread(NamedTuple):
    """Sampling variance of a statistic and the degrees of freedom behind it."""

    variance: float
    df: float = math.inf


def combine(parts: Sequence[tuple[float, Influence]]) -> Influence:
    """The influence of a weighted sum of statistics over the same identities."""
    keys, place = np.unique(np.concatenate([part.dyads for _, part in parts]), return_inverse=True)
    values = np.concatenate([weight * part.dyad for weight, part in parts])
    return Influence(
        value=sum(weight * part.value for weight, part in parts),
        node=np.sum([weight * part.node for weight, part in parts], axis=0),
        dyads=keys,
        dyad=np.bincount(place, weights=values, minlength=len(keys)).astype(np.float64),
        dyad_base=sum(weight * part.dyad_base for weight, part in parts),
    )


def spread(influence: Influence, sizes: Int64Array) -> Spread:
    """Sampling variance of a statistic of all pairs: jackknife less the dyadic correction.

    Args:
        influence: of the statistic.
        sizes: (G,) pictures of each identity.

    Returns:
        See ``spread_of``.
    """
    a, b = np.divmod(influence.dyads, len(influence.node))
    return spread_of(influence, (sizes[a] * sizes[b]).astype(np.float64), all_pairs_squared(sizes))


def table_spread(influence: Influence, table: ScoreTable) -> Spread:
    """The same for the comparisons of a table, all pairs or chosen ones."""
    compared = table.comparisons_of(influence.dyads)
    return spread_of(influence, compared, table.squared_comparisons)


def spread_of(influence: Influence, compared: Float64Array, squared: float) -> Spread:
    """Sampling variance of a statistic: jackknife over identities less the dyadic correction.

    Args:
        influence: of the statistic.
        compared: (K,) comparisons of each of the influence's pairs of identities.
        squared: sum over all pairs of identities of their squared number of comparisons.

    Returns:
        At least half of the jackknife's variance, since in expectation the correction never takes
        more. The degrees of freedom are Satterthwaite's, from how unequal the identities' squared
        deviations are: few where one person carries most of the comparisons. That estimate is
        itself rough, so it is kept at or above 4.
    """
    count = len(influence.node)
    squares = (influence.node - influence.node.mean()) ** 2
    node = (count - 1) / count * float(squares.sum())
    base = influence.dyad_base
    dyadic = float(np.sum(influence.dyad**2 + 2 * base * influence.dyad * compared))
    variance = max(node - dyadic - base**2 * squared, node / 2)
    uneven = float(np.sum(squares**2) - squares.sum() ** 2 / count)
    df = 2 * float(squares.sum()) ** 2 / uneven if uneven > 0 else math.inf
    return Spread(variance, max(df, _MIN_DF))


def pair_weights(table: ScoreTable, *, by_identity: bool) -> Float64Array:
    """(P,) weight of each genuine comparison, in the order of ``table.genuine``.

    With ``by_identity`` every identity weighs the same, whatever the number of its pictures.
    """
    if not by_identity:
        return np.ones(len(table.genuine))
    return 1.0 / table.genuine_of[table.genuine_identity]


class FnmrAtFmr:
    """FNMR at the smallest threshold whose measured FMR does not exceed a target.

    In each jackknife replicate the threshold is chosen anew from the comparisons that are left.
    Its rank among all impostor scores is found exactly, but kept fractional and read through a
    straight line of the FNMR over the log rank around the threshold: a quantile read from single
    neighbouring scores makes the delete-one jackknife inconsistent (its variance is then that of a
    single gap between scores), while the line spans the sampling error of the rank itself.

    Args:
        table: all comparisons.
        target_fmr: in (0, 1).
        by_identity: let every identity weigh the same in the FNMR.

    Attributes:
        threshold: accepted when similarity >= threshold.
        n_false_matches: measured at it.
        n_false_non_matches: measured at it.
        influence: of the FNMR.
    """

    def __init__(self, table: ScoreTable, target_fmr: float, *, by_identity: bool = False) -> None:
        allowed = false_matches_allowed(target_fmr, table.n_impostor)
        if allowed >= len(table.tail):
            raise ValueError(f"the kept impostor scores end before FMR {target_fmr}")
        self._table, self._target = table, target_fmr
        self.threshold = threshold_above(table.tail[allowed])
        self.n_false_matches = int(np.sum(table.tail[: allowed + 1] >= self.threshold))
        self.n_false_non_matches = int(_missed(table, self.threshold))
        self._rank = target_fmr * table.n_impostor
        shift = _rank_without(table, self._rank, target_fmr) - self._rank
        # without somebody who is in every impostor comparison there is no threshold to move
        shift[table.impostor_of == table.n_impostor] = 0.0
        self._shift = shift
        self._keys, self._counts = _dyad_counts(table, slice(0, max(allowed, 1)))
        self._variance = _rank_variance(shift, self._keys, self._counts, target_fmr, table)
        self.influence = self.weighted(pair_weights(table, by_identity=by_identity))

    def weighted(self, weights: Float64Array) -> Influence:
        """The influence of the FNMR with other weights, at the same threshold.

        Args:
            weights: (P,) >= 0, one for each of ``table.genuine``, not all zero.
        """
        curve = _FnmrOfRank(self._table, weights)
        slope = curve.slope(self._rank, self._variance)
        moved = slope * np.log1p(self._shift / self._rank)
        return Influence(
            value=curve.at_threshold(self.threshold),
            node=curve.without_identity(self.threshold) + moved,
            dyads=self._keys,
            dyad=slope / self._rank * self._counts.astype(np.float64),
            dyad_base=-slope / self._rank * self._target,
        )


class FmrAt:
    """FMR at a threshold that is given, not chosen on these data.

    Args:
        table: all comparisons.
        threshold: at or above the lowest kept impostor score.

    Attributes:
        n_false_matches: measured.
        influence: of the FMR.
    """

    def __init__(self, table: ScoreTable, threshold: float) -> None:
        accepted = int(np.sum(table.tail >= threshold))
        if accepted == len(table.tail) < table.n_impostor:
            raise ValueError(f"the kept impostor scores end above threshold {threshold}")
        total = table.n_impostor
        value = accepted / total
        keys, counts = _dyad_counts(table, slice(0, accepted))
        self.n_false_matches = accepted
        self.influence = Influence(
            value=value,
            node=_fmr_without(table, accepted) - value,
            dyads=keys,
            dyad=-(counts / total).astype(np.float64),
            dyad_base=value / total,
        )


class EqualError:
    """Equal error rate, read as ``metrics.eer`` reads it; None where the kept tail is too short.

    A replicate's crossing is found from its two rates at the threshold and the slopes of both
    curves over the rank there (see ``FnmrAtFmr`` for why).

    Attributes:
        threshold: where the rates cross.
        influence: of the rate.
    """

    def __init__(self, table: ScoreTable, value: float, threshold: float) -> None:
        self.threshold = threshold
        accepted = int(np.sum(table.tail >= threshold))
        rank = max(accepted, 1)
        total = table.n_impostor
        curve = _FnmrOfRank(table, pair_weights(table, by_identity=False))
        fmr_shift = _fmr_without(table, accepted) - accepted / total
        fnmr_shift = curve.without_identity(threshold)
        keys, counts = _dyad_counts(table, slice(0, accepted))
        places = _counts_of(table, accepted) - accepted / total * table.impostor_of
        rank_variance = _rank_variance(places, keys, counts, accepted / total, table)
        falling = -curve.slope(rank, rank_variance) / rank
        share = falling / (1 / total + falling) if falling > 0 else 0.0
        self.influence = Influence(
            value=value,
            node=share * fmr_shift + (1 - share) * fnmr_shift,
            dyads=keys,
            dyad=-(share / total * counts.astype(np.float64)),
            dyad_base=share * accepted / total**2,
        )

    @classmethod
    def of(cls, table: ScoreTable) -> EqualError | None:
        """The crossing of the table's rates."""
        found = eer_of_roc(tail_roc(table))
        return None if found is None else cls(table, found.value, found.threshold)


def auc_influence(table: ScoreTable) -> Influence:
    """Area under the ROC curve, ties half.

    The dyadic correction is left out: with Q impostor comparisons the noise that is counted twice
    is of the order 1 / Q, far below that of the genuine comparisons; what remains is conservative.

    Paper: DeLong et al., Biometrics 1988, placements; Obuchowski, Biometrics 1997, clustered.
    Deviation: deletion of an identity instead of the placements' covariance.
    """
    n_genuine, n_impostor = len(table.genuine), table.n_impostor
    value = float(table.auc_genuine.sum()) / n_genuine
    genuine_left = np.maximum(n_genuine - table.genuine_of, 1)
    impostor_left = np.maximum(n_impostor - table.impostor_of, 1)
    genuine_side = (value * n_genuine - table.auc_genuine) / genuine_left - value
    impostor_sum = float(table.auc_impostor.sum()) / 2
    impostor_side = (impostor_sum - table.auc_impostor) / impostor_left - impostor_sum / n_impostor
    genuine_side[table.genuine_of == n_genuine] = 0.0
    impostor_side[table.impostor_of == n_impostor] = 0.0
    none = np.empty(0)
    return Influence(value, genuine_side + impostor_side, none.astype(np.int64), none, 0.0)


def tail_roc(table: ScoreTable) -> Roc:
    """ROC down to the lowest kept impostor score."""
    return roc(table.genuine, table.tail, n_impostor=table.n_impostor)


class _FnmrOfRank:
    """FNMR as a function of how many of the highest impostor scores are accepted."""

    def __init__(self, table: ScoreTable, weights: Float64Array) -> None:
        self._table = table
        self._weights = weights
        self._cumulated = np.concatenate([[0.0], np.cumsum(weights)])
        self._of = np.bincount(table.genuine_identity, weights=weights, minlength=len(table.sizes))

    def at_threshold(self, threshold: float) -> float:
        return float(self._cumulated[_missed(self._table, threshold)] / self._cumulated[-1])

    def without_identity(self, threshold: float) -> Float64Array:
        """(G,) FNMR without each identity minus FNMR, at a fixed threshold."""
        missed = int(_missed(self._table, threshold))
        own = np.bincount(
            self._table.genuine_identity[:missed],
            weights=self._weights[:missed],
            minlength=len(self._of),
        )
        total = self._cumulated[-1]
        left = total - self._of
        alone = left <= 1e-12 * total
        rest = (self._cumulated[missed] - own) / np.where(alone, 1.0, left)
        return np.where(alone, 0.0, rest - self._cumulated[missed] / total)

    def slope(self, rank: float, rank_variance: float) -> float:
        """Change of the FNMR per unit of log rank, over twice the rank's sampling error."""
        last = len(self._table.tail)
        reach = np.clip(_WINDOW_SD * np.sqrt(rank_variance) / rank, _WINDOW_MIN, _WINDOW_MAX)
        low = min(max(int(rank * np.exp(-reach)), 1), last)
        high = min(max(int(np.ceil(rank * np.exp(reach))), low + 1), last)
        if high == low:
            return 0.0
        ends = [self.at_threshold(float(self._table.tail[place - 1])) for place in (low, high)]
        return (ends[1] - ends[0]) / float(np.log(high / low))


def _missed(table: ScoreTable, threshold: float) -> int:
    wanted = np.float32(threshold)
    return int(np.searchsorted(table.genuine, wanted, side="left"))


def _counts_of(table: ScoreTable, accepted: int) -> Int64Array:
    """(G,) how many of the ``accepted`` highest impostor scores involve each identity."""
    count = len(table.sizes)
    a = np.bincount(table.tail_a[:accepted], minlength=count)
    return a + np.bincount(table.tail_b[:accepted], minlength=count)


def _fmr_without(table: ScoreTable, accepted: int) -> Float64Array:
    left = table.n_impostor - table.impostor_of
    rest = (accepted - _counts_of(table, accepted)) / np.maximum(left, 1)
    return np.where(left > 0, rest, accepted / table.n_impostor)


def _rank_without(table: ScoreTable, rank: float, target_fmr: float) -> Float64Array:
    """(G,) rank, among all impostor scores, of the threshold chosen without each identity.

    Of an identity's own scores in the tail the i-th stands at place p, so p - i foreign scores
    lie before it; it is passed while that number is below what the target allows.
    """
    count = len(table.sizes)
    reach = min(int(4 * rank) + 1, len(table.tail))
    owner = np.concatenate([table.tail_a[:reach], table.tail_b[:reach]])
    place = np.concatenate([np.arange(reach)] * 2)
    order = np.lexsort((place, owner))
    owner, place = owner[order], place[order]
    first = np.searchsorted(owner, np.arange(count))
    nth = np.arange(len(owner)) - first[owner]
    allowed = target_fmr * (table.n_impostor - table.impostor_of)
    passed = place - nth < allowed[owner]
    own = np.bincount(owner[passed], minlength=count)
    return np.asarray(allowed + own, dtype=np.float64)


def _dyad_counts(table: ScoreTable, accepted: slice) -> tuple[Int64Array, Int64Array]:
    """Sorted pairs of identities among the accepted impostor scores, and how many of each."""
    keys = table.tail_a[accepted].astype(np.int64) * len(table.sizes) + table.tail_b[accepted]
    unique, counts = np.unique(keys, return_counts=True)
    return unique, counts.astype(np.int64)


def _rank_variance(
    shift: Float64Array, keys: Int64Array, counts: Int64Array, fmr: float, table: ScoreTable
) -> float:
    places = Influence(0.0, shift, keys, counts.astype(np.float64), -fmr)
    return max(table_spread(places, table).variance, 1.0)
