"""IJB-B and IJB-C, 1:N: mixed probes searched in two galleries of templates, open set."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.data.formats.ijb import IjbFaces, Subjects
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.identification import (
    SearchScores,
    fnir_at_false_candidates,
    search_gallery,
)
from crossface.evaluation.protocols.identification import (
    FPIR_TARGETS,
    RANKS,
    fnir_figure,
    rank_figure,
)
from crossface.evaluation.protocols.ijb import ijb_templates, template_facts, template_rows
from crossface.evaluation.report import (
    Report,
    report_head,
    report_tail,
    target_name,
)
from crossface.evaluation.templates import PooledTemplates, pool_templates

Int64Array = npt.NDArray[np.int64]


def evaluate_ijb_1n(
    faces: EmbeddedFaces,
    data: IjbFaces,
    *,
    by_norm: bool = True,
    by_detector: bool = True,
    fpir_targets: tuple[float, ...] = FPIR_TARGETS,
) -> Report:
    """Rank-k, and FNIR at fixed FPIRs, of the mixed probes in each published gallery.

    Each gallery holds half of the subjects; probes of the other half are its non-mated searches.
    The threshold of a target is set on these, as ISO/IEC 19795-1 says. InsightFace's script sets
    it on the wrong candidates of mated searches instead; that figure is given under its own name,
    ``fnir_at_false_candidates``, without interval, for comparison with published tables.

    Args:
        faces: the pictures of ``data``, embedded.
        data: the meta files with the 1:N lists.
        by_norm: N1, weigh pictures by the length of their raw embeddings.
        by_detector: D1, weigh them by the detector's score.
        fpir_targets: FPIRs at which FNIR is given.

    Raises:
        DataError: if a list does not fit, or a gallery has no mated or no non-mated search.
    """
    start = time.perf_counter()
    pooled = pool_templates(faces, ijb_templates(data), by_norm=by_norm, by_detector=by_detector)
    probes = data.probes()
    galleries: dict[str, Any] = {}
    n_searches = 0
    for name, gallery in data.galleries().items():
        searches, lost = _search(pooled, gallery, probes, name)
        galleries[name] = _figures(searches, fpir_targets) | lost
        n_searches += len(searches.mate) + len(searches.best)
    report = report_head(
        faces,
        "ijb-1n",
        n_pairs=n_searches,
        n_identities=len(np.unique(probes.subjects)),
    )
    report |= template_facts(pooled) | {"subset": data.subset, "galleries": galleries}
    tail = report_tail(faces, time.perf_counter() - start)
    return report | tail | {"interval": "95 %, bootstrap of the subjects searched for"}


def _search(
    pooled: PooledTemplates, gallery: Subjects, probes: Subjects, name: str
) -> tuple[SearchScores, dict[str, int | float]]:
    """Searches of every acquired probe; a probe without an embedding is counted, not searched.

    ``fte`` is the failure-to-enrol rate: gallery templates without an embedding among all.
    """
    enrolled = template_rows(pooled, gallery.templates)
    searched = template_rows(pooled, probes.templates)
    in_gallery, found = enrolled >= 0, searched >= 0
    searches = search_gallery(
        pooled.faces.embeddings[enrolled[in_gallery]],
        gallery.subjects[in_gallery],
        pooled.faces.embeddings[searched[found]],
        probes.subjects[found],
    )
    if not len(searches.mate) or not len(searches.best):
        raise DataError(
            f"gallery {name}: expected mated and non-mated searches, got {len(searches.mate)} and "
            f"{len(searches.best)}"
        )
    return searches, {
        "n_gallery_templates_lost": int(np.sum(~in_gallery)),
        "fte": float(np.mean(~in_gallery)),
        "n_probes_lost": int(np.sum(~found)),
    }


def _figures(searches: SearchScores, fpir_targets: tuple[float, ...]) -> dict[str, Any]:
    return {
        "n_enrolled": searches.n_enrolled,
        "n_mated_searches": len(searches.mate),
        "n_non_mated_searches": len(searches.best),
        "rank": {str(rank): rank_figure(searches, rank) for rank in RANKS},
        "fnir_at_fpir": {target_name(t): fnir_figure(searches, t) for t in fpir_targets},
        "fnir_at_false_candidates": {
            target_name(t): fnir_at_false_candidates(searches, t) for t in fpir_targets
        },
    }
