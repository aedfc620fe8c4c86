"""Identify: open-set search of a labelled set, some of its people enrolled."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.core.errors import DataError
from crossface.core.seeds import generator
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.identification import (
    SearchScores,
    fpir_at,
    search_gallery,
    threshold_at_fpir,
)
from crossface.evaluation.identification_bootstrap import (
    fnir_interval,
    rank_interval,
    too_few_false_positives,
)
from crossface.evaluation.report import (
    Report,
    interval_dict,
    report_head,
    report_tail,
    target_name,
)

Int64Array = npt.NDArray[np.int64]

FPIR_TARGETS = (1e-1, 1e-2, 1e-3)
RANKS = (1, 5, 10)


@dataclass(frozen=True, slots=True, eq=False)
class SearchSplit:
    """Which pictures are enrolled and which are searched for.

    Attributes:
        identity: (N,) int64 person of each picture, 0..G-1 in alphabetical order.
        gallery: (T,) positions of the enrolled pictures.
        probes: (P,) positions of the pictures searched for.
    """

    identity: Int64Array
    gallery: Int64Array
    probes: Int64Array


def evaluate_identification(
    faces: EmbeddedFaces,
    *,
    gallery_share: float = 0.5,
    templates_per_person: int = 1,
    fpir_targets: tuple[float, ...] = FPIR_TARGETS,
    ranks: tuple[int, ...] = RANKS,
    seed: int = 0,
) -> Report:
    """Rank-k, and FNIR at fixed FPIRs, of searches in a gallery made from the set.

    A seeded share of the identities is enrolled with the first pictures of each, by key; their
    other pictures are mated searches, all pictures of the other identities are non-mated ones.
    FNIR is given where at least 30 false positives are expected, its threshold is chosen on the
    non-mated searches, anew in every replicate of its interval. The gallery is held fixed.

    Args:
        faces: embedded faces with identities.
        gallery_share: of the identities that are enrolled, in (0, 1).
        templates_per_person: pictures enrolled of each; a person's similarity is the highest.
        fpir_targets: FPIRs at which FNIR is given.
        ranks: k of the rank-k rates.
        seed: of the choice of identities; the order of the pictures plays no part.

    Returns:
        The report; rates are {value, low, high, ...} or value None with the reason.

    Raises:
        DataError: without identities, or if no mated or no non-mated search is left.
        ValueError: if the share or the number of templates cannot be meant.
    """
    start = time.perf_counter()
    split = split_searches(
        faces, gallery_share=gallery_share, templates_per_person=templates_per_person, seed=seed
    )
    searches = search_gallery(
        faces.embeddings[split.gallery],
        split.identity[split.gallery],
        faces.embeddings[split.probes],
        split.identity[split.probes],
    )
    report = report_head(
        faces,
        "identify",
        n_pairs=len(split.gallery) * len(split.probes),
        n_identities=int(split.identity.max()) + 1,
    )
    report |= {
        "gallery_share": gallery_share,
        "templates_per_person": templates_per_person,
        "seed": seed,
        "n_enrolled": searches.n_enrolled,
        "n_templates": searches.n_templates,
        "n_mated_searches": len(searches.mate),
        "n_mated_identities": len(np.unique(searches.mated_identity)),
        "n_non_mated_searches": len(searches.best),
        "n_non_mated_identities": len(np.unique(searches.non_mated_identity)),
        "rank": {str(rank): rank_figure(searches, rank) for rank in ranks},
        "fnir_at_fpir": {target_name(t): fnir_figure(searches, t) for t in fpir_targets},
    }
    tail = report_tail(faces, time.perf_counter() - start)
    return report | tail | {"interval": "95 %, bootstrap of the identities searched for"}


def split_searches(
    faces: EmbeddedFaces, *, gallery_share: float, templates_per_person: int, seed: int
) -> SearchSplit:
    """Deal the pictures into gallery, mated and non-mated searches; see above.

    Raises:
        DataError: without identities, or if no mated or no non-mated search is left.
        ValueError: if the share or the number of templates cannot be meant.
    """
    if not 0 < gallery_share < 1 or templates_per_person < 1:
        raise ValueError(
            f"gallery_share must lie between 0 and 1 and templates_per_person be >= 1, "
            f"got {gallery_share} and {templates_per_person}"
        )
    labels = [label for label in faces.identities if label is not None]
    if len(labels) < len(faces.identities) or not labels:
        raise DataError(
            f"{faces.source_name}: identify needs an identity for every picture, "
            f"{len(faces.identities) - len(labels)} of {len(faces.identities)} have none"
        )
    names, identity = np.unique(labels, return_inverse=True)
    chosen = generator("identify", seed).permutation(len(names))
    enrolled = np.zeros(len(names), dtype=bool)
    enrolled[chosen[: round(gallery_share * len(names))]] = True
    in_gallery = enrolled[identity] & (_turn(faces.keys, identity) < templates_per_person)
    mated = enrolled[identity] & ~in_gallery
    non_mated = ~enrolled[identity]
    if not mated.any() or not non_mated.any():
        raise DataError(
            f"{faces.source_name}: identify needs mated and non-mated searches, got "
            f"{int(mated.sum())} and {int(non_mated.sum())} with {int(enrolled.sum())} of "
            f"{len(names)} identities enrolled with {templates_per_person} pictures each"
        )
    return SearchSplit(
        identity=identity.astype(np.int64),
        gallery=np.flatnonzero(in_gallery),
        probes=np.flatnonzero(~in_gallery),
    )


def _turn(keys: tuple[str, ...], identity: Int64Array) -> Int64Array:
    """(N,) which of its person's pictures each is, counted by key from 0."""
    order = np.lexsort((np.array(keys), identity))
    ranked = identity[order]
    turn = np.empty(len(keys), dtype=np.int64)
    turn[order] = np.arange(len(keys)) - np.searchsorted(ranked, ranked)
    return turn


def rank_figure(searches: SearchScores, rank: int) -> dict[str, Any]:
    """Rank-k with its interval, or the reason why there is none."""
    if rank >= searches.n_enrolled:
        reason = f"only {searches.n_enrolled} people are enrolled"
        return interval_dict(Interval(value=None, reason=reason))
    return interval_dict(rank_interval(searches, rank))


def fnir_figure(searches: SearchScores, target: float) -> dict[str, Any]:
    """FNIR at an FPIR with interval and threshold, or the reason why there is none."""
    expected = target * len(searches.best)
    reason = too_few_false_positives(target, len(searches.best))
    if reason is not None:
        body = interval_dict(Interval(value=None, reason=reason), threshold=None)
        return body | {"n_false_positives_expected": expected}
    threshold = threshold_at_fpir(searches, target)
    return interval_dict(
        fnir_interval(searches, target),
        threshold=threshold,
        n_false_positives_expected=expected,
        fpir=fpir_at(searches, threshold),
    )
