"""What a pipeline reaches within a time: pictures in time, and the accuracy with the late ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.exact import clopper_pearson
from crossface.evaluation.pair_scores import PairListLike, score_pairs
from crossface.evaluation.protocols.pairs import pair_figures
from crossface.evaluation.report import interval_dict

NEVER = np.float32(-1.0)
"""Similarity of a comparison that could not be made in time: no threshold accepts it."""


class Timed(Protocol):
    """Times of every picture (``audit.fruits.Passes``)."""

    @property
    def seconds(self) -> npt.NDArray[np.float64]:
        """(passes, pictures, stages), the first stage is decoding."""
        ...

    @property
    def reasons(self) -> Sequence[str | None]:
        """Why a picture has no embedding, None where it has."""
        ...


def budget_figures(
    faces: EmbeddedFaces,
    pairs: PairListLike | None,
    taken: Timed,
    *,
    budgets_ms: Sequence[float],
) -> dict[str, dict[str, Any]]:
    """A row for every budget, with decoding outside and inside the time.

    A picture is in time if the median of its passes is. A pair with a picture that is late or has
    no embedding is compared as different: a genuine one is an error. Thresholds are chosen
    on the other folds, late pictures among them.

    Args:
        faces: all pictures in the order of the times; those without an embedding are zero rows.
        pairs: over these pictures, or None.
        taken: the times.
        budgets_ms: milliseconds a picture may take.

    Returns:
        {"100 ms, decode excluded": {in_time, n_pairs, n_pairs_lost, accuracy, ...}, ...}.
    """
    lost = np.array([reason is not None for reason in taken.reasons])
    rows: dict[str, dict[str, Any]] = {}
    for budget in budgets_ms:
        for words, first in (("decode excluded", 1), ("decode included", 0)):
            spent = np.median(taken.seconds[..., first:].sum(axis=2), axis=0)
            in_time = 1000 * spent <= budget
            row: dict[str, Any] = {"in_time": interval_dict(_share(in_time))}
            if pairs is not None:
                row |= _accuracy(faces, pairs, lost | ~in_time)
            rows[f"{budget:g} ms, {words}"] = row
    return rows


def _share(inside: npt.NDArray[np.bool_]) -> Interval:
    count, total = int(inside.sum()), len(inside)
    low, high = clopper_pearson(count, total)
    return Interval(value=count / total, low=low, high=high)


def _accuracy(
    faces: EmbeddedFaces, pairs: PairListLike, absent: npt.NDArray[np.bool_]
) -> dict[str, Any]:
    every = replace(faces, failures=())  # all take part; what is absent is never accepted
    scored = score_pairs(every, pairs, list_name="pair list")
    gone = dict(zip(faces.keys, absent.tolist(), strict=True))
    never = np.array([gone[pair.a] or gone[pair.b] for pair in pairs.pairs])
    scored = replace(scored, scores=np.where(never, NEVER, scored.scores))
    found = pair_figures(scored)
    return {
        "n_pairs": len(never),
        "n_pairs_lost": int(never.sum()),
        "accuracy": {key: v for key, v in found["accuracy"].items() if key != "by_fold"},
        "eer": found["eer"],
        **{
            f"tar_at_fmr_{key}": entry
            for key, entry in found["tar_at_fmr"].items()
            if entry["value"] is not None
        },
    }
