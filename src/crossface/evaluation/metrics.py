"""Error rates of one-to-one comparison, in plain numpy.

The tie rule everywhere: a comparison is accepted when ``similarity >= threshold``.

FMR (false match rate): impostor comparisons accepted. FNMR (false non-match rate): genuine
comparisons not accepted. TAR (true accept rate) is 1 - FNMR. The terms are ISO/IEC 19795-1's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.floating]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class Roc(NamedTuple):
    """Rates at every threshold that changes one, from the strictest on.

    Attributes:
        thresholds: (T,) descending; the first is +inf, where nothing is accepted.
        fmr: (T,) rising from 0.
        fnmr: (T,) falling from 1.
    """

    thresholds: Float64Array
    fmr: Float64Array
    fnmr: Float64Array


class Eer(NamedTuple):
    """Equal error rate and the threshold at which it is read."""

    value: float
    threshold: float


class FoldAccuracy(NamedTuple):
    """Accuracy of a k-fold pair list.

    Attributes:
        value: mean of the folds' accuracies.
        by_fold: (K,) accuracy of each fold at the threshold of the others.
        thresholds: (K,) those thresholds.
    """

    value: float
    by_fold: Float64Array
    thresholds: Float64Array


def roc(genuine: Scores, impostor: Scores, *, n_impostor: int | None = None) -> Roc:
    """Both error rates at every threshold.

    Args:
        genuine: (P,) similarities, P >= 1.
        impostor: (Q,) similarities, Q >= 1; or only the highest Q of them, see ``n_impostor``.
        n_impostor: number of all impostor comparisons where ``impostor`` holds their upper tail;
            the curve then ends at the tail's lowest score.

    Raises:
        ValueError: if a side is empty or a score is not finite.
    """
    genuine, impostor = np.sort(_checked(genuine, "genuine")), _sorted_impostor(impostor)
    total = len(impostor) if n_impostor is None else n_impostor
    thresholds = np.unique(np.concatenate([genuine, impostor]))[::-1]
    if total > len(impostor):
        thresholds = thresholds[thresholds >= impostor[0]]
    accepted = len(impostor) - np.searchsorted(impostor, thresholds, side="left")
    missed = np.searchsorted(genuine, thresholds, side="left")
    return Roc(
        np.concatenate([[np.inf], thresholds.astype(np.float64)]),
        np.concatenate([[0.0], accepted / total]),
        np.concatenate([[1.0], missed / len(genuine)]),
    )


def auc(genuine: Scores, impostor: Scores) -> float:
    """Probability that a genuine score exceeds an impostor score; ties count half.

    Args:
        genuine: (P,) similarities.
        impostor: (Q,) similarities.

    Raises:
        ValueError: if a side is empty or a score is not finite.
    """
    genuine, impostor = _checked(genuine, "genuine"), _sorted_impostor(impostor)
    below = np.searchsorted(impostor, genuine, side="left").astype(np.float64)
    upto = np.searchsorted(impostor, genuine, side="right")
    return float((below + upto).mean() / (2 * len(impostor)))


def eer(genuine: Scores, impostor: Scores) -> Eer:
    """Rate at which FMR and FNMR are equal.

    The two rates are steps; where they cross between two neighbouring thresholds of the ROC, the
    rate and the threshold are interpolated linearly between these.

    Args:
        genuine: (P,) similarities.
        impostor: (Q,) similarities.
    """
    found = eer_of_roc(roc(genuine, impostor))
    if found is None:  # a full curve always crosses: it runs from (0, 1) to (1, 0)
        raise ValueError("the error rates never cross")
    return found


def eer_of_roc(curve: Roc) -> Eer | None:
    """Equal error rate of a ROC as in ``eer``; None if the curve ends before the rates cross."""
    gap = curve.fmr - curve.fnmr
    after = int(np.searchsorted(gap, 0.0, side="left"))
    if after == len(gap):
        return None
    if gap[after] == 0.0:
        return Eer(float(curve.fmr[after]), float(curve.thresholds[after]))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    value = curve.fmr[before] + share * (curve.fmr[after] - curve.fmr[before])
    upper, lower = curve.thresholds[before], curve.thresholds[after]
    threshold = lower if np.isinf(upper) else upper + share * (lower - upper)
    return Eer(float(value), float(threshold))


def false_matches_allowed(target_fmr: float, n_impostor: int) -> int:
    """Most false matches with which the measured FMR does not exceed the target.

    Raises:
        ValueError: unless 0 < target < 1.
    """
    if not 0 < target_fmr < 1:
        raise ValueError(f"a target FMR must lie between 0 and 1, got {target_fmr}")
    return int(np.floor(target_fmr * n_impostor * (1 + 1e-12)))


def threshold_above(score: np.floating) -> float:
    """The smallest threshold that does not accept ``score``: the next number of its dtype."""
    return float(np.nextafter(score, np.array(np.inf, dtype=score.dtype)))


def threshold_at_fmr(impostor: Scores, target_fmr: float) -> float:
    """The smallest threshold at which the measured FMR does not exceed the target.

    It lies just above the (k+1)-th highest impostor score, with k the number of false matches the
    target allows; the nearest point on the wrong side is never taken.

    Args:
        impostor: (Q,) similarities.
        target_fmr: in (0, 1).
    """
    scores = _sorted_impostor(impostor)
    allowed = false_matches_allowed(target_fmr, len(scores))
    return threshold_above(scores[len(scores) - 1 - allowed])


def fmr_at(impostor: Scores, threshold: float) -> float:
    """Share of impostor comparisons that are accepted."""
    return float(np.mean(_checked(impostor, "impostor") >= threshold))


def fnmr_at(genuine: Scores, threshold: float) -> float:
    """Share of genuine comparisons that are not accepted."""
    return float(np.mean(_checked(genuine, "genuine") < threshold))


def fnmr_at_fmr(genuine: Scores, impostor: Scores, target_fmr: float) -> float:
    """FNMR at the threshold of ``threshold_at_fmr``."""
    return fnmr_at(genuine, threshold_at_fmr(impostor, target_fmr))


def tar_at_fmr(genuine: Scores, impostor: Scores, target_fmr: float) -> float:
    """True accept rate, 1 - FNMR, at the threshold of ``threshold_at_fmr``."""
    return 1.0 - fnmr_at_fmr(genuine, impostor, target_fmr)


def kfold_accuracy(
    scores: Scores, same: npt.NDArray[np.bool_], folds: npt.NDArray[np.integer]
) -> FoldAccuracy:
    """Mean accuracy over folds, each at the threshold that is best on the other folds.

    Candidate thresholds lie midway between neighbouring different scores of the other folds, one
    below all and one above all. Of several that are equally good the middle one is taken (of an
    even number the lower middle), so that neither error is favoured by the tie rule.

    Args:
        scores: (N,) similarities.
        same: (N,) whether the pair is genuine.
        folds: (N,) fold of each pair, at least two different ones.

    Raises:
        ValueError: if shapes differ or there are fewer than two folds.
    """
    names, fold = np.unique(folds, return_inverse=True)
    if scores.shape != same.shape or scores.shape != folds.shape or len(names) < 2:
        raise ValueError(
            f"scores, same and folds must be (N,) with at least two folds, "
            f"got {scores.shape}, {same.shape}, {folds.shape} and {len(names)} folds"
        )
    order = np.argsort(_checked(scores, "pair"), kind="stable")
    ranked, genuine, fold = scores[order].astype(np.float64), same[order], fold[order]
    thresholds, by_fold = np.empty(len(names)), np.empty(len(names))
    for number in range(len(names)):
        test = fold == number
        thresholds[number] = _best_threshold(ranked[~test], genuine[~test])
        by_fold[number] = np.mean((ranked[test] >= thresholds[number]) == genuine[test])
    return FoldAccuracy(float(by_fold.mean()), by_fold, thresholds)


def _best_threshold(ranked: Float64Array, genuine: npt.NDArray[np.bool_]) -> float:
    """The threshold of most correct decisions on ascending scores; of equals the middle one."""
    # candidate j rejects the j lowest scores; rejecting an impostor gains one, a genuine loses one
    correct = np.concatenate([[0], np.cumsum(np.where(genuine, -1, 1))])
    between = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
    equals = np.flatnonzero(between & (correct == correct[between].max()))
    chosen = int(equals[(len(equals) - 1) // 2])
    if chosen == 0:
        return float(ranked[0] - 1)
    if chosen == len(ranked):
        return float(ranked[-1] + 1)
    return float((ranked[chosen - 1] + ranked[chosen]) / 2)


def _sorted_impostor(scores: Scores) -> Scores:
    return np.sort(_checked(scores, "impostor"))


def _checked(scores: Scores, what: str) -> Scores:
    if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
        raise ValueError(f"{what} scores must be (N,) finite with N >= 1, got shape {scores.shape}")
    return scores
