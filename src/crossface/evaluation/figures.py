"""What a report's charts need, as JSON values: DET with its band, histograms, the worst pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crossface.core.seeds import generator
from crossface.core.vectors import cosine
from crossface.evaluation.curves import det_band
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.pair_scores import PairListLike, score_pairs
from crossface.evaluation.scores import ScoreTable, score_all_pairs
from crossface.evaluation.template_pairs import pair_table

Int64Array = npt.NDArray[np.int64]
Scores = npt.NDArray[np.floating]

_POINTS = 14
_BINS = 60
_SAMPLE = 200_000
_SHOWN = 12
_CANDIDATES = 400
_BLOCK_CELLS = 16_000_000


class _Ranked(NamedTuple):
    """Comparisons worth showing: rows of both pictures and their similarity."""

    a: Int64Array
    b: Int64Array
    scores: Scores


def pair_figures_of(faces: EmbeddedFaces, pairs: PairListLike, *, list_name: str) -> dict[str, Any]:
    """{det, histogram, worst} of a pair list.

    Args:
        faces: embedded faces.
        pairs: the list; its keys are the source's.
        list_name: what to call the list in errors.
    """
    scored = score_pairs(faces, pairs, list_name=list_name)
    names = tuple(str(number) for number in range(int(max(scored.a.max(), scored.b.max())) + 1))
    table = pair_table(scored.scores, scored.a, scored.b, names)
    place = {key: index for index, key in enumerate(faces.keys)}
    kept = [pair for pair in pairs.pairs if pair.a in place and pair.b in place]
    a = np.array([place[pair.a] for pair in kept])
    b = np.array([place[pair.b] for pair in kept])
    worst = {}
    for name, kind, sign in (("genuine", scored.same, 1), ("impostor", ~scored.same, -1)):
        rows = np.flatnonzero(kind)
        rows = rows[np.argsort(sign * scored.scores[rows], kind="stable")]
        worst[name] = _shown(faces, _Ranked(a[rows], b[rows], scored.scores[rows]))
    return {
        "det": det_band(table, points=_POINTS).as_dict(),
        "histogram": _histogram(scored.scores[scored.same], scored.scores[~scored.same]),
        "worst": worst,
    }


def all_pairs_figures_of(faces: EmbeddedFaces, table: ScoreTable | None = None) -> dict[str, Any]:
    """{det, histogram, worst} over all comparisons of a labelled set.

    The impostor histogram is drawn from 200,000 comparisons chosen by a fixed seed.

    Args:
        faces: embedded faces with identities.
        table: the comparisons, if ``score_all_pairs`` was already called.
    """
    table = score_all_pairs(faces) if table is None else table
    identity = np.unique(np.array(faces.identities, dtype=str), return_inverse=True)[1]
    return {
        "det": det_band(table, points=_POINTS).as_dict(),
        "histogram": _histogram(table.genuine, _sampled_impostors(faces, identity)),
        "worst": {
            "genuine": _shown(faces, _worst_genuine(faces, identity)),
            "impostor": _shown(faces, _worst_impostors(faces, identity)),
        },
    }


def set_figures_of(
    faces: EmbeddedFaces, pairs: Sequence[tuple[str, str]] | None = None
) -> dict[str, Any]:
    """What the comparisons of a card or an audit have to show.

    Args:
        faces: embedded faces.
        pairs: pairs of different people by key, where these were compared and not all.

    Returns:
        {det, histogram, worst} where people are known, else {worst}.
    """
    people = set(faces.identities)
    if pairs is None and None not in people and 1 < len(people) < len(faces.keys):
        return all_pairs_figures_of(faces)
    return impostor_figures_of(faces, pairs)


def impostor_figures_of(
    faces: EmbeddedFaces, pairs: Sequence[tuple[str, str]] | None = None
) -> dict[str, Any]:
    """{worst} of pictures of which nobody's identity is known: the most similar ones.

    Args:
        faces: embedded faces; different pictures are taken for different people.
        pairs: compared pairs by key; all pairs by default.
    """
    if pairs is None:
        ranked = _worst_impostors(faces, np.arange(len(faces.keys)))
    else:
        place = {key: row for row, key in enumerate(faces.keys)}
        kept = [(place[a], place[b]) for a, b in pairs if a in place and b in place]
        a, b = np.array(kept, dtype=np.int64).reshape(-1, 2).T
        scores = cosine(faces.embeddings[a], faces.embeddings[b])
        falling = np.argsort(-scores, kind="stable")
        ranked = _Ranked(a[falling], b[falling], scores[falling])
    return {"worst": {"genuine": [], "impostor": _shown(faces, ranked)}}


def _histogram(genuine: Scores, impostor: Scores) -> dict[str, Any]:
    low = float(np.floor(min(genuine.min(), impostor.min()) * 10) / 10)
    edges = np.linspace(low, 1.0, _BINS + 1)
    densities = [np.histogram(np.minimum(s, 1.0), edges)[0] / len(s) for s in (genuine, impostor)]
    return {
        "edges": np.round(edges, 6).tolist(),
        "genuine": np.round(densities[0], 7).tolist(),
        "impostor": np.round(densities[1], 7).tolist(),
    }


def _sampled_impostors(faces: EmbeddedFaces, identity: Int64Array) -> Scores:
    rng = generator("impostor histogram", len(identity))
    a, b = rng.integers(0, len(identity), (2, _SAMPLE))
    apart = identity[a] != identity[b]
    a, b = a[apart], b[apart]
    return cosine(faces.embeddings[a], faces.embeddings[b])


def _worst_genuine(faces: EmbeddedFaces, identity: Int64Array) -> _Ranked:
    order = np.argsort(identity, kind="stable")
    parts: list[_Ranked] = []
    for rows in np.split(order, np.cumsum(np.bincount(identity))[:-1]):
        if len(rows) < 2:
            continue
        scores = faces.embeddings[rows] @ faces.embeddings[rows].T
        i, j = np.triu_indices(len(rows), 1)
        lowest = int(np.argmin(scores[i, j]))
        a, b = rows[i[lowest]], rows[j[lowest]]
        parts.append(_Ranked(np.array([a]), np.array([b]), scores[i, j][[lowest]]))
    joined = _Ranked(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    rising = np.argsort(joined.scores, kind="stable")
    return _Ranked(joined.a[rising], joined.b[rising], joined.scores[rising])


def _worst_impostors(faces: EmbeddedFaces, identity: Int64Array) -> _Ranked:
    """The highest impostor similarities, block by block of rows."""
    vectors = faces.embeddings
    rows_at_once = max(1, _BLOCK_CELLS // len(vectors))
    kept = _Ranked(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    for start in range(0, len(vectors), rows_at_once):
        scores = vectors[start : start + rows_at_once] @ vectors[start:].T
        own = identity[start : start + rows_at_once, None] == identity[None, start:]
        scores[own | (np.tri(*scores.shape) > 0)] = -np.inf
        flat = scores.ravel()
        highest = np.argpartition(-flat, min(_CANDIDATES, flat.size - 1))[:_CANDIDATES]
        row, column = np.divmod(highest, scores.shape[1])
        found = _Ranked(row + start, column + start, flat[highest])
        joined = _Ranked(*(np.concatenate(pair) for pair in zip(kept, found, strict=True)))
        falling = np.argsort(-joined.scores, kind="stable")[:_CANDIDATES]
        kept = _Ranked(joined.a[falling], joined.b[falling], joined.scores[falling])
    real = np.isfinite(kept.scores)
    return _Ranked(kept.a[real], kept.b[real], kept.scores[real])


def _shown(faces: EmbeddedFaces, ranked: _Ranked) -> list[dict[str, Any]]:
    """The first of the ranked pairs, a picture at most once, so that one does not fill the row."""
    taken: set[int] = set()
    shown: list[dict[str, Any]] = []
    for a, b, score in zip(*(column.tolist() for column in ranked), strict=True):
        if len(shown) == _SHOWN:
            break
        if a in taken or b in taken:
            continue
        taken |= {a, b}
        pair = {"a": faces.keys[a], "b": faces.keys[b], "similarity": round(float(score), 4)}
        shown.append(pair)
    return shown
