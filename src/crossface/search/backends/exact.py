"""Exact search by matrix product: the oracle of the others, right up to some 100,000 templates."""

from __future__ import annotations

import numpy as np

from crossface.core.types import FloatArray
from crossface.search.backends.base import (
    Bar,
    Hits,
    IdArray,
    RowReader,
    best,
    check_new,
    check_queries,
    positions_of,
)

_BLOCK_QUERIES = 64
_GROWTH = 1.25


class ExactBackend:
    """All vectors in memory as float32, 4 * D bytes a template; cosine by matrix product."""

    exact = True
    recall = 1.0

    def __init__(self, dim: int, rows: RowReader) -> None:
        del rows  # everything is in memory
        self._dim = dim
        self._ids = np.empty(0, dtype=np.int64)
        self._store = np.empty((0, dim), dtype=np.float32)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def memory_bytes(self) -> int:
        """Bytes of vectors and numbers."""
        return self._store.nbytes + self._ids.nbytes

    @property
    def _vectors(self) -> FloatArray:
        return self._store[: len(self._ids)]

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """See ``Backend.add``."""
        check_new(ids, vectors, self._ids, self._dim)
        start, end = len(self._ids), len(self._ids) + len(ids)
        if end > len(self._store):
            grown = np.empty((max(end, int(_GROWTH * start)), self._dim), dtype=np.float32)
            grown[:start] = self._vectors
            self._store = grown
        self._store[start:end] = vectors
        self._ids = np.concatenate([self._ids, ids])

    def remove(self, ids: IdArray) -> None:
        """See ``Backend.remove``."""
        gone = positions_of(ids, self._ids)
        keep = np.delete(np.arange(len(self._ids)), gone)
        if len(keep) and len(gone):
            self._store[: len(keep)] = self._store[keep]
        self._store[len(keep) : len(self._ids)] = 0.0
        self._ids = self._ids[keep]

    def search(self, queries: FloatArray, k: int, bar: Bar | None = None) -> Hits:
        """See ``Backend.search``."""
        del bar  # everything is looked at
        check_queries(queries, self._dim)
        k = min(k, len(self._ids))
        ids = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k), dtype=np.float32)
        for start in range(0, len(queries), _BLOCK_QUERIES):
            block = queries[start : start + _BLOCK_QUERIES] @ self._vectors.T
            for offset, row in enumerate(block):
                ids[start + offset], scores[start + offset] = best(self._ids, row, k)
        return Hits(ids, scores)

    def score(self, query: FloatArray, ids: IdArray) -> FloatArray:
        """See ``Backend.score``."""
        scores: FloatArray = self._vectors[positions_of(ids, self._ids)] @ query
        return scores
