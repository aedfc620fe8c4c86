"""Product bootstrap of a pair list: the conservative choice, every threshold chosen anew.

All statistics of ``pair_scores.PairStatistics`` are computed in thousands of replicates at once,
from weights instead of repeated pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crossface.evaluation.bootstrap import REPLICATES, product_weights, weight_blocks
from crossface.evaluation.pair_scores import PairScores

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

_PASSES = 20  # blocks so small that a pass over one stays in the processor's cache


def product_bootstrap(
    pairs: PairScores,
    fmr_targets: Sequence[float],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Float64Array:
    """The statistics of a pair list in every replicate of a Bayesian product bootstrap.

    Conservative: an impostor pair weighs the product of its two people's weights, which counts
    noise that is the pair's own up to three times.

    Args:
        pairs: the comparisons.
        fmr_targets: FMRs for the TAR.
        replicates: R.
        seed: of the draw.

    Returns:
        (R, 3 + len(fmr_targets)) k-fold accuracy (NaN with a single fold), AUC, EER and TARs, in
        the order of ``PairStatistics``.
    """
    statistics = WeightedPairStatistics(pairs, fmr_targets)
    count = int(max(pairs.a.max(), pairs.b.max())) + 1
    cells = _PASSES * len(pairs.scores)
    return np.concatenate(
        [
            statistics(product_weights(weights, pairs.a, pairs.b))
            for weights in weight_blocks(count, cells, replicates, seed=seed)
        ]
    )


class WeightedPairStatistics:
    """``PairStatistics`` with positive weights instead of a mask, for many weightings at once.

    Args:
        pairs: the comparisons.
        fmr_targets: FMRs for the TAR.
    """

    def __init__(self, pairs: PairScores, fmr_targets: Sequence[float]) -> None:
        self._targets = tuple(fmr_targets)
        self._order = np.argsort(-pairs.scores, kind="stable")
        self._same = pairs.same[self._order]
        ranked = pairs.scores[self._order]
        self._last = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
        folds = np.unique(pairs.folds)
        self._folds = [_Fold(pairs, fold) for fold in folds] if len(folds) > 1 else []

    def __call__(self, weights: Float64Array) -> Float64Array:
        """The statistics of each row of (R, N) positive weights: (R, 3 + targets)."""
        ranked = np.take(weights, self._order, axis=1)
        genuine = _shares(ranked * self._same, self._last)
        impostor = _shares(ranked * ~self._same, self._last)
        columns = [self._accuracy(weights), _auc(genuine, impostor), _eer(genuine, impostor)]
        for target in self._targets:
            kept = np.sum(impostor <= target * (1 + 1e-12), axis=1) - 1
            columns.append(np.take_along_axis(genuine, kept[:, None], axis=1)[:, 0])
        return np.stack(columns, axis=1)

    def _accuracy(self, weights: Float64Array) -> Float64Array:
        if not self._folds:
            return np.full(len(weights), np.nan)
        by_fold = [fold.accuracy(weights) for fold in self._folds]
        return np.asarray(np.mean(by_fold, axis=0), dtype=np.float64)


class _Fold:
    """One fold, judged at the threshold that is best on the others; see ``kfold_accuracy``.

    Continuous weights leave no two thresholds equally good, so its rule for these is not needed.
    """

    def __init__(self, pairs: PairScores, fold: int) -> None:
        others = np.flatnonzero(pairs.folds != fold)
        own = np.flatnonzero(pairs.folds == fold)
        self._others = others[np.argsort(pairs.scores[others], kind="stable")]
        self._own = own[np.argsort(pairs.scores[own], kind="stable")]
        scores = pairs.scores[self._others].astype(np.float64)
        # candidate j rejects the j lowest scores; it exists where these differ from the rest
        inner = np.flatnonzero(scores[1:] > scores[:-1]) + 1
        self._inner = inner
        middle = (scores[inner - 1] + scores[inner]) / 2
        thresholds = np.concatenate([[scores[0] - 1], middle, [scores[-1] + 1]])
        own_scores = pairs.scores[self._own].astype(np.float64)
        self._rejected = np.searchsorted(own_scores, thresholds, side="left")
        self._gain = np.where(pairs.same[self._others], -1.0, 1.0)
        self._own_same = pairs.same[self._own]

    def accuracy(self, weights: Float64Array) -> Float64Array:
        """(R,) weighted accuracy of the fold."""
        correct = np.take(weights, self._others, axis=1)
        correct *= self._gain
        np.cumsum(correct, axis=1, out=correct)
        if len(self._inner) + 1 < correct.shape[1]:
            correct = np.take(correct, self._inner - 1, axis=1)
        else:
            correct = correct[:, :-1]
        # rejecting nothing gains nothing; rejecting all is worth impostors less genuine
        everything = np.take(weights, self._others, axis=1) @ self._gain
        ends = np.stack([np.zeros(len(weights)), everything], axis=1)
        return self._own_accuracy(weights, _best_column(correct, ends))

    def _own_accuracy(self, weights: Float64Array, chosen: Int64Array) -> Float64Array:
        own = np.take(weights, self._own, axis=1)
        gained = np.cumsum(np.where(self._own_same, -own, own), axis=1)
        rejected = self._rejected[chosen]
        at = np.take_along_axis(gained, np.maximum(rejected - 1, 0)[:, None], axis=1)[:, 0]
        genuine = own @ self._own_same
        right = genuine + np.where(rejected > 0, at, 0.0)
        return np.asarray(right / own.sum(axis=1), dtype=np.float64)


def _best_column(inner: Float64Array, ends: Float64Array) -> Int64Array:
    """(R,) candidate of most weight: 0 rejects nothing, the last everything, others between."""
    last = inner.shape[1] + 1
    chosen = np.where(ends[:, 0] >= ends[:, 1], 0, last)
    if last == 1:
        return chosen
    best = np.argmax(inner, axis=1)
    value = np.take_along_axis(inner, best[:, None], axis=1)[:, 0]
    return np.where(value >= ends.max(axis=1), best + 1, chosen)


def _shares(weights: Float64Array, last: Int64Array) -> Float64Array:
    """(R, T + 1) share accepted at +inf and at every different score, from the highest on."""
    total = np.cumsum(weights, axis=1)
    shares = np.zeros((len(weights), len(last) + 1))
    np.divide(np.take(total, last, axis=1), total[:, -1:], out=shares[:, 1:])
    return shares


def _auc(genuine: Float64Array, impostor: Float64Array) -> Float64Array:
    """Area under TAR over FMR by trapezoids, which counts ties half."""
    width = np.diff(impostor, axis=1)
    return np.asarray(np.sum(width * (genuine[:, 1:] + genuine[:, :-1]) / 2, axis=1))


def _eer(genuine: Float64Array, impostor: Float64Array) -> Float64Array:
    """Where FMR and FNMR cross, interpolated as ``metrics.eer`` does."""
    gap = impostor + genuine - 1.0
    after = np.maximum(np.sum(gap < 0, axis=1), 1)[:, None]
    before = after - 1
    low, high = (np.take_along_axis(gap, place, axis=1) for place in (before, after))
    share = -low / (high - low)
    fmr = [np.take_along_axis(impostor, place, axis=1) for place in (before, after)]
    return np.asarray(fmr[0] + share * (fmr[1] - fmr[0]))[:, 0]
