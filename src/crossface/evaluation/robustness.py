"""Robustness ladders: how the errors grow while pictures get worse.

The second picture of every pair is made worse, the first stays as it is: an enrolment taken with
care and a probe that was not. Two questions are answered at each level. What happens to a system
that keeps its threshold: FNMR and FMR at the threshold of the clean pairs. What could be reached by
choosing it anew: accuracy and TAR at a fixed FMR. In every replicate of an interval the thresholds
are chosen anew, the clean one too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.core.errors import DataError, UsageError
from crossface.core.protocols import Embedder, FaceSource
from crossface.core.vectors import cosine
from crossface.data.build_pairs import build_pairs
from crossface.data.dataset import Subset
from crossface.data.ladders import KINDS, LadderedFaces, kind_named
from crossface.evaluation import metrics
from crossface.evaluation.embed import EmbeddedFaces, embed_faces
from crossface.evaluation.group_rates import rate_limits
from crossface.evaluation.intervals import (
    difference_interval,
    group_jackknife,
    too_few_false_matches,
)
from crossface.evaluation.pair_checks import pair_warnings
from crossface.evaluation.pair_scores import PairListLike, PairScores, score_pairs
from crossface.evaluation.report import Report, interval_dict, report_head, report_tail

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

FMR_TARGET = 1e-2
_NAMES = ("fnmr_at_clean_threshold", "fmr_at_clean_threshold", "tar_at_fmr", "accuracy")


@dataclass(frozen=True, slots=True, eq=False)
class _Rung:
    """The comparisons of one level: scores with the clean and with the degraded second picture."""

    clean: PairScores
    scores: npt.NDArray[np.float32]
    n_lost: int


def evaluate_robustness(
    embedder: Embedder,
    source: FaceSource,
    *,
    pairs: PairListLike | None = None,
    list_name: str = "pair list",
    kinds: Sequence[str] = tuple(KINDS),
    levels: Mapping[str, Sequence[float]] | None = None,
    fmr_target: float = FMR_TARGET,
    flip: bool = True,
    seed: int = 0,
    progress: bool = True,
) -> Report:
    """Error rates of a pair list on ladders of degradations, with intervals.

    Args:
        embedder: any embedder.
        source: aligned crops.
        pairs: the list; without one, 10 folds of 300 + 300 pairs (or as many as the set can give)
            are made from a labelled source.
        list_name: what to call the list.
        kinds: names of ``data.ladders.KINDS``.
        levels: by kind, in place of the usual ones.
        fmr_target: FMR of the clean threshold, and of the TAR.
        flip: add the mirror image's embedding.
        seed: of what is drawn per picture, and of the list made here.
        progress: show progress on stderr.

    Returns:
        The report: ``ladders[kind] = {unit, levels: [{level, n_pairs, n_pairs_lost,
        fnmr_at_clean_threshold, fmr_at_clean_threshold, tar_at_fmr, accuracy, fnmr_change}]}``.

    Raises:
        UsageError: naming a kind or level that cannot be meant.
        DataError: if too few impostor pairs are there for the target, or the list does not fit.
    """
    start = time.perf_counter()
    chosen = {kind: tuple((levels or {}).get(kind, kind_named(kind).levels)) for kind in kinds}
    for kind, steps in chosen.items():
        for level in steps:
            kind_named(kind, level)
    if not chosen:
        raise UsageError(f"expected at least one ladder of {', '.join(KINDS)}")
    if pairs is None:
        pairs, list_name = own_pairs(source, seed)
    reason = too_few_false_matches(fmr_target, sum(not pair.same for pair in pairs.pairs))
    if reason is not None:
        raise DataError(f"{list_name}: no threshold at FMR {fmr_target:g} can be chosen: {reason}")
    faces = embed_faces(embedder, source, flip=flip, progress=progress)
    clean = score_pairs(faces, pairs, list_name=list_name)
    base = _figures(_Rung(clean, clean.scores, 0), fmr_target)
    base.pop("fnmr_change")
    impostor = clean.scores[~clean.same]
    report = report_head(
        faces, "robustness", n_pairs=len(clean.scores), n_identities=clean.n_identities
    )
    report |= {
        "pair_list": list_name,
        "warnings": pair_warnings(pairs, faces),
        "n_pairs_lost": clean.n_lost,
        "fmr_target": fmr_target,
        "clean_threshold": metrics.threshold_at_fmr(impostor, fmr_target),
        "degraded": "the second picture of each pair",
        "clean": base,
        "ladders": {
            kind: {
                "unit": KINDS[kind].unit,
                "levels": [
                    {"level": level}
                    | _level(embedder, source, faces, pairs, (kind, level, seed), fmr_target)
                    for level in steps
                ],
            }
            for kind, steps in chosen.items()
        },
    }
    return report | report_tail(faces, time.perf_counter() - start)


def own_pairs(source: FaceSource, seed: int) -> tuple[PairListLike, str]:
    """A list made from a labelled set: LFW's size where the set can give it, else less.

    Raises:
        DataError: if the set cannot give ten folds of ten pairs.
    """
    for per_fold in (300, 100, 30):
        try:
            made = build_pairs(source, pairs_per_fold=per_fold, seed=seed)
        except DataError:
            continue
        return made, f"10 x {per_fold} + {per_fold} pairs of {source.name}, seed {seed}"
    made = build_pairs(source, pairs_per_fold=10, seed=seed)
    return made, f"10 x 10 + 10 pairs of {source.name}, seed {seed}"


def _level(
    embedder: Embedder,
    source: FaceSource,
    faces: EmbeddedFaces,
    pairs: PairListLike,
    rung: tuple[str, float, int],
    fmr_target: float,
) -> dict[str, Any]:
    kind, level, seed = rung
    probes = {pair.b for pair in pairs.pairs}
    places = [index for index in range(len(source)) if source.key(index) in probes]
    degraded = LadderedFaces(Subset(source, places), kind, level, seed=seed)
    worse = embed_faces(embedder, degraded, flip=faces.flip)
    return _figures(_compare(faces, worse, pairs), fmr_target)


def _compare(faces: EmbeddedFaces, worse: EmbeddedFaces, pairs: PairListLike) -> _Rung:
    """The pairs whose pictures were acquired, the second one in both states."""
    first = {key: index for index, key in enumerate(faces.keys)}
    second = {key: index for index, key in enumerate(worse.keys)}
    kept = [p for p in pairs.pairs if p.a in first and p.b in first and p.b in second]
    clean = score_pairs(faces, _Pairs(kept), list_name="the pairs of one level")
    a = np.array([first[pair.a] for pair in kept])
    b = np.array([second[pair.b] for pair in kept])
    scores = cosine(faces.embeddings[a], worse.embeddings[b])
    return _Rung(clean, scores, len(pairs.pairs) - len(kept))


@dataclass(frozen=True, slots=True)
class _Pairs:
    pairs: Sequence[Any]


def _figures(rung: _Rung, fmr_target: float) -> dict[str, Any]:
    pairs = rung.clean

    def statistic(mask: BoolArray) -> Float64Array:
        return _statistics(rung, mask, fmr_target)

    values = statistic(np.ones(len(pairs.same), dtype=bool))
    variances = group_jackknife(statistic, pairs.a, pairs.b)
    kinds = (pairs.same, ~pairs.same, pairs.same, np.ones_like(pairs.same))
    row: dict[str, Any] = {"n_pairs": len(pairs.same), "n_pairs_lost": rung.n_lost}
    for name, value, variance, kind in zip(_NAMES, values, variances, kinds, strict=False):
        trials = int(np.sum(kind))
        errors = 0 if np.isnan(value) else round(min(value, 1 - value) * trials)
        limits = rate_limits(
            float(value), float(variance), trials=trials, units=pairs.n_identities, errors=errors
        )
        row[name] = interval_dict(limits)
    row["fnmr_change"] = interval_dict(_change(float(values[-1]), float(variances[-1])))
    return row


def _change(value: float, variance: float) -> Interval:
    if np.isnan(variance):
        return Interval(value=value, reason="a replicate leaves the rate undefined")
    return difference_interval(value, variance)


def _statistics(rung: _Rung, mask: BoolArray, fmr_target: float) -> Float64Array:
    """FNMR and FMR at the clean threshold, TAR at the target, accuracy, change of the FNMR."""
    pairs, values = rung.clean, np.full(5, np.nan)
    same, clean, worse = pairs.same[mask], pairs.scores[mask], rung.scores[mask]
    if not same.any() or same.all():
        return values
    threshold = metrics.threshold_at_fmr(clean[~same], fmr_target)
    values[0] = metrics.fnmr_at(worse[same], threshold)
    values[1] = metrics.fmr_at(worse[~same], threshold)
    values[2] = metrics.tar_at_fmr(worse[same], worse[~same], fmr_target)
    folds = pairs.folds[mask]
    if len(np.unique(folds)) > 1:
        values[3] = metrics.kfold_accuracy(worse, same, folds).value
    values[4] = values[0] - metrics.fnmr_at(clean[same], threshold)
    return values


def robustness_table(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows for people: ladder, level, and the three rates with their intervals."""
    head = ("ladder", "level", "FNMR, clean threshold", "FMR, clean threshold",
            f"TAR at FMR {report['fmr_target']:g}")  # fmt: skip
    rows: list[tuple[str, ...]] = [head, ("none", "clean", *_cells(report["clean"]))]
    for kind, ladder in report["ladders"].items():
        for level in ladder["levels"]:
            rows.append((kind, f"{level['level']:g}", *_cells(level)))
    return rows


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_cell(row[name]) for name in _NAMES[:3])


def _cell(entry: Mapping[str, Any]) -> str:
    if entry["value"] is None:
        return "-"
    if entry["low"] is None:
        return f"{100 * entry['value']:.2f} %"
    return f"{100 * entry['value']:.2f} % ({100 * entry['low']:.2f} .. {100 * entry['high']:.2f})"
