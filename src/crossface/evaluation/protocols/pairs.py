"""Pairs: a list of comparisons in folds, as LFW's."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from crossface.core.card import Interval
from crossface.evaluation import metrics
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.intervals import (
    MIN_IDENTITIES,
    group_jackknife,
    rate_interval,
    too_few_false_matches,
)
from crossface.evaluation.pair_scores import PairListLike, PairScores, PairStatistics, score_pairs
from crossface.evaluation.report import (
    Report,
    interval_dict,
    report_head,
    report_tail,
    target_name,
)

FMR_TARGETS = (1e-2, 1e-3, 1e-4)


def evaluate_pairs(
    faces: EmbeddedFaces,
    pairs: PairListLike,
    *,
    list_name: str = "pair list",
    fmr_targets: tuple[float, ...] = FMR_TARGETS,
    probes: EmbeddedFaces | None = None,
) -> Report:
    """Accuracy over folds, AUC, EER and TAR at fixed FMRs of a pair list.

    A pair with a picture that could not be acquired is left out and counted in
    ``n_pairs_lost``; ``fta`` counts the pictures, and all rates are among acquired pictures, as
    ISO/IEC 19795-1 defines FNMR and FMR.

    Args:
        faces: embedded faces.
        pairs: the list; its keys are the source's.
        list_name: what to call the list in the report and in errors.
        fmr_targets: FMRs at which the TAR is given where at least 30 false matches are expected.
        probes: see ``score_pairs``.

    Returns:
        The report; rates are {value, low, high, ...} or value None with the reason.

    Raises:
        DataError: naming a key that is not in the source, or without genuine or impostor pairs.
    """
    start = time.perf_counter()
    scored = score_pairs(faces, pairs, list_name=list_name, probes=probes)
    n_impostor = int(np.sum(~scored.same))
    reasons = {t: too_few_false_matches(t, n_impostor) for t in fmr_targets}
    given = [target for target, reason in reasons.items() if reason is None]
    statistics = PairStatistics(scored, given)
    values = statistics.of_all()
    variances = group_jackknife(statistics, scored.a, scored.b)
    limits = [_limits(scored, v, s) for v, s in zip(values, variances, strict=True)]
    crossing = metrics.eer(scored.scores[scored.same], scored.scores[~scored.same])
    report = report_head(
        faces, "pairs", n_pairs=len(scored.scores), n_identities=scored.n_identities
    )
    report |= {
        "pair_list": list_name,
        "n_genuine": int(np.sum(scored.same)),
        "n_impostor": n_impostor,
        "n_pairs_lost": scored.n_lost,
        "accuracy": _accuracy(scored, limits[0]),
        "auc": interval_dict(limits[1]),
        "eer": interval_dict(limits[2], threshold=crossing.threshold),
        "tar_at_fmr": _tar(scored, reasons, dict(zip(given, limits[3:], strict=True))),
    }
    return report | report_tail(faces, time.perf_counter() - start)


def _limits(scored: PairScores, value: float, variance: float) -> Interval:
    if np.isnan(value):
        return Interval(value=None, reason="the threshold of a fold needs at least one other fold")
    units = scored.n_identities
    if units < MIN_IDENTITIES or np.isnan(variance):
        reason = f"an interval needs {MIN_IDENTITIES} identities spread over the pairs"
        return Interval(value=float(value), reason=f"{reason}, there are {units}")
    trials = len(scored.scores)
    errors = round(min(value, 1.0 - value) * trials)
    return rate_interval(float(value), float(variance), trials=trials, units=units, errors=errors)


def _accuracy(scored: PairScores, limits: Interval) -> dict[str, Any]:
    if limits.value is None:
        return interval_dict(limits)
    folds = metrics.kfold_accuracy(scored.scores, scored.same, scored.folds)
    body = interval_dict(limits, threshold=float(folds.thresholds.mean()))
    body["by_fold"] = folds.by_fold.tolist()
    return body


def _tar(
    scored: PairScores, reasons: dict[float, str | None], limits: dict[float, Interval]
) -> dict[str, Any]:
    impostor = scored.scores[~scored.same]
    rows: dict[str, Any] = {}
    for target, reason in reasons.items():
        expected = target * len(impostor)
        if reason is not None:
            body = interval_dict(Interval(value=None, reason=reason), threshold=None)
        else:
            threshold = metrics.threshold_at_fmr(impostor, target)
            measured = metrics.fmr_at(impostor, threshold)
            body = interval_dict(limits[target], threshold=threshold, fmr=measured)
        rows[target_name(target)] = body | {"n_false_matches_expected": expected}
    return rows
