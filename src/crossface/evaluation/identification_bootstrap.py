"""Intervals of identification rates: identity bootstrap of the searches.

The gallery is held fixed, as FPIR and FNIR are rates of a gallery; the people who are searched
for are drawn anew, mated and non-mated ones apart. Where a rate stands at a target FPIR the
threshold is chosen anew in every replicate.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.evaluation.bootstrap import (
    REPLICATES,
    effective_number,
    few_identities,
    genuine_rate_interval,
    weight_blocks,
)
from crossface.evaluation.identification import (
    SearchScores,
    fnir_at_fpir,
    returned_mates,
)
from crossface.evaluation.intervals import MIN_FALSE_MATCHES, MIN_IDENTITIES, rate_interval

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def too_few_false_positives(target_fpir: float, n_non_mated: int) -> str | None:
    """Why no figure is given at this FPIR, or None where one is: at least 30 are expected."""
    expected = target_fpir * n_non_mated
    if expected >= MIN_FALSE_MATCHES * (1 - 1e-9):
        return None
    return (
        f"{expected:.3g} false positives are expected among {n_non_mated} non-mated searches, "
        f"at least {MIN_FALSE_MATCHES} are needed"
    )


def rank_interval(
    searches: SearchScores, rank: int, *, replicates: int = REPLICATES, seed: int = 0
) -> Interval:
    """Share of mated searches whose mate is within ``rank``, with its interval."""
    _, owner = np.unique(searches.mated_identity, return_inverse=True)
    hits = np.bincount(owner, weights=searches.rank <= rank)
    return genuine_rate_interval(hits, np.bincount(owner), replicates=replicates, seed=seed)


def fnir_interval(
    searches: SearchScores,
    target_fpir: float,
    *,
    max_rank: int | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Interval:
    """FNIR at a target FPIR with its interval; see ``identification.fnir_at_fpir``.

    Args:
        searches: the searches.
        target_fpir: in (0, 1).
        max_rank: L; all people by default.
        replicates: R.
        seed: of the draw.

    Returns:
        The rate; no limits, with the reason, below 10 mated or non-mated identities.
    """
    value = fnir_at_fpir(searches, target_fpir, max_rank=max_rank)
    mated = np.unique(searches.mated_identity, return_counts=True)[1]
    non_mated = np.unique(searches.non_mated_identity, return_counts=True)[1]
    units = min(len(mated), len(non_mated))
    if units < MIN_IDENTITIES:
        return Interval(value=value, reason=few_identities(units))
    values = fnir_replicates(
        searches, target_fpir, max_rank=max_rank, replicates=replicates, seed=seed
    )
    return rate_interval(
        value,
        float(values.var()) * (units + 1) / (units - 1),
        trials=len(searches.mate),
        units=len(mated),
        errors=round(min(value, 1.0 - value) * len(searches.mate)),
        df=min(effective_number(mated), effective_number(non_mated)) - 1,
    )


def fnir_replicates(
    searches: SearchScores,
    target_fpir: float,
    *,
    max_rank: int | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Float64Array:
    """(R,) FNIR of every replicate, at the threshold chosen on its non-mated searches."""
    best = _Weighted(-searches.best, searches.non_mated_identity)
    mate = _Weighted(returned_mates(searches, max_rank), searches.mated_identity)
    people = best.n_identities + mate.n_identities
    cells = len(best.scores) + len(mate.scores)
    parts = []
    for weights in weight_blocks(people, cells, replicates, seed=seed):
        accepted = best.cumulated(weights[:, : best.n_identities])
        allowed = target_fpir * (1 + 1e-12) * accepted[:, -1:]
        # the first search that would be one too many: the threshold lies just above it
        refused = -best.scores[np.sum(accepted <= allowed, axis=1)]
        missed = mate.cumulated(weights[:, best.n_identities :])
        count = np.searchsorted(mate.scores, refused, side="right")
        taken = np.take_along_axis(missed, np.maximum(count - 1, 0)[:, None], axis=1)[:, 0]
        parts.append(np.where(count > 0, taken, 0.0) / missed[:, -1])
    return np.concatenate(parts)


class _Weighted:
    """Scores in ascending order with the identities that weigh them."""

    def __init__(self, scores: npt.NDArray[np.floating], identity: Int64Array) -> None:
        order = np.argsort(scores, kind="stable")
        names, owner = np.unique(identity, return_inverse=True)
        self.scores = scores[order]
        self.n_identities = len(names)
        self._owner = owner[order]

    def cumulated(self, weights: Float64Array) -> Float64Array:
        """(R, n) weight of the scores up to each, from (R, G) weights of identities."""
        taken = np.take(weights, self._owner, axis=1)
        return np.cumsum(taken, axis=1, out=taken)
