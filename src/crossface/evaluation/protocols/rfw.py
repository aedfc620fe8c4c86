"""RFW: the pairs protocol in each group, and both errors of each at one common threshold."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from crossface.core.errors import DataError
from crossface.data.formats.rfw import RfwFaces
from crossface.evaluation import metrics
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.group_rates import rates_at_threshold
from crossface.evaluation.intervals import too_few_false_matches
from crossface.evaluation.pair_checks import pair_warnings
from crossface.evaluation.pair_scores import PairScores, score_pairs
from crossface.evaluation.protocols.pairs import pair_figures
from crossface.evaluation.report import Report, report_head, report_tail

FMR_TARGETS = (1e-2, 1e-3)


def evaluate_rfw(
    faces: EmbeddedFaces, data: RfwFaces, *, common_fmr_target: float = 1e-2
) -> Report:
    """Accuracy, AUC, EER and TAR per group, each with its own thresholds, as RFW is published.

    A deployed system has one threshold for everybody, which these figures hide; so FMR and FNMR
    of every group are given too at the threshold whose FMR over all groups' impostor pairs is
    ``common_fmr_target``.

    A group whose list cannot be measured (one person, no impostor pair) is a row with the reason.

    Args:
        faces: the pictures of ``data``, embedded.
        data: the lists of pairs.
        common_fmr_target: for the common threshold.

    Raises:
        DataError: if no group can be measured, or a list names a picture that is not there.
    """
    start = time.perf_counter()
    scored: dict[str, PairScores] = {}
    rows: dict[str, Any] = {}
    for group, pairs in data.pair_lists.items():
        missing = {pair.a for pair in pairs.pairs} | {pair.b for pair in pairs.pairs}
        missing -= set(faces.keys) | {failure.name for failure in faces.failures}
        if missing:
            raise DataError(f"{pairs.name}: {min(missing)!r} is not among the faces of RFW")
        try:
            scored[group] = score_pairs(faces, pairs, list_name=pairs.name)
        except DataError as error:
            rows[group] = {"reason": str(error)}
            continue
        rows[group] = {"n_identities": scored[group].n_identities}
        rows[group] |= pair_figures(scored[group], fmr_targets=FMR_TARGETS)
        rows[group]["warnings"] = pair_warnings(pairs, faces)
    if not scored:
        reasons = "; ".join(row["reason"] for row in rows.values())
        raise DataError(f"RFW: no group can be measured: {reasons}")
    report = report_head(
        faces,
        "rfw",
        n_pairs=sum(len(one.scores) for one in scored.values()),
        n_identities=sum(one.n_identities for one in scored.values()),
    )
    report |= {
        "warnings": [
            f"{group}: {text}" for group, row in rows.items() for text in row.pop("warnings", [])
        ],
        "groups": rows,
        "at_common_threshold": _at_common_threshold(scored, common_fmr_target),
    }
    return report | report_tail(faces, time.perf_counter() - start)


def _at_common_threshold(scored: dict[str, PairScores], target: float) -> dict[str, Any]:
    impostor = np.concatenate([one.scores[~one.same] for one in scored.values()])
    reason = too_few_false_matches(target, len(impostor))
    if reason is not None:
        return {"fmr_target": target, "threshold": None, "reason": reason}
    threshold = metrics.threshold_at_fmr(impostor, target)
    return {
        "fmr_target": target,
        "threshold": threshold,
        "fmr": metrics.fmr_at(impostor, threshold),
        "groups": {group: rates_at_threshold(one, threshold) for group, one in scored.items()},
    }
