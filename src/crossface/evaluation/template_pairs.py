"""Comparisons given as index pairs, millions of them: scores, and the table of a pair list.

For lists like IJB-C's, 15.7 million pairs of 23,124 templates, where not every picture is compared
with every other. ``pair_table`` makes of them the table that ``influence`` and
``protocols.all_pairs.table_figures`` read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.types import FloatArray
from crossface.core.vectors import cosine
from crossface.evaluation import scores as room
from crossface.evaluation.scores import ScoreTable

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
IntArray = npt.NDArray[np.integer]

KEEP = 4_000_000  # impostor scores up to this number, or up to the share below, are kept
KEEP_SHARE = 0.3  # enough for FMR 1e-1 and a slope around it
_BLOCK_BYTES = 2_000_000  # of one side's gathered vectors: they stay in the processor's cache
_CHUNK = 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class PairTable(ScoreTable):
    """A ``ScoreTable`` of chosen comparisons instead of all.

    Attributes:
        genuine_counts: (G,) int64 genuine comparisons of each identity.
        impostor_counts: (G,) int64 impostor comparisons that involve each identity.
        dyads: (K,) int64 sorted pairs of identities that are compared, a * G + b with a < b.
        dyad_counts: (K,) int64 comparisons of each.
    """

    genuine_counts: Int64Array
    impostor_counts: Int64Array
    dyads: Int64Array
    dyad_counts: Int64Array

    @property
    def impostor_of(self) -> Int64Array:
        """(G,) int64 impostor comparisons that involve each identity."""
        return self.impostor_counts

    @property
    def genuine_of(self) -> Int64Array:
        """(G,) int64 genuine comparisons of each identity."""
        return self.genuine_counts

    @property
    def squared_comparisons(self) -> float:
        """Sum over pairs of identities of their squared number of comparisons."""
        return float(np.sum(self.dyad_counts.astype(np.float64) ** 2))

    def comparisons_of(self, dyads: Int64Array) -> Float64Array:
        """(K,) comparisons of pairs of identities, each given as a * G + b."""
        return self.dyad_counts[np.searchsorted(self.dyads, dyads)].astype(np.float64)


def score_index_pairs(vectors: FloatArray, first: IntArray, second: IntArray) -> FloatArray:
    """Similarity of index pairs, in blocks.

    Args:
        vectors: (T, D) float32 unit rows.
        first: (K,) row of the first template of each pair.
        second: (K,) row of the second.

    Returns:
        (K,) float32 in [-1, 1]; a pair's score does not depend on the others.

    Raises:
        DataError: naming a row that is not there.
    """
    for side in (first, second):
        if len(side) and not 0 <= int(side.min()) <= int(side.max()) < len(vectors):
            raise DataError(
                f"pairs name templates {int(side.min())} to {int(side.max())}, "
                f"expected 0 to {len(vectors) - 1}"
            )
    if first.shape != second.shape or first.ndim != 1:
        raise DataError(f"pairs must be two (K,) arrays, got {first.shape} and {second.shape}")
    step = max(1, _BLOCK_BYTES // (vectors.itemsize * vectors.shape[1]))
    scores = np.empty(len(first), dtype=np.float32)
    for start in range(0, len(first), step):
        rows = slice(start, start + step)
        scores[rows] = cosine(vectors[first[rows]], vectors[second[rows]])
    return scores


def pair_table(
    scores: FloatArray, first: IntArray, second: IntArray, names: tuple[str, ...]
) -> PairTable:
    """The table of a list of scored comparisons.

    Args:
        scores: (K,) float32 similarities.
        first: (K,) identity of the first template, 0..G-1.
        second: (K,) identity of the second; equal to ``first`` in genuine comparisons.
        names: (G,) of the identities.

    Raises:
        DataError: without genuine or without impostor comparisons.
    """
    same = first == second
    n_genuine, n_impostor = int(same.sum()), int((~same).sum())
    if not n_genuine or not n_impostor:
        raise DataError(
            f"a pair list needs genuine and impostor comparisons, got {n_genuine} and {n_impostor}"
        )
    count = len(names)
    order = np.argsort(scores[same], kind="stable")
    genuine, owner = scores[same][order], first[same][order].astype(np.int32)
    impostor, a, b = scores[~same], first[~same], second[~same]
    tail = room._Tail(_bound(impostor), room._share_above(genuine), count)
    for start in range(0, n_impostor, _CHUNK):
        rows = slice(start, start + _CHUNK)
        tail.add(room._Block(impostor[rows], a[rows], b[rows]))
    kept, tail_a, tail_b = tail.sorted()
    below = room._share_below(tail.histogram)[room._bins(genuine)]
    dyads, dyad_counts = _dyads(a, b, count)
    return PairTable(
        identities=names,
        sizes=_sizes(first, second, count),
        genuine=genuine,
        genuine_identity=owner,
        n_impostor=n_impostor,
        tail=kept,
        tail_a=tail_a,
        tail_b=tail_b,
        auc_genuine=np.bincount(owner, weights=below, minlength=count).astype(np.float64),
        auc_impostor=tail.above_by_identity,
        genuine_counts=np.bincount(owner, minlength=count).astype(np.int64),
        impostor_counts=_sizes(a, b, count),
        dyads=dyads,
        dyad_counts=dyad_counts,
    )


def _bound(impostor: FloatArray) -> float:
    """The score down to which impostor scores are kept."""
    wanted = max(KEEP, int(KEEP_SHARE * len(impostor)))
    if len(impostor) <= wanted:
        return float("-inf")
    place = len(impostor) - wanted
    return float(np.partition(impostor, place)[place])


def _sizes(first: IntArray, second: IntArray, count: int) -> Int64Array:
    """(G,) comparisons that each identity takes part in, as first or second."""
    sizes = np.bincount(first, minlength=count) + np.bincount(second, minlength=count)
    return sizes.astype(np.int64)


def _dyads(a: IntArray, b: IntArray, count: int) -> tuple[Int64Array, Int64Array]:
    keys = np.minimum(a, b).astype(np.int64)
    keys *= count
    keys += np.maximum(a, b)
    keys.sort()
    starts = np.flatnonzero(np.append(True, keys[1:] > keys[:-1]))
    return keys[starts], np.diff(np.append(starts, len(keys))).astype(np.int64)
