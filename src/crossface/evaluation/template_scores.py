"""Long lists of template comparisons: error rates from the upper tail, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.vectors import cosine
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.metrics import false_matches_allowed
from crossface.evaluation.pair_scores import PairScores, people_of

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_BLOCK = 65_536
_TAIL_SHARE = 0.2  # what is kept of the impostor scores: enough for any useful EER
_KEEP_ALL = 100_000


def score_template_pairs(
    templates: EmbeddedFaces, first: Int64Array, second: Int64Array, same: BoolArray
) -> PairScores:
    """Similarity of every pair of templates.

    A template's person is its identity where known; templates of a genuine pair are one person in
    any case, and a template of which nothing is known stands for a person of its own.

    Args:
        templates: pooled templates.
        first: (N,) row of the first template of each pair, -1 where it was not acquired; such a
            pair is left out and counted.
        second: (N,) row of the second.
        same: (N,) whether the pair is genuine.

    Raises:
        DataError: if no genuine or no impostor pair is left.
    """
    kept = (first >= 0) & (second >= 0)
    n_lost = int((~kept).sum())
    first, second, same = first[kept], second[kept], same[kept]
    if not same.any() or same.all():
        raise DataError(
            f"{templates.source_name}: expected genuine and impostor pairs of templates, "
            f"got {int(same.sum())} and {int((~same).sum())} with both templates acquired"
        )
    scores = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), _BLOCK):
        part = slice(start, start + _BLOCK)
        scores[part] = cosine(templates.embeddings[first[part]], templates.embeddings[second[part]])
    person = people_of(templates.identities, first[same], second[same])
    taking_part = np.union1d(person[first], person[second])
    return PairScores(
        scores=scores,
        same=same,
        folds=np.zeros(len(scores), dtype=np.int64),
        a=np.searchsorted(taking_part, person[first]),
        b=np.searchsorted(taking_part, person[second]),
        n_lost=n_lost,
    )


class TailStatistics:
    """EER and TAR at each target FMR of a long pair list, over any part of its comparisons.

    Only the highest fifth of the impostor scores is sorted, once; a replicate then costs one pass
    over the mask. Called with an (N,) mask it gives (1 + T,) values; NaN where one is undefined
    or lies beyond the tail.

    Args:
        pairs: the comparisons.
        fmr_targets: FMRs for the TAR, each below the share that is kept.
    """

    def __init__(self, pairs: PairScores, fmr_targets: Sequence[float]) -> None:
        impostor = np.flatnonzero(~pairs.same)
        scores = pairs.scores[impostor]
        keep = len(scores)
        if keep > _KEEP_ALL:
            keep = max(int(_TAIL_SHARE * keep), _KEEP_ALL)
            highest = np.argpartition(-scores, keep - 1)[:keep]
            impostor, scores = impostor[highest], scores[highest]
        order = np.argsort(-scores, kind="stable")
        self._tail, self._tail_scores = impostor[order], scores[order]
        genuine = np.flatnonzero(pairs.same)
        rising = np.argsort(pairs.scores[genuine], kind="stable")
        self._genuine = genuine[rising]
        self._genuine_scores = pairs.scores[self._genuine]
        self._impostor = ~pairs.same
        self._targets = tuple(fmr_targets)

    def __call__(self, mask: BoolArray) -> Float64Array:
        """The statistics over the comparisons of a mask."""
        values = np.full(1 + len(self._targets), np.nan)
        tail = self._tail_scores[mask[self._tail]]
        genuine = self._genuine_scores[mask[self._genuine]]
        total = int(np.count_nonzero(mask & self._impostor))
        if not len(genuine) or not total:
            return values
        values[0] = self._equal_error(genuine, tail, total)
        for place, target in enumerate(self._targets, start=1):
            allowed = false_matches_allowed(target, total)
            if allowed < len(tail):
                missed = np.searchsorted(genuine, tail[allowed], side="right")
                values[place] = 1.0 - missed / len(genuine)
        return values

    def of_all(self) -> Float64Array:
        """Over all comparisons."""
        return self(np.ones(len(self._impostor), dtype=bool))

    def threshold(self, target_fmr: float) -> tuple[float, float]:
        """The threshold of a target FMR over all comparisons, and the FMR measured at it."""
        total = int(np.count_nonzero(self._impostor))
        score = self._tail_scores[false_matches_allowed(target_fmr, total)]
        above = np.nextafter(score, np.float32(np.inf))
        accepted = int(np.count_nonzero(self._tail_scores >= above))
        return float(above), accepted / total

    @staticmethod
    def _equal_error(
        genuine: npt.NDArray[np.float32], tail: npt.NDArray[np.float32], total: int
    ) -> float:
        """The crossing of the rates, read along the genuine scores, where the FNMR steps."""
        fmr = np.searchsorted(-tail, -genuine, side="right") / total  # tail scores >= each
        fnmr = np.searchsorted(genuine, genuine, side="left") / len(genuine)
        crossed = np.flatnonzero(fnmr >= fmr)
        after = int(crossed[0]) if len(crossed) else len(genuine)
        lowest = genuine[min(after, len(genuine) - 1)]
        if len(tail) < total and (not len(tail) or lowest < tail[-1]):
            return float("nan")
        if after == 0:
            return float(fmr[0])
        return float(min(fmr[after - 1], fnmr[after] if after < len(genuine) else 1.0))
