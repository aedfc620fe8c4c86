"""All pairs: every genuine and every impostor comparison of a labelled set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from crossface.core.card import Interval
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.influence import (
    EqualError,
    FnmrAtFmr,
    Influence,
    auc_influence,
    table_spread,
)
from crossface.evaluation.intervals import (
    MIN_IDENTITIES,
    rate_interval,
    too_few_false_matches,
)
from crossface.evaluation.report import (
    Report,
    interval_dict,
    report_head,
    report_tail,
    target_name,
)
from crossface.evaluation.scores import ScoreTable, score_all_pairs

FMR_TARGETS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def evaluate_all_pairs(
    faces: EmbeddedFaces,
    *,
    fmr_targets: tuple[float, ...] = FMR_TARGETS,
    table: ScoreTable | None = None,
) -> Report:
    """FNMR at fixed FMRs, AUC and EER over all comparisons.

    Pictures that could not be acquired take part in no comparison: they are counted in ``fta``
    and FNMR and FMR are rates among acquired pictures, as ISO/IEC 19795-1 defines them.

    ``fnmr_at_fmr`` weighs every genuine comparison the same, so an identity with n pictures weighs
    n (n - 1) / 2; ``fnmr_at_fmr_by_identity`` lets every identity weigh the same, which one person
    with many pictures cannot dominate. ``n_identities_effective`` is the number of equal
    identities whose genuine comparisons would carry the same information.

    Args:
        faces: embedded faces with identities.
        fmr_targets: FMRs at which FNMR is given where at least 30 false matches are expected.
        table: the comparisons of ``faces``, if ``score_all_pairs`` was already called.

    Returns:
        The report; rates are {value, low, high, ...} or value None with the reason.

    Raises:
        DataError: without identities, or without genuine or impostor comparisons.
    """
    start = time.perf_counter()
    table = score_all_pairs(faces) if table is None else table
    report = report_head(
        faces,
        "all-pairs",
        n_pairs=len(table.genuine) + table.n_impostor,
        n_identities=len(table.identities),
    )
    report |= table_figures(table, fmr_targets)
    return report | report_tail(faces, time.perf_counter() - start)


def table_figures(table: ScoreTable, fmr_targets: Sequence[float] = FMR_TARGETS) -> Report:
    """The figures of a table of comparisons: all pairs, or a list's (``template_pairs``).

    Args:
        table: the comparisons.
        fmr_targets: as in ``evaluate_all_pairs``.

    Returns:
        Counts, AUC, EER and the FNMRs; no head and no tail.
    """
    n_genuine = len(table.genuine)
    weight = table.genuine_of / n_genuine
    report: Report = {
        "n_genuine": n_genuine,
        "n_impostor": table.n_impostor,
        "n_identities_genuine": _units(table),
        "n_identities_effective": round(float(1 / np.sum(weight**2)), 1),
        "auc": interval_dict(_limits(table, auc_influence(table))),
        "eer": _equal_error(table),
    }
    for key, by_identity in (("fnmr_at_fmr", False), ("fnmr_at_fmr_by_identity", True)):
        report[key] = {
            target_name(target): _fnmr(table, target, by_identity=by_identity)
            for target in fmr_targets
        }
    return report


def _units(table: ScoreTable) -> int:
    return int(np.sum(table.genuine_of > 0))


def _limits(table: ScoreTable, influence: Influence, *, errors: int | None = None) -> Interval:
    units = _units(table)
    if units < MIN_IDENTITIES:
        return Interval(value=influence.value, reason=_few_identities(units))
    found = table_spread(influence, table)
    return rate_interval(
        influence.value,
        found.variance,
        df=found.df,
        trials=len(table.genuine),
        units=units,
        errors=errors,
    )


def _few_identities(units: int) -> str:
    return (
        f"an interval needs {MIN_IDENTITIES} identities with genuine comparisons, there are {units}"
    )


def _equal_error(table: ScoreTable) -> dict[str, Any]:
    found = EqualError.of(table)
    if found is None:
        share = len(table.tail) / table.n_impostor
        reason = f"the EER lies above {share:.3g}, the share of impostor comparisons kept"
        return interval_dict(Interval(value=None, reason=reason))
    errors = round(found.influence.value * len(table.genuine))
    limits = _limits(table, found.influence, errors=errors)
    return interval_dict(limits, threshold=found.threshold)


def _fnmr(table: ScoreTable, target: float, *, by_identity: bool) -> dict[str, Any]:
    expected = target * table.n_impostor
    reason = too_few_false_matches(target, table.n_impostor)
    if reason is not None:
        body = interval_dict(Interval(value=None, reason=reason), threshold=None)
        return body | {"n_false_matches_expected": expected}
    found = FnmrAtFmr(table, target, by_identity=by_identity)
    return interval_dict(
        _limits(table, found.influence, errors=found.n_false_non_matches),
        threshold=found.threshold,
        n_false_matches_expected=expected,
        n_false_matches=found.n_false_matches,
        n_false_non_matches=found.n_false_non_matches,
        fmr=found.n_false_matches / table.n_impostor,
    )
