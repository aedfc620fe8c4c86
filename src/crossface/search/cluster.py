"""Faces of a photo collection into people: average linkage on the exact similarity graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError, MissingExtra, UsageError
from crossface.core.types import FloatArray
from crossface.core.vectors import check_unit

Int64Array = npt.NDArray[np.int64]

_BLOCK_CELLS = 16_000_000
# The distance of two faces that cannot be one person: no average over a component comes back
# below a threshold of at most 2 once it holds one of these.
_NEVER = 1e12


def cluster_faces(
    vectors: npt.ArrayLike,
    *,
    threshold: float,
    photos: Sequence[str] | None = None,
    most_in_component: int = 20_000,
) -> Int64Array:
    """Number of the person each face belongs to.

    Faces are joined while the average similarity of the two groups is at least ``threshold``
    (average linkage, scipy's). Every pair at or above the threshold is found exactly, no
    neighbour search is approximate; groups that no such pair connects are never compared, which
    changes nothing, since an average of values below the threshold stays below it.

    Args:
        vectors: (N, D) unit embeddings of one model.
        threshold: cosine similarity in (-1, 1).
        photos: (N,) the photograph each face is from; two faces of one photograph are never one
            person (cannot-link). No such rule without it.
        most_in_component: largest connected group that is linked; its distance matrix takes 8
            bytes a pair.

    Returns:
        (N,) int64: 0 for the largest group, then 1, ...; groups of equal size by their first face.

    Raises:
        DataError: vectors that are not unit rows, or a component beyond ``most_in_component``.
        UsageError: a threshold outside (-1, 1), or ``photos`` of another length.
        MissingExtra: scipy is not installed.
    """
    rows = check_unit(np.asarray(vectors, dtype=np.float32))
    if not -1.0 < threshold < 1.0:
        raise UsageError(f"a clustering threshold lies between -1 and 1, got {threshold}")
    if photos is not None and len(photos) != len(rows):
        raise UsageError(f"{len(rows)} faces need as many photos, got {len(photos)}")
    labels = np.full(len(rows), -1, dtype=np.int64)
    if not len(rows):
        return labels
    photo = _numbers(photos) if photos is not None else None
    count = 0
    for members in _components(rows, threshold):
        if len(members) > most_in_component:
            raise DataError(
                f"{len(members)} faces hang together at threshold {threshold}, at most "
                f"{most_in_component} can be linked; use a higher threshold"
            )
        own = _linked(rows[members], threshold, None if photo is None else photo[members])
        labels[members] = own + count
        count += int(own.max()) + 1
    return by_size(labels)


def by_size(labels: Int64Array) -> Int64Array:
    """The same groups, numbered from the largest to the smallest, then by first appearance."""
    _, first, renamed, sizes = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[renamed], dtype=np.int64)


def _numbers(photos: Sequence[str]) -> Int64Array:
    return np.unique(np.asarray(photos, dtype=str), return_inverse=True)[1].astype(np.int64)


def _components(rows: FloatArray, threshold: float) -> Iterator[Int64Array]:
    """Indices of the faces that chains of similar pairs connect."""
    try:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components
    except ModuleNotFoundError:
        raise MissingExtra("scipy", "cluster") from None
    first, second = _similar_pairs(rows, threshold)
    graph = coo_array((np.ones(len(first), dtype=np.int8), (first, second)), shape=[len(rows)] * 2)
    _, component = connected_components(graph, directed=False)
    order = np.argsort(component, kind="stable")
    edges = np.flatnonzero(np.diff(component[order])) + 1
    yield from np.split(order.astype(np.int64), edges)


def _similar_pairs(rows: FloatArray, threshold: float) -> tuple[Int64Array, Int64Array]:
    step = max(1, _BLOCK_CELLS // len(rows))
    found: list[tuple[Int64Array, Int64Array]] = []
    for start in range(0, len(rows), step):
        block = rows[start : start + step] @ rows[start:].T
        i, j = np.nonzero(block >= threshold)
        above = j > i
        found.append((i[above] + start, j[above] + start))
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def _linked(rows: FloatArray, threshold: float, photo: Int64Array | None) -> Int64Array:
    """Average linkage inside one component; groups numbered from 0."""
    if len(rows) == 1:
        return np.zeros(1, dtype=np.int64)
    from scipy.cluster.hierarchy import fcluster, linkage

    wide = rows.astype(np.float64)
    i, j = np.triu_indices(len(rows), 1)
    distance = 1.0 - (wide @ wide.T)[i, j]
    np.maximum(distance, 0.0, out=distance)  # rounding
    if photo is not None:
        distance[photo[i] == photo[j]] = _NEVER
    tree = linkage(distance, method="average")
    groups = fcluster(tree, t=1.0 - threshold, criterion="distance")
    return np.asarray(groups, dtype=np.int64) - 1
