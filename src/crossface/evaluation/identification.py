"""One-to-many search: rank, false negatives and false positives of identification.

A probe is searched in a gallery of enrolled people. The search is mated if its person is enrolled.
A person's similarity is the highest over the person's templates; a candidate is returned when
``similarity >= threshold``.

- FPIR (false positive identification rate): share of *non-mated* searches that return at least one
  candidate at or above the threshold.
- FNIR (false negative identification rate): share of *mated* searches whose mate is not returned,
  within rank L where one is given, at or above the threshold.

Source: ISO/IEC 19795-1 and the NIST reports on one-to-many search, which use the same terms. The
threshold of a target FPIR is set on the non-mated searches and never takes the nearest point on
the wrong side.

Of people equally similar to the probe the mate comes last, so that a tie never flatters: an
embedder that gives everybody the same vector has rank-1 zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.types import FloatArray
from crossface.evaluation.metrics import threshold_above, threshold_at_fmr

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

_BLOCK_CELLS = 16_000_000


@dataclass(frozen=True, slots=True, eq=False)
class SearchScores:
    """What identification rates need of P searches in a gallery.

    Attributes:
        mate: (M,) float32 similarity of each mated search to its own person.
        rank: (M,) int64 from 1: people at least as similar as the mate, the mate included.
        mated_identity: (M,) int64 person of each mated search.
        best: (Q,) float32 highest similarity of each non-mated search to anybody enrolled.
        non_mated_identity: (Q,) int64 person of each non-mated search.
        false_candidates: (K,) float32 descending: the M highest similarities of mated searches
            to people who are not the mate, or all of them where there are fewer.
        n_enrolled: people in the gallery.
        n_templates: templates in the gallery.
    """

    mate: FloatArray
    rank: Int64Array
    mated_identity: Int64Array
    best: FloatArray
    non_mated_identity: Int64Array
    false_candidates: FloatArray
    n_enrolled: int
    n_templates: int


def search_gallery(
    gallery: FloatArray,
    gallery_identity: Int64Array,
    probes: FloatArray,
    probe_identity: Int64Array,
) -> SearchScores:
    """Search every probe in a gallery by blocked matrix products.

    Args:
        gallery: (T, D) unit templates.
        gallery_identity: (T,) person of each; a person may have several.
        probes: (P, D) unit vectors.
        probe_identity: (P,) person of each; mated where the person is in the gallery.

    Raises:
        DataError: if gallery or probes are empty.
    """
    return collect_searches(_products(gallery, probes), gallery_identity, probe_identity)


def collect_searches(
    blocks: Iterable[FloatArray], gallery_identity: Int64Array, probe_identity: Int64Array
) -> SearchScores:
    """Search scores from blocks of similarities.

    Args:
        blocks: (b, T) similarities of consecutive probes, P rows in all.
        gallery_identity: (T,) person of each template.
        probe_identity: (P,) person of each probe.

    Raises:
        DataError: if gallery or probes are empty, or the blocks have another number of rows.
    """
    if not len(gallery_identity) or not len(probe_identity):
        raise DataError(
            f"identification needs templates and probes, "
            f"got {len(gallery_identity)} and {len(probe_identity)}"
        )
    order = np.argsort(gallery_identity, kind="stable")
    people, first = np.unique(gallery_identity[order], return_index=True)
    place = np.searchsorted(people, probe_identity)
    mated = people[np.minimum(place, len(people) - 1)] == probe_identity
    collected = _Collected(int(mated.sum()))
    start = 0
    for block in blocks:
        rows = slice(start, start + len(block))
        scores = _by_person(block, order, first)
        collected.add(scores, place[rows], mated[rows])
        start += len(block)
    if start != len(probe_identity):
        raise DataError(f"expected similarities of {len(probe_identity)} probes, got {start}")
    return SearchScores(
        mate=np.concatenate(collected.mate),
        rank=np.concatenate(collected.rank),
        mated_identity=probe_identity[mated].astype(np.int64),
        best=np.concatenate(collected.best),
        non_mated_identity=probe_identity[~mated].astype(np.int64),
        false_candidates=np.sort(collected.false_candidates)[::-1],
        n_enrolled=len(people),
        n_templates=len(order),
    )


def cmc(searches: SearchScores, max_rank: int) -> Float64Array:
    """Cumulative match characteristic: (max_rank,) share of mated searches within rank 1, 2, ..."""
    counts = np.bincount(np.minimum(searches.rank, max_rank + 1), minlength=max_rank + 2)
    return np.cumsum(counts[1 : max_rank + 1]) / _mated(searches)


def rank_rate(searches: SearchScores, rank: int) -> float:
    """Share of mated searches whose mate is among the ``rank`` most similar people."""
    return float(np.sum(searches.rank <= rank) / _mated(searches))


def fpir_at(searches: SearchScores, threshold: float) -> float:
    """Share of non-mated searches with a candidate at or above the threshold."""
    return float(np.sum(searches.best >= threshold) / _non_mated(searches))


def fnir_at(searches: SearchScores, threshold: float, *, max_rank: int | None = None) -> float:
    """Share of mated searches whose mate is not returned at or above the threshold.

    Args:
        searches: the searches.
        threshold: similarity.
        max_rank: L, how many people a search returns at most; all of them by default.
    """
    missed = returned_mates(searches, max_rank) < threshold
    return float(np.sum(missed) / _mated(searches))


def returned_mates(searches: SearchScores, max_rank: int | None) -> FloatArray:
    """(M,) similarity of the mate, -inf where it lies beyond rank L."""
    if max_rank is None:
        return searches.mate
    beyond = np.float32(-np.inf)
    return np.where(searches.rank <= max_rank, searches.mate, beyond).astype(np.float32)


def threshold_at_fpir(searches: SearchScores, target_fpir: float) -> float:
    """The smallest threshold whose FPIR, on the non-mated searches, does not exceed the target.

    Args:
        searches: the searches.
        target_fpir: in (0, 1).
    """
    _non_mated(searches)
    return threshold_at_fmr(searches.best, target_fpir)


def fnir_at_fpir(
    searches: SearchScores, target_fpir: float, *, max_rank: int | None = None
) -> float:
    """FNIR at the threshold of ``threshold_at_fpir``: the standard's open-set figure.

    Example: two mated searches with mates at 0.9 and 0.6, whose highest wrong candidates are 0.1
    and 0.7, and two non-mated searches with best candidates 0.5 and 0.2. At FPIR 1/2 the threshold
    lies just above 0.2 and FNIR is 0. ``fnir_at_false_candidates`` at 1/2 sets it just above 0.7
    and reads 1/2 from the same searches.
    """
    return fnir_at(searches, threshold_at_fpir(searches, target_fpir), max_rank=max_rank)


def threshold_at_false_candidates(searches: SearchScores, per_search: float) -> float:
    """The threshold from all impostor similarities of the mated searches; not the standard's.

    It lies just above the k-th highest similarity of a mated search to somebody else,
    k = ceil(per_search x mated searches). Non-mated searches play no part, and one search may
    count many times.

    Source: ``ijb_1n.py`` of insightface, whose FAR this is. What is in dispute: insightface pull
    requests 1386, 1387 and 1739, AdaFace issue 169.

    Args:
        searches: the searches.
        per_search: false candidates per mated search, in (0, 1].
    """
    if not 0 < per_search <= 1:
        raise ValueError(f"false candidates per search must lie in (0, 1], got {per_search}")
    place = math.ceil(per_search * _mated(searches) * (1 - 1e-12))
    if place > len(searches.false_candidates):
        return float("-inf")
    return threshold_above(searches.false_candidates[place - 1])


def fnir_at_false_candidates(searches: SearchScores, per_search: float) -> float:
    """FNIR at the threshold of ``threshold_at_false_candidates``; see ``fnir_at_fpir``."""
    return fnir_at(searches, threshold_at_false_candidates(searches, per_search))


class _Collected:
    """Gathers, block by block, what is kept of the searches."""

    def __init__(self, n_mated: int) -> None:
        none = np.empty(0, dtype=np.float32)
        self.mate: list[FloatArray] = [none]
        self.rank: list[Int64Array] = [np.empty(0, dtype=np.int64)]
        self.best: list[FloatArray] = [none]
        self.false_candidates = none
        self._wanted = n_mated

    def add(self, scores: FloatArray, place: Int64Array, mated: npt.NDArray[np.bool_]) -> None:
        """Take (b, N) similarities to people, the mate's column and whether there is one."""
        if not mated.all():
            self.best.append(scores[~mated].max(axis=1))
        if not mated.any():
            return
        own, rows = scores[mated], np.arange(int(mated.sum()))
        mate = own[rows, place[mated]]
        self.mate.append(mate)
        self.rank.append(np.sum(own >= mate[:, None], axis=1))
        own[rows, place[mated]] = -np.inf
        self._keep_highest(own)

    def _keep_highest(self, others: FloatArray) -> None:
        kept = self.false_candidates
        full = len(kept) == self._wanted
        bound = kept.min() if full else np.float32(-np.inf)
        joined = np.concatenate([kept, others[others > bound]])
        if len(joined) > self._wanted:
            joined = np.partition(joined, len(joined) - self._wanted)[-self._wanted :]
        self.false_candidates = joined


def _products(gallery: FloatArray, probes: FloatArray) -> Iterator[FloatArray]:
    rows = max(1, _BLOCK_CELLS // max(len(gallery), 1))
    for start in range(0, len(probes), rows):
        yield probes[start : start + rows] @ gallery.T


def _by_person(block: FloatArray, order: Int64Array, first: Int64Array) -> FloatArray:
    """(b, N) highest similarity to each person, people in ascending order."""
    ranked = block[:, order]
    if len(first) == len(order):
        return ranked
    return np.maximum.reduceat(ranked, first, axis=1)


def _mated(searches: SearchScores) -> int:
    if not len(searches.mate):
        raise ValueError("there is no mated search: no probe's person is enrolled")
    return len(searches.mate)


def _non_mated(searches: SearchScores) -> int:
    if not len(searches.best):
        raise ValueError("there is no non-mated search: every probe's person is enrolled")
    return len(searches.best)
