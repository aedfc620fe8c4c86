"""What every index backend does, and the checks at its door."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from crossface.core.errors import GalleryError
from crossface.core.types import FloatArray
from crossface.core.vectors import check_unit

IdArray = npt.NDArray[np.int64]

RowReader = Callable[[IdArray], FloatArray]
"""(N,) template numbers to their (N, D) float32 unit vectors, from the record."""

Bar = Callable[[FloatArray, IdArray, FloatArray], float]
"""``bar(query, ids, scores)``: the cosine that a template must reach to change the answer, given
the (N,) templates a backend looked at first and their exact cosines with the (D,) query."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """The most similar templates of each query, best first; equal scores by ascending number.

    ``ids`` is (Q, K) int64, ``scores`` (Q, K) float32 cosines; K is the number asked for or the
    size of the index, whichever is less.
    """

    ids: IdArray
    scores: FloatArray


class Backend(Protocol):
    """Template vectors by number, in memory; a cache that the record can always rebuild.

    ``Backend(dim, rows)`` makes an empty one; ``rows`` reads exact vectors from the record, for
    backends that keep less than that in memory.
    """

    exact: bool
    """Whether the answer is the exact one (up to the backend's number format)."""

    recall: float
    """Stated top-1 agreement with ``exact`` for probes whose person is enrolled."""

    def __len__(self) -> int: ...

    @property
    def memory_bytes(self) -> int:
        """Bytes the index holds in memory."""
        ...

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """Add (N, D) float32 unit rows under (N,) new numbers.

        Raises:
            GalleryError: for a number that is there, or rows that are no unit vectors.
        """
        ...

    def remove(self, ids: IdArray) -> None:
        """Take (N,) numbers out.

        Raises:
            GalleryError: naming a number that is not there.
        """
        ...

    def search(self, queries: FloatArray, k: int, bar: Bar | None = None) -> Hits:
        """The ``k`` most similar templates of each of (Q, D) unit queries.

        Args:
            queries: (Q, D) float32 unit rows.
            k: how many; all there are where that is less.
            bar: from where on a backend that is not exact may stop looking; the best cosine it
                has seen where None. Exact ones have no use for it.
        """
        ...

    def score(self, query: FloatArray, ids: IdArray) -> FloatArray:
        """(N,) exact cosines of one (D,) query with the templates named."""
        ...


def check_new(ids: IdArray, vectors: FloatArray, known: IdArray, dim: int) -> None:
    """Refuse what may not be added.

    Raises:
        GalleryError: saying what came.
    """
    check_queries(vectors, dim)
    if ids.shape != (len(vectors),):
        raise GalleryError(f"{len(vectors)} vectors need as many numbers, got {ids.shape}")
    if len(np.unique(ids)) != len(ids):
        raise GalleryError("a template number was given twice")
    there = known[np.isin(known, ids)]
    if there.size:
        raise GalleryError(f"template {there[0]} is already in the index")


def check_queries(vectors: FloatArray, dim: int) -> None:
    """Refuse rows that are not (N, dim) finite unit vectors.

    Raises:
        GalleryError: saying what came.
    """
    try:
        check_unit(vectors, dim=dim)
    except ValueError as error:
        raise GalleryError(str(error)) from None


def positions_of(ids: IdArray, known: IdArray) -> IdArray:
    """(N,) places of numbers in an unsorted table.

    Raises:
        GalleryError: naming the first that is not there.
    """
    ascending = bool((np.diff(known) > 0).all())
    order = np.arange(len(known)) if ascending else np.argsort(known, kind="stable")
    places = np.searchsorted(known, ids, sorter=None if ascending else order)
    found = np.zeros(len(ids), dtype=bool)
    inside = places < len(known)
    found[inside] = known[order[places[inside]]] == ids[inside]
    if not found.all():
        raise GalleryError(f"template {ids[~found][0]} is not in the index")
    return order[places].astype(np.int64)


def best(ids: IdArray, scores: FloatArray, k: int) -> tuple[IdArray, FloatArray]:
    """The ``k`` highest of (N,) scores, best first, equal ones by ascending number."""
    k = min(k, len(ids))
    if k < len(ids):
        bar = np.partition(scores, len(scores) - k)[len(scores) - k]
        keep = np.flatnonzero(scores >= bar)
        ids, scores = ids[keep], scores[keep]
    order = np.lexsort((ids, -scores))[:k]
    return ids[order], scores[order]
