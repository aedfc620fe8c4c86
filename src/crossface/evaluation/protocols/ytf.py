"""YouTube Faces: comparisons of videos, each pooled from its frames."""

from __future__ import annotations

import time

import numpy as np

from crossface.data.formats.video_folder import VideoFaces
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.pair_checks import pair_warnings
from crossface.evaluation.pair_scores import score_pairs
from crossface.evaluation.protocols.ijb import template_facts
from crossface.evaluation.protocols.pairs import pair_figures
from crossface.evaluation.report import Report, report_head, report_tail
from crossface.evaluation.templates import TemplateSet, pool_templates

FMR_TARGETS = (1e-1, 1e-2, 1e-3)


def evaluate_ytf(faces: EmbeddedFaces, data: VideoFaces, *, by_norm: bool = False) -> Report:
    """Accuracy over folds, AUC, EER and TAR at fixed FMRs of pairs of videos.

    A video is the mean of its frames' unit embeddings, of length one again; identities are the
    units of the intervals.

    Args:
        faces: the frames of ``data``, embedded.
        data: videos and their list of pairs.
        by_norm: weigh frames by the length of their raw embeddings.

    Raises:
        DataError: naming a video of the list that is not there.
    """
    start = time.perf_counter()
    pooled = pool_templates(faces, video_templates(data), by_norm=by_norm, by_detector=False)
    scored = score_pairs(pooled.faces, data.pairs, list_name=data.pairs.name)
    report = report_head(faces, "ytf", n_pairs=len(scored.scores), n_identities=scored.n_identities)
    report |= template_facts(pooled) | {
        "pair_list": data.pairs.name,
        "warnings": pair_warnings(data.pairs, pooled.faces),
    }
    report |= pair_figures(scored, fmr_targets=FMR_TARGETS)
    return report | report_tail(faces, time.perf_counter() - start)


def video_templates(data: VideoFaces) -> TemplateSet:
    """Every video as one template of one media."""
    return TemplateSet(
        keys=[data.key(index) for index in range(len(data))],
        templates=data.videos,
        media=np.zeros(len(data), dtype=np.int64),
        detector_scores=None,
        subjects={
            video: person
            for index, video in enumerate(data.videos)
            if (person := data.identity(index)) is not None
        },
    )
