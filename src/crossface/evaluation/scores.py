"""Every genuine and impostor comparison of a labelled set, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.seeds import generator
from crossface.core.types import FloatArray
from crossface.evaluation.embed import EmbeddedFaces

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]

KEEP_ALL = 4_000_000  # impostor scores up to this number are all kept
TAIL_SHARE = 0.025  # of a larger set; enough for FMR 1e-2 and a slope around it
_TAIL_NEEDED = 0.015
_SAMPLE_ROWS = 400
_BLOCK_CELLS = 16_000_000
_BINS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTable:
    """What all-pairs error rates and their intervals need of N (N - 1) / 2 comparisons.

    Identities are numbered 0..G-1 in alphabetical order.

    Attributes:
        identities: (G,) their names.
        sizes: (G,) int64 pictures of each.
        genuine: (P,) float32 ascending: all genuine similarities.
        genuine_identity: (P,) int32 identity of each.
        n_impostor: number of all impostor comparisons.
        tail: (Q,) float32 descending: the highest impostor similarities, complete down to its
            last; all of them for sets with at most ``KEEP_ALL``.
        tail_a: (Q,) int32 lower identity of each.
        tail_b: (Q,) int32 higher identity of each.
        auc_genuine: (G,) sum over the identity's genuine scores of the share of impostor scores
            below (ties half); scores are read in 65,536 steps of 3e-5.
        auc_impostor: (G,) sum over impostor scores that involve the identity of the share of
            genuine scores above (ties half).
    """

    identities: tuple[str, ...]
    sizes: Int64Array
    genuine: FloatArray
    genuine_identity: Int32Array
    n_impostor: int
    tail: FloatArray
    tail_a: Int32Array
    tail_b: Int32Array
    auc_genuine: Float64Array
    auc_impostor: Float64Array

    @property
    def n_images(self) -> int:
        """Pictures compared."""
        return int(self.sizes.sum())

    @property
    def impostor_of(self) -> Int64Array:
        """(G,) int64 impostor comparisons that involve each identity."""
        return self.sizes * (self.n_images - self.sizes)

    @property
    def genuine_of(self) -> Int64Array:
        """(G,) int64 genuine comparisons of each identity."""
        return self.sizes * (self.sizes - 1) // 2

    @property
    def squared_comparisons(self) -> float:
        """Sum over pairs of identities of their squared number of comparisons."""
        return all_pairs_squared(self.sizes)

    def comparisons_of(self, dyads: Int64Array) -> Float64Array:
        """(K,) comparisons of pairs of identities, each given as a * G + b."""
        a, b = np.divmod(dyads, len(self.sizes))
        return (self.sizes[a] * self.sizes[b]).astype(np.float64)


def all_pairs_squared(sizes: Int64Array) -> float:
    """Sum over pairs of identities of n_a^2 n_b^2, with (G,) pictures of each."""
    squares = sizes.astype(np.float64) ** 2
    return float((squares.sum() ** 2 - np.sum(squares**2)) / 2)


class _Sides(NamedTuple):
    """(N, D) vectors of the first and of the second picture of a comparison, row for row."""

    first: FloatArray
    second: FloatArray


class _Block(NamedTuple):
    """Similarities of impostor comparisons only: (r, c), identities of rows and columns."""

    scores: FloatArray
    rows: Int64Array
    columns: Int64Array


def score_all_pairs(
    faces: EmbeddedFaces,
    *,
    probes: EmbeddedFaces | None = None,
    unlabelled: bool = False,
    floor: float = np.inf,
) -> ScoreTable:
    """Compare every picture with every other by blocked matrix products.

    Args:
        faces: embedded faces, each with an identity.
        probes: the same pictures in the same order embedded by another model of the same space:
            of every two pictures the first (by identity, then by position) is taken from
            ``faces``, the second from ``probes``.
        unlabelled: identities are ignored and every picture counts as a person of its own, so
            that all comparisons are impostor by assumption and none is genuine.
        floor: impostor scores are kept at least down to this similarity.

    Raises:
        DataError: without identities, or if there is no genuine or no impostor comparison;
            with ``unlabelled``, if there is no comparison.
    """
    if unlabelled:
        names, identity = faces.keys, np.arange(len(faces.keys), dtype=np.int64)
    else:
        names, identity = _numbered(faces)
    order = np.argsort(identity, kind="stable")
    vectors = _Sides(faces.embeddings[order], _probes(faces, probes)[order])
    identity = identity[order]
    sizes = np.bincount(identity, minlength=len(names)).astype(np.int64)
    genuine, genuine_identity = _genuine_scores(vectors, sizes)
    total = len(order) * (len(order) - 1) // 2 - len(genuine)
    if not total or (not len(genuine) and not unlabelled):
        raise DataError(
            f"{faces.source_name}: all-pairs needs genuine and impostor comparisons, "
            f"got {len(genuine)} and {total}"
        )
    bound = min(_tail_bound(vectors, identity, total), floor)
    while True:
        tail = _Tail(bound, _share_above(genuine), len(names))
        for block in _impostor_blocks(vectors, identity, sizes):
            tail.add(block)
        if total <= KEEP_ALL or tail.count >= _TAIL_NEEDED * total:
            break
        bound -= 0.05  # the sample misjudged the tail: rare, and then it is read again, wider
    scores, tail_a, tail_b = tail.sorted()
    below = _share_below(tail.histogram)[_bins(genuine)]
    return ScoreTable(
        identities=names,
        sizes=sizes,
        genuine=genuine,
        genuine_identity=genuine_identity,
        n_impostor=total,
        tail=scores,
        tail_a=tail_a,
        tail_b=tail_b,
        auc_genuine=_summed(genuine_identity, below, len(names)),
        auc_impostor=tail.above_by_identity,
    )


class _Tail:
    """Collects, block by block, what is kept of the impostor scores."""

    def __init__(self, bound: float, share_above: Float64Array, n_identities: int) -> None:
        self.bound = np.float32(bound)
        self.share_above = share_above.astype(np.float32)
        self.histogram = np.zeros(_BINS, dtype=np.int64)
        self.above_by_identity = np.zeros(n_identities)
        self.count = 0
        self._parts: list[tuple[FloatArray, Int32Array, Int32Array]] = []

    def add(self, block: _Block) -> None:
        """Take one block of impostor scores."""
        if block.scores.ndim == 1:
            self._add_auc(block.scores, block.rows, block.columns)
            high = block.scores >= self.bound
            scores, a, b = block.scores[high], block.rows[high], block.columns[high]
        else:
            self._add_auc_of_matrix(block)
            row, column = np.nonzero(block.scores >= self.bound)
            scores, a, b = block.scores[row, column], block.rows[row], block.columns[column]
        self._parts.append((scores, a.astype(np.int32), b.astype(np.int32)))
        self.count += len(scores)

    def _add_auc(self, scores: FloatArray, a: Int64Array, b: Int64Array) -> None:
        bins = _bins(scores)
        self.histogram += np.bincount(bins, minlength=_BINS)
        above = self.share_above[bins]
        for side in (a, b):
            self.above_by_identity += _summed(side, above, len(self.above_by_identity))

    def _add_auc_of_matrix(self, block: _Block) -> None:
        bins = _bins(block.scores)
        self.histogram += np.bincount(bins.ravel(), minlength=_BINS)
        above = self.share_above[bins]
        for axis, side in ((1, block.rows), (0, block.columns)):
            sums = above.sum(axis=axis, dtype=np.float64)
            self.above_by_identity += _summed(side, sums, len(self.above_by_identity))

    def sorted(self) -> tuple[FloatArray, Int32Array, Int32Array]:
        """Scores descending, with the lower and the higher identity of each."""
        scores = np.concatenate([part[0] for part in self._parts])
        a = np.concatenate([part[1] for part in self._parts])
        b = np.concatenate([part[2] for part in self._parts])
        order = np.argsort(-scores, kind="stable")
        return scores[order], np.minimum(a, b)[order], np.maximum(a, b)[order]


def _numbered(faces: EmbeddedFaces) -> tuple[tuple[str, ...], Int64Array]:
    labels = [label for label in faces.identities if label is not None]
    if len(labels) < len(faces.identities) or not labels:
        raise DataError(
            f"{faces.source_name}: all-pairs needs an identity for every picture, "
            f"{len(faces.identities) - len(labels)} of {len(faces.identities)} have none"
        )
    names, identity = np.unique(labels, return_inverse=True)
    return tuple(str(name) for name in names), identity.astype(np.int64)


def _probes(faces: EmbeddedFaces, probes: EmbeddedFaces | None) -> FloatArray:
    if probes is None:
        return faces.embeddings
    if probes.keys != faces.keys or probes.embeddings.shape != faces.embeddings.shape:
        raise DataError(
            f"{faces.source_name}: probes must be the same pictures in the same order and of the "
            f"same dimension, got {probes.embeddings.shape} for {faces.embeddings.shape}"
        )
    return probes.embeddings


def _genuine_scores(vectors: _Sides, sizes: Int64Array) -> tuple[FloatArray, Int32Array]:
    ends = np.cumsum(sizes)
    scores = [np.empty(0, dtype=np.float32)]
    owners = np.repeat(np.arange(len(sizes)), sizes * (sizes - 1) // 2)
    for end, size in zip(ends, sizes, strict=True):
        if size > 1:
            own = slice(end - size, end)
            square = vectors.first[own] @ vectors.second[own].T
            scores.append(square[np.triu_indices(size, 1)])
    joined = np.concatenate(scores)
    order = np.argsort(joined, kind="stable")
    return joined[order], owners[order].astype(np.int32)


def _impostor_blocks(vectors: _Sides, identity: Int64Array, sizes: Int64Array) -> Iterator[_Block]:
    """Blocks of rows of whole identities, so that everything right of a block is impostor."""
    ends = np.cumsum(sizes)
    count = len(identity)
    rows_wanted = max(_BLOCK_CELLS // count, 64)
    start = 0
    while start < count:
        stop = int(ends[np.searchsorted(ends, min(start + rows_wanted, count))])
        rows = identity[start:stop]
        square = vectors.first[start:stop] @ vectors.second[start:stop].T
        i, j = np.nonzero(np.triu(rows[:, None] != rows[None, :]))
        if len(i):
            yield _Block(square[i, j], rows[i], rows[j])
        if stop < count:
            right = vectors.first[start:stop] @ vectors.second[stop:].T
            yield _Block(right, rows, identity[stop:])
        start = stop


def _tail_bound(vectors: _Sides, identity: Int64Array, total: int) -> float:
    """Similarity above which about ``TAIL_SHARE`` of the impostor scores lie, from a sample."""
    if total <= KEEP_ALL:
        return float("-inf")
    count = len(identity)
    rng = generator("all-pairs tail", count)
    rows = rng.choice(count, size=min(_SAMPLE_ROWS, count), replace=False)
    scores = vectors.first[rows] @ vectors.second.T
    impostor = scores[identity[rows][:, None] != identity[None, :]]
    return float(np.quantile(impostor, 1 - TAIL_SHARE))


def _bins(scores: FloatArray) -> npt.NDArray[np.uint16]:
    """Similarities in [-1, 1] to 0.._BINS - 1."""
    scaled = np.multiply(scores, (_BINS - 1) / 2, dtype=np.float32)
    scaled += np.float32((_BINS - 1) / 2)
    np.clip(scaled, 0, _BINS - 1, out=scaled)
    return scaled.astype(np.uint16)


def _share_above(genuine: FloatArray) -> Float64Array:
    if not len(genuine):
        return np.zeros(_BINS)
    counts = np.bincount(_bins(genuine), minlength=_BINS)
    return (len(genuine) - np.cumsum(counts) + counts / 2) / len(genuine)


def _share_below(histogram: Int64Array) -> Float64Array:
    share = (np.cumsum(histogram) - histogram / 2) / histogram.sum()
    return np.asarray(share, dtype=np.float64)


def _summed(
    owner: npt.NDArray[np.integer], values: npt.NDArray[np.floating], count: int
) -> Float64Array:
    """(count,) sums of the values of each owner."""
    return np.bincount(owner, weights=values, minlength=count).astype(np.float64)
