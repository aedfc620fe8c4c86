"""Error against discard: FNMR at a fixed threshold as the pictures of lowest quality are left out.

The threshold is chosen once, on all impostor comparisons, and stays; in every replicate of an
interval it is chosen anew. A cut is a value of the quality, so an interval is that of the FNMR at
this cut; the share of pictures that it leaves out is the one seen in this set.

Paper: Grother and Tabassi, "Performance of biometric quality measures", PAMI 2007; Schlett et al.,
arXiv:2303.13294 (stated shares, area up to a share of 20 %).
Deviation: the area is the mean over 20 cuts, one in each per cent, so that it has an interval;
``evaluation.discard`` gives it over every step of the staircase.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.core.errors import UsageError
from crossface.core.vectors import cosine
from crossface.evaluation.discard import pair_quality
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.influence import FnmrAtFmr, Influence, combine, table_spread
from crossface.evaluation.intervals import (
    MIN_IDENTITIES,
    difference_interval,
    rate_interval,
    too_few_false_matches,
)
from crossface.evaluation.pair_checks import pair_warnings
from crossface.evaluation.pair_scores import PairListLike, score_pairs
from crossface.evaluation.quality import Quality, norm_quality
from crossface.evaluation.report import (
    Report,
    interval_dict,
    report_head,
    report_tail,
    target_name,
)
from crossface.evaluation.scores import ScoreTable, score_all_pairs
from crossface.evaluation.template_pairs import pair_table

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

FMR_TARGETS = (1e-2, 1e-3, 1e-4)
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
AREA_STEPS = 20  # of one per cent each


@dataclass(frozen=True, slots=True, eq=False)
class _Comparisons:
    """A table, the quality of each of its genuine comparisons, and that of each picture."""

    table: ScoreTable
    genuine: Float64Array
    pictures: Float64Array


def evaluate_discard(
    faces: EmbeddedFaces,
    pairs: PairListLike | None = None,
    *,
    list_name: str = "pair list",
    quality: Quality | None = None,
    fmr_targets: tuple[float, ...] = FMR_TARGETS,
    shares: Sequence[float] = SHARES,
) -> Report:
    """FNMR at fixed FMRs against the share of pictures left out for their quality.

    A comparison is as good as the worse of its two pictures. Pictures of equal quality are left
    out together, and a share is never exceeded. Pictures that could not be acquired have no
    quality: they are in ``fta`` and in no share.

    Args:
        faces: embedded faces, with identities unless there is a list.
        pairs: a list of comparisons; all pairs without one.
        list_name: what to call the list.
        quality: of each picture; the length of the raw embedding by default.
        fmr_targets: FMRs at which the threshold is set, where at least 30 false matches are
            expected.
        shares: of pictures to leave out, rising from 0, below 1.

    Returns:
        The report: ``discard[FMR] = {threshold, cuts: [{discarded, quality_at_least, n_images,
        n_genuine, n_false_non_matches, fnmr, change}], area, area_change}``; ``change`` is the
        FNMR minus that of all pictures, paired; ``area`` is the mean FNMR over shares up to 20 %,
        and its change is below 0 where the quality finds what goes wrong.

    Raises:
        UsageError: shares that cannot be meant. DataError: a picture without a quality, or a set
            without genuine or impostor comparisons.
    """
    start = time.perf_counter()
    if not shares or shares[0] != 0 or list(shares) != sorted(set(shares)) or shares[-1] >= 1:
        raise UsageError(f"expected shares that rise from 0 and stay below 1, got {list(shares)}")
    chosen = norm_quality(faces) if quality is None else quality
    values = chosen.of_pictures(faces)
    if pairs is None:
        found, lost = _all_pairs(faces, values), 0
    else:
        found, lost = _listed(faces, pairs, values, list_name)
    table = found.table
    report = report_head(
        faces,
        "discard",
        n_pairs=len(table.genuine) + table.n_impostor,
        n_identities=len(table.identities),
    )
    if pairs is not None:
        report |= {"pair_list": list_name, "warnings": pair_warnings(pairs, faces)}
    report |= {
        "quality": chosen.name,
        "n_genuine": len(table.genuine),
        "n_impostor": table.n_impostor,
        "n_pairs_lost": lost,
        "discard": {target_name(t): _at_target(found, t, shares) for t in fmr_targets},
    }
    return report | report_tail(faces, time.perf_counter() - start)


def cut_at(quality: Float64Array, share: float) -> float:
    """The quality from which pictures are kept, where no more than a share may be left out."""
    rising = np.sort(quality)
    return float(rising[int(share * len(rising) + 1e-9)])


def _all_pairs(faces: EmbeddedFaces, quality: Float64Array) -> _Comparisons:
    table = score_all_pairs(faces)
    identity = np.unique(np.array(faces.identities, dtype=str), return_inverse=True)[1]
    order = np.argsort(identity, kind="stable")
    first, second = [], []
    for rows in np.split(order, np.cumsum(table.sizes)[:-1]):
        i, j = np.triu_indices(len(rows), 1)
        first.append(rows[i])
        second.append(rows[j])
    return _joined(table, faces, identity, (np.concatenate(first), np.concatenate(second)), quality)


def _listed(
    faces: EmbeddedFaces, pairs: PairListLike, quality: Float64Array, list_name: str
) -> tuple[_Comparisons, int]:
    scored = score_pairs(faces, pairs, list_name=list_name)
    names = tuple(str(n) for n in range(int(max(scored.a.max(), scored.b.max())) + 1))
    table = pair_table(scored.scores, scored.a, scored.b, names)
    place = {key: row for row, key in enumerate(faces.keys)}
    kept = [(place[p.a], place[p.b]) for p in pairs.pairs if p.a in place and p.b in place]
    rows = np.array(kept, dtype=np.int64)
    taking_part = np.unique(rows)
    identity = np.zeros(len(faces.keys), dtype=np.int64)
    identity[rows[:, 0]], identity[rows[:, 1]] = scored.a, scored.b
    genuine = rows[scored.same]
    found = _joined(table, faces, identity, (genuine[:, 0], genuine[:, 1]), quality)
    return replace(found, pictures=quality[taking_part]), scored.n_lost


def _joined(
    table: ScoreTable,
    faces: EmbeddedFaces,
    identity: Int64Array,
    rows: tuple[Int64Array, Int64Array],
    quality: Float64Array,
) -> _Comparisons:
    """The table with its genuine comparisons in an order in which their pictures are known."""
    first, second = rows
    scores = cosine(faces.embeddings[first], faces.embeddings[second])
    order = np.argsort(scores, kind="stable")
    owner = identity[first][order].astype(np.int32)
    table = replace(table, genuine=scores[order], genuine_identity=owner)
    return _Comparisons(table, pair_quality(quality, first, second)[order], quality)


def _at_target(found: _Comparisons, target: float, shares: Sequence[float]) -> dict[str, Any]:
    reason = too_few_false_matches(target, found.table.n_impostor)
    if reason is not None:
        return {"threshold": None, "cuts": [], "area": _none(reason), "area_change": _none(reason)}
    fnmr = FnmrAtFmr(found.table, target)
    cuts = list(dict.fromkeys(cut_at(found.pictures, share) for share in shares))
    steps = [cut_at(found.pictures, place / 100) for place in range(AREA_STEPS)]
    if (found.genuine >= steps[-1]).any():
        parts = [(1 / AREA_STEPS, fnmr.weighted(_kept(found, cut))) for cut in steps]
        rate = _rate(found, combine(parts), found.genuine >= steps[-1])
        change = _change(found, [*parts, (-1.0, fnmr.influence)], found.genuine >= steps[-1])
        area = {"area": interval_dict(rate), "area_change": interval_dict(change)}
    else:
        gone = _none("no genuine comparison is left at a share of 20 %")
        area = {"area": gone, "area_change": gone}
    return {"threshold": fnmr.threshold, "cuts": [_cut(found, fnmr, c) for c in cuts]} | area


def _cut(found: _Comparisons, fnmr: FnmrAtFmr, cut: float) -> dict[str, Any]:
    kept = found.genuine >= cut
    n_images = int(np.sum(found.pictures >= cut))
    row: dict[str, Any] = {
        "discarded": 1 - n_images / len(found.pictures),
        "quality_at_least": cut,
        "n_images": n_images,
        "n_genuine": int(kept.sum()),
    }
    if not kept.any():
        gone = _none("no genuine comparison is left")
        return row | {"n_false_non_matches": 0, "fnmr": gone, "change": gone}
    influence = fnmr.weighted(_kept(found, cut))
    row["n_false_non_matches"] = int(kept[: fnmr.n_false_non_matches].sum())
    row["fnmr"] = interval_dict(_rate(found, influence, kept, errors=row["n_false_non_matches"]))
    change = _change(found, [(1.0, influence), (-1.0, fnmr.influence)], kept)
    return row | {"change": interval_dict(change)}


def _kept(found: _Comparisons, cut: float) -> Float64Array:
    return (found.genuine >= cut).astype(np.float64)


def _rate(
    found: _Comparisons, influence: Influence, kept: BoolArray, *, errors: int | None = None
) -> Interval:
    units = len(np.unique(found.table.genuine_identity[kept]))
    if units < MIN_IDENTITIES:
        return Interval(value=influence.value, reason=_few(units))
    error = table_spread(influence, found.table)
    rate = min(max(influence.value, 0.0), 1.0)  # a mean of ones may round to more than one
    trials = int(kept.sum())
    return rate_interval(
        rate, error.variance, df=error.df, trials=trials, units=units, errors=errors
    )


def _change(found: _Comparisons, parts: list[tuple[float, Influence]], kept: BoolArray) -> Interval:
    gap = combine(parts)
    units = len(np.unique(found.table.genuine_identity[kept]))
    if units < MIN_IDENTITIES:
        return Interval(value=gap.value, reason=_few(units))
    error = table_spread(gap, found.table)
    return difference_interval(gap.value, error.variance, df=error.df)


def _few(units: int) -> str:
    return (
        f"an interval needs {MIN_IDENTITIES} identities with genuine comparisons, there are {units}"
    )


def _none(reason: str) -> dict[str, Any]:
    return interval_dict(Interval(value=None, reason=reason))
