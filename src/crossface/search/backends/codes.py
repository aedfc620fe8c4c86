"""Sign codes as a prefilter, exact rescoring of the candidates: 64 bytes a template at 512-d.

One bit a dimension stays in memory; the vectors stay in the (encrypted) record and are read for
the candidates alone. A query keeps two bits a dimension: its sign, and whether it is large. The
distance counts a disagreement in sign once, and three times where the query is large:

    d(q, x) = sum_i w_i [sign q_i != sign x_i],   w_i = 3 where |q_i| > 0.98 rms(q), else 1.

Source: the four levels of a Gaussian that lose least, -1.51, -0.45, 0.45, 1.51 (Max, "Quantizing
for minimum distortion", IRE Trans. Inf. Theory 1960, Table I), whose ratio is near 3; asymmetric
distance: Gordo et al., "Asymmetric distances for binary embeddings", TPAMI 2014.
Deviation: the ratio is rounded to 3, so that the distance is a sum of two bit counts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from crossface.core.types import FloatArray
from crossface.search.backends.base import (
    Hits,
    IdArray,
    RowReader,
    best,
    check_new,
    check_queries,
    positions_of,
)

_WORD_BITS = 64
_BLOCK = 16384
_LARGE = 0.98
_COUNTS_IN_A_BYTE = 3  # each is at most 64

Words = npt.NDArray[np.uint64]


class CodesBackend:
    """One bit a dimension in memory, exact scores of the nearest codes.

    Args:
        dim: length of the vectors.
        rows: reads exact vectors from the record.
        candidates: templates that are rescored for each query; more find more of the probes that
            resemble nobody much.
    """

    exact = False
    recall = 0.999

    def __init__(self, dim: int, rows: RowReader, *, candidates: int = 1000) -> None:
        self._dim = dim
        self._rows = rows
        self._candidates = candidates
        self._ids = np.empty(0, dtype=np.int64)
        self._blocks: list[Words] = []

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def memory_bytes(self) -> int:
        """Bytes of codes and numbers."""
        return sum(block.nbytes for block in self._blocks) + self._ids.nbytes

    def add(self, ids: IdArray, vectors: FloatArray) -> None:
        """See ``Backend.add``."""
        check_new(ids, vectors, self._ids, self._dim)
        self._append(_codes(vectors))
        self._ids = np.concatenate([self._ids, ids])

    def remove(self, ids: IdArray) -> None:
        """See ``Backend.remove``."""
        gone = np.sort(positions_of(ids, self._ids))
        if not len(gone):
            return
        first = int(gone[0]) // _BLOCK  # blocks before it stay as they are
        keep = np.delete(np.arange(len(self._ids)), gone)
        tail = np.concatenate(self._blocks[first:], axis=1)
        kept = keep[keep >= first * _BLOCK] - first * _BLOCK
        del self._blocks[first:]
        self._ids = self._ids[keep]
        self._append(tail[:, kept], at=first * _BLOCK)

    def search(self, queries: FloatArray, k: int) -> Hits:
        """See ``Backend.search``."""
        check_queries(queries, self._dim)
        k = min(k, len(self._ids))
        ids = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k), dtype=np.float32)
        for row, query in enumerate(queries if k else ()):
            near = np.sort(self._ids[self.nearest_codes(query, max(k, self._candidates))])
            ids[row], scores[row] = best(near, self.score(query, near), k)
        return Hits(ids, scores)

    def score(self, query: FloatArray, ids: IdArray) -> FloatArray:
        """See ``Backend.score``."""
        if not len(ids):
            return np.empty(0, dtype=np.float32)
        scores: FloatArray = self._rows(ids) @ query
        return scores

    def nearest_codes(self, query: FloatArray, count: int) -> IdArray:
        """Places of the ``count`` codes nearest to one (D,) query, unordered."""
        count = min(count, len(self._ids))
        sign, large = _query_codes(query)
        scratch = _Scratch(len(sign))
        bar = np.iinfo(np.uint16).max
        places: list[IdArray] = []
        found: list[npt.NDArray[np.uint16]] = []
        held = 0
        for number, block in enumerate(self._blocks):
            distances = scratch.distances(block, sign, large)
            near = np.flatnonzero(distances <= bar)
            places.append(near + number * _BLOCK)
            found.append(distances[near])
            held += len(near)
            if held > 2 * count:
                place, distance, bar = _nearest(places, found, count)
                places, found, held = [place], [distance], len(place)
        return _nearest(places, found, count)[0][:count]

    def _append(self, codes: Words, at: int | None = None) -> None:
        size = len(self._ids) if at is None else at
        while codes.shape[1]:
            room = -size % _BLOCK
            if not room:
                self._blocks.append(codes[:, :_BLOCK].copy())
                taken = self._blocks[-1].shape[1]
            else:
                taken = min(room, codes.shape[1])
                self._blocks[-1] = np.concatenate([self._blocks[-1], codes[:, :taken]], axis=1)
            codes, size = codes[:, taken:], size + taken


class _Scratch:
    """Buffers that stay in the processor's cache while codes stream by."""

    def __init__(self, words: int) -> None:
        self._words = words
        self._mixed = np.empty(_BLOCK, dtype=np.uint64)
        self._bits = np.empty(_BLOCK, dtype=np.uint8)
        self._part = np.empty(_BLOCK, dtype=np.uint8)
        self._plain = np.empty(_BLOCK, dtype=np.uint16)
        self._heavy = np.empty(_BLOCK, dtype=np.uint16)

    def distances(self, block: Words, sign: Words, large: Words) -> npt.NDArray[np.uint16]:
        """(N,) distances of a (W, N) block; the buffer is reused by the next call."""
        n = block.shape[1]
        plain, heavy = self._plain[:n], self._heavy[:n]
        self._count(block, sign, None, plain)
        self._count(block, sign, large, heavy)
        heavy <<= 1
        plain += heavy
        return plain

    def _count(
        self, block: Words, sign: Words, mask: Words | None, total: npt.NDArray[np.uint16]
    ) -> None:
        n = block.shape[1]
        mixed, bits, part = self._mixed[:n], self._bits[:n], self._part[:n]
        total[:] = 0
        for word in range(self._words):
            np.bitwise_xor(block[word], sign[word], out=mixed)
            if mask is not None:
                np.bitwise_and(mixed, mask[word], out=mixed)
            if word % _COUNTS_IN_A_BYTE == 0:
                np.bitwise_count(mixed, out=part)
            else:
                np.bitwise_count(mixed, out=bits)
                part += bits
            if word % _COUNTS_IN_A_BYTE == _COUNTS_IN_A_BYTE - 1 or word == self._words - 1:
                total += part


