"""IJB-B and IJB-C, 1:1: comparisons of templates."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.core.errors import DataError
from crossface.data.formats.ijb import IjbFaces
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.intervals import (
    MIN_IDENTITIES,
    group_jackknife,
    rate_interval,
    too_few_false_matches,
)
from crossface.evaluation.pair_scores import PairScores
from crossface.evaluation.report import (
    Report,
    interval_dict,
    report_head,
    report_tail,
    target_name,
)
from crossface.evaluation.template_scores import TailStatistics, score_template_pairs
from crossface.evaluation.templates import PooledTemplates, TemplateSet, pool_templates

Int64Array = npt.NDArray[np.int64]

FMR_TARGETS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def evaluate_ijbb_11(
    faces: EmbeddedFaces, data: IjbFaces, *, by_norm: bool = True, by_detector: bool = True
) -> Report:
    """TAR at fixed FMRs over IJB-B's template pairs; see ``evaluate_ijb_11``."""
    return evaluate_ijb_11(faces, data, "ijbb", by_norm=by_norm, by_detector=by_detector)


def evaluate_ijbc_11(
    faces: EmbeddedFaces, data: IjbFaces, *, by_norm: bool = True, by_detector: bool = True
) -> Report:
    """TAR at fixed FMRs over IJB-C's template pairs; see ``evaluate_ijb_11``."""
    return evaluate_ijb_11(faces, data, "ijbc", by_norm=by_norm, by_detector=by_detector)


def evaluate_ijb_11(
    faces: EmbeddedFaces,
    data: IjbFaces,
    subset: str,
    *,
    by_norm: bool = True,
    by_detector: bool = True,
    fmr_targets: tuple[float, ...] = FMR_TARGETS,
) -> Report:
    """EER and TAR at fixed FMRs over the published list of template pairs.

    The threshold of a target is the smallest whose measured FMR does not exceed it. InsightFace's
    scripts take the point of the ROC nearest to the target, which may lie on the wrong side, so
    theirs can be higher.

    Args:
        faces: the pictures of ``data``, embedded.
        data: the meta files.
        subset: "ijbb" or "ijbc", what ``data`` must be.
        by_norm: N1, weigh pictures by the length of their raw embeddings.
        by_detector: D1, weigh them by the detector's score.
        fmr_targets: FMRs at which the TAR is given where at least 30 false matches are expected.

    Raises:
        DataError: if ``data`` is the other benchmark, or a list does not fit.
    """
    start = time.perf_counter()
    if data.subset != subset:
        raise DataError(f"expected the meta files of {subset}, got those of {data.subset}")
    pooled = pool_templates(faces, ijb_templates(data), by_norm=by_norm, by_detector=by_detector)
    pairs = data.pairs()
    rows = [template_rows(pooled, side) for side in (pairs.a, pairs.b)]
    scored = score_template_pairs(pooled.faces, rows[0], rows[1], pairs.same)
    report = report_head(
        faces, f"{subset}-11", n_pairs=len(scored.scores), n_identities=scored.n_identities
    )
    report |= template_facts(pooled) | {
        "n_genuine": int(np.sum(scored.same)),
        "n_impostor": int(np.sum(~scored.same)),
        "n_pairs_lost": scored.n_lost,
        "units": _units(data),
    }
    report |= _rates(scored, fmr_targets)
    return report | report_tail(faces, time.perf_counter() - start)


def ijb_templates(data: IjbFaces) -> TemplateSet:
    """Which pictures make which template."""
    subjects = zip(data.subjects.templates.tolist(), data.subjects.subjects.tolist(), strict=True)
    return TemplateSet(
        keys=[data.key(index) for index in range(len(data))],
        templates=[str(template) for template in data.templates.tolist()],
        media=data.media,
        detector_scores=data.detector_scores,
        subjects={str(template): str(subject) for template, subject in subjects},
    )


def template_rows(pooled: PooledTemplates, templates: Int64Array) -> Int64Array:
    """(N,) row of each numbered template among the pooled ones, -1 where it has none."""
    numbers = np.array([int(key) for key in pooled.faces.keys], dtype=np.int64)
    order = np.argsort(numbers)
    place = np.searchsorted(numbers[order], templates)
    place = np.minimum(place, len(order) - 1)
    found = numbers[order][place] == templates
    return np.where(found, order[place], -1).astype(np.int64)


def template_facts(pooled: PooledTemplates) -> dict[str, Any]:
    """What every template protocol says of its templates."""
    return {
        "switches": pooled.switches,
        "n_templates": len(pooled.faces.keys),
        "n_templates_failed": len(pooled.faces.failures),
        "n_templates_partial": pooled.n_partial,
        "templates_failed": [f.name for f in pooled.faces.failures],
    }


def _units(data: IjbFaces) -> str:
    if len(data.subjects.templates):
        return "subjects, from the 1:N files"
    return (
        "templates joined along genuine pairs: without the 1:N files nobody says which templates "
        "of impostor pairs show one subject, so the intervals may be too narrow"
    )


def _rates(scored: PairScores, fmr_targets: tuple[float, ...]) -> dict[str, Any]:
    n_impostor = int(np.sum(~scored.same))
    reasons = {target: too_few_false_matches(target, n_impostor) for target in fmr_targets}
    given = [target for target, reason in reasons.items() if reason is None]
    statistics = TailStatistics(scored, given)
    values = statistics.of_all()
    variances = group_jackknife(statistics, scored.a, scored.b)
    limits = [_limits(scored, v, s) for v, s in zip(values, variances, strict=True)]
    by_target = dict(zip(given, limits[1:], strict=True))
    rows: dict[str, Any] = {}
    for target, reason in reasons.items():
        if reason is not None:
            body = interval_dict(Interval(value=None, reason=reason), threshold=None)
        else:
            threshold, measured = statistics.threshold(target)
            body = interval_dict(by_target[target], threshold=threshold, fmr=measured)
        rows[target_name(target)] = body | {"n_false_matches_expected": target * n_impostor}
    return {"eer": interval_dict(limits[0]), "tar_at_fmr": rows}


def _limits(scored: PairScores, value: float, variance: float) -> Interval:
    if np.isnan(value):
        return Interval(value=None, reason="it lies beyond the impostor scores that are kept")
    units = scored.n_identities
    if units < MIN_IDENTITIES or np.isnan(variance):
        reason = f"an interval needs {MIN_IDENTITIES} identities spread over the pairs"
        return Interval(value=float(value), reason=f"{reason}, there are {units}")
    trials = int(np.sum(scored.same))
    errors = round(min(value, 1.0 - value) * trials)
    return rate_interval(float(value), float(variance), trials=trials, units=units, errors=errors)
