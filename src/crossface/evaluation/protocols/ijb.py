"""IJB-B and IJB-C, 1:1: comparisons of templates."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.data.formats.ijb import IjbFaces
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.protocols.all_pairs import table_figures
from crossface.evaluation.report import Report, report_head, report_tail
from crossface.evaluation.template_scores import ScoredTemplates, score_template_pairs
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
    """AUC, EER, FNMR and TAR at fixed FMRs over the published list of template pairs.

    The threshold of a target is the smallest whose measured FMR does not exceed it. InsightFace's
    scripts take the point of the ROC nearest to the target, which may lie on the wrong side, so
    theirs can be higher.

    Args:
        faces: the pictures of ``data``, embedded.
        data: the meta files.
        subset: "ijbb" or "ijbc", what ``data`` must be.
        by_norm: N1, weigh pictures by the length of their raw embeddings.
        by_detector: D1, weigh them by the detector's score.
        fmr_targets: FMRs at which rates are given where at least 30 false matches are expected.

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
    table = scored.table
    report = report_head(
        faces,
        f"{subset}-11",
        n_pairs=len(table.genuine) + table.n_impostor,
        n_identities=len(table.identities),
    )
    report |= template_facts(pooled) | {
        "n_pairs_lost": scored.n_lost,
        "units": _units(data),
        "warnings": _warnings(scored),
    }
    report |= table_figures(table, fmr_targets)
    report["tar_at_fmr"] = {name: _tar(entry) for name, entry in report["fnmr_at_fmr"].items()}
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


def _warnings(scored: ScoredTemplates) -> list[str]:
    if not scored.n_contradicted:
        return []
    return [
        f"{scored.n_contradicted} pairs are listed as impostor although both templates show one "
        "subject; they were left out"
    ]


def _tar(entry: Mapping[str, Any]) -> dict[str, Any]:
    """TAR = 1 - FNMR, as the field's tables print it."""
    flipped = dict(entry)
    if entry["value"] is not None:
        flipped["value"] = 1.0 - entry["value"]
    if entry["low"] is not None:
        flipped |= {"low": 1.0 - entry["high"], "high": 1.0 - entry["low"]}
    return flipped