def _nearest(
    places: list[IdArray], found: list[npt.NDArray[np.uint16]], count: int
) -> tuple[IdArray, npt.NDArray[np.uint16], int]:
    """The ``count`` nearest so far, and the largest distance among them."""
    place, distance = np.concatenate(places), np.concatenate(found)
    if len(place) > count:
        nearest = np.argpartition(distance, count - 1)[:count]
        place, distance = place[nearest], distance[nearest]
    return place, distance, int(distance.max())


def _codes(vectors: FloatArray) -> Words:
    """(W, N) sign bits of (N, D) rows, one row of words a plane, zero bits behind the end."""
    bits = np.packbits(vectors > 0, axis=1)
    words = -(-vectors.shape[1] // _WORD_BITS)
    padded = np.zeros((len(vectors), words * 8), dtype=np.uint8)
    padded[:, : bits.shape[1]] = bits
    return np.ascontiguousarray(padded.view(np.uint64).T)


def _query_codes(query: FloatArray) -> tuple[Words, Words]:
    """(W,) sign bits and (W,) bits of the large dimensions of a (D,) query."""
    bar = _LARGE * float(np.sqrt(np.mean(query**2)))
    large = (np.abs(query) > bar).astype(np.float32)
    return _codes(query[None])[:, 0], _codes(large[None])[:, 0]
