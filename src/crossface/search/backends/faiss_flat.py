"""FAISS flat indexes: exact search in float32, and a float16 scan for half the memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from crossface.core.errors import MissingExtra
from crossface.core.types import FloatArray
from crossface.search.backends.base import (
    Bar,
    Hits,
    IdArray,
    RowReader,
    check_new,
    check_queries,
    positions_of,
)


def _faiss() -> Any:  # noqa: ANN401  # a module without types
    try:
        import faiss
    except ImportError:
        raise MissingExtra("faiss-cpu", "ann") from None
    return faiss


class FaissFlat:
    """All vectors in memory as float32, 4 * D bytes a template, searched by FAISS."""

    exact = True
    recall = 1.0

    def __init__(self, dim: int, rows: RowReader) -> None:
        del rows  # everything is in memory
        self._faiss = _faiss()
        self._dim = dim
        self._ids = np.empty(0, dtype=np.int64)
        self._flat = self._make()

    def _make(self) -> Any:  # noqa: ANN401  # a FAISS index
        return self._faiss.IndexFlatIP(self._dim)

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def memory_bytes(self) -> int:
        """Bytes of vectors and numbers."""
        return int(self._flat.ntotal * self._flat.code_size) + self._ids.nbytes

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """See ``Backend.add``."""
        check_new(ids, vectors, self._ids, self._dim)
        if len(ids):
            self._flat.add(np.ascontiguousarray(vectors))
            self._ids = np.concatenate([self._ids, ids])

    def remove(self, ids: IdArray) -> None:
        """See ``Backend.remove``."""
        gone = positions_of(ids, self._ids)
        if len(gone):
            self._flat.remove_ids(gone)  # those behind move up, in order
            self._ids = np.delete(self._ids, gone)

    def search(self, queries: FloatArray, k: int, bar: Bar | None = None) -> Hits:
        """See ``Backend.search``."""
        del bar  # everything is looked at
        check_queries(queries, self._dim)
        k = min(k, len(self._ids))
        if not k or not len(queries):
            empty = np.empty((len(queries), k), dtype=np.float32)
            return Hits(empty.astype(np.int64), empty)
        scores, places = self._flat.search(np.ascontiguousarray(queries), k)
        ids = self._ids[places]
        order = np.lexsort((ids, -scores))
        return Hits(
            np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
        )

    def score(self, query: FloatArray, ids: IdArray) -> FloatArray:
        """See ``Backend.score``."""
        places = positions_of(ids, self._ids)
        if not len(places):
            return np.empty(0, dtype=np.float32)
        scores: FloatArray = self._flat.reconstruct_batch(places) @ query
        return scores


class FaissFlatHalf(FaissFlat):
    """All vectors in memory as float16, 2 * D bytes a template.

    A cosine is off by less than 1e-3, so people closer than that may change places.
    """

    exact = True
    recall = 0.999

    def _make(self) -> Any:  # noqa: ANN401  # a FAISS index
        quantizer = self._faiss.ScalarQuantizer
        return self._faiss.IndexScalarQuantizer(
            self._dim, quantizer.QT_fp16, self._faiss.METRIC_INNER_PRODUCT
        )
