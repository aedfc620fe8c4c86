"""Sign codes as a prefilter, exact rescoring of the candidates: 64 bytes a template at 512-d.

One bit a dimension stays in memory; the vectors stay in the (encrypted) record and are read for
the candidates alone. A query keeps three bits a dimension, its sign and one of four magnitudes:

    d(q, x) = sum_i w_i [sign q_i != sign x_i],   w_i in {1, 3, 5, 7} by |q_i| / rms(q),

with steps of 0.586 rms. For directions without preference the sum says the cosine up to a
deviation of 0.035 at 512 dimensions, so a best match far above the crowd is settled by a few exact
cosines, and one that is hardly above it (a probe of nobody enrolled) by all the codes that could
still hide a better one: ``search`` reads on until less than one in a thousand would. Who ranks by
something else than the best template says from which cosine on a template matters (``Bar``).

Source: the uniform quantizer of eight levels that loses least on a Gaussian (Max, "Quantizing for
minimum distortion", IRE Trans. Inf. Theory 1960, Table II); asymmetric distance: Gordo et al.,
"Asymmetric distances for binary embeddings", TPAMI 2014.
Deviation: the rule for reading on is ours; it takes templates for isotropic given their cosine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
from crossface.search.backends.code_scan import Words, scan

_WORD_BITS = 64
_BLOCK = 16384
_STEP = 0.586  # of the root mean square
_LEVELS = (1, 3, 5, 7)
_FIRST_READ = 1000
_READ_PER_ROOT = 16  # candidates at most, times the root of the gallery's size
_SPARE = 64  # codes more than expected in the first block
_DEVIATIONS = 3.3  # of the estimate; one-sided, one in two thousand


class CodesBackend:
    """One bit a dimension in memory, exact scores of the nearest codes.

    Args:
        dim: length of the vectors.
        rows: reads exact vectors from the record.
        candidates: templates that are rescored at most for each query; 1000, or 16 times the root
            of the gallery's size where that is more, by default.
    """

    exact = False
    recall = 0.999

    def __init__(self, dim: int, rows: RowReader, *, candidates: int | None = None) -> None:
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
        self._append(_codes(vectors > 0))
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

    def search(self, queries: FloatArray, k: int, bar: Bar | None = None) -> Hits:
        """See ``Backend.search``; exact down to the bar, behind it the best of those read."""
        check_queries(queries, self._dim)
        k = min(k, len(self._ids))
        ids = np.empty((len(queries), k), dtype=np.int64)
        scores = np.empty((len(queries), k), dtype=np.float32)
        for row, query in enumerate(queries if k else ()):
            near, exact = self._rescored(query, k, bar or _best_score)
            ids[row], scores[row] = best(near, exact, k)
        return Hits(ids, scores)

    def _rescored(self, query: FloatArray, k: int, bar: Bar) -> tuple[IdArray, FloatArray]:
        """Numbers and exact cosines of the candidates that had to be read."""
        most = self._candidates or max(
            _FIRST_READ, math.ceil(_READ_PER_ROOT * math.sqrt(len(self._ids)))
        )
        code = QueryCode.of(query)
        place, distance = self._nearest(code, max(k, most))
        last = min(max(k, _FIRST_READ), len(place)) - 1
        first = distance <= np.partition(distance, last)[last]
        ids, scores = self._read(query, place[first])
        more = ~first & (distance <= code.farthest(bar(query, ids, scores)))
        if more.any():
            others = self._read(query, place[more])
            ids, scores = np.concatenate([ids, others[0]]), np.concatenate([scores, others[1]])
        return ids, scores

    def _read(self, query: FloatArray, places: IdArray) -> tuple[IdArray, FloatArray]:
        ids = np.sort(self._ids[places])
        return ids, self.score(query, ids)

    def score(self, query: FloatArray, ids: IdArray) -> FloatArray:
        """See ``Backend.score``."""
        if not len(ids):
            return np.empty(0, dtype=np.float32)
        scores: FloatArray = self._rows(ids) @ query
        return scores

    def nearest_codes(self, query: FloatArray, count: int) -> IdArray:
        """Places of the ``count`` codes nearest to one (D,) query, unordered."""
        return self._nearest(QueryCode.of(query), count)[0]

    def _nearest(self, code: QueryCode, count: int) -> tuple[IdArray, npt.NDArray[np.uint16]]:
        count = min(count, len(self._ids))
        place, distance = self._within(code, self._first_bar(code, count))
        if len(place) < count:  # the first block lies nearer than the others
            place, distance = self._within(code, np.iinfo(np.uint16).max)
        if len(place) > count:
            nearest = np.argpartition(distance, count - 1)[:count]
            place, distance = place[nearest], distance[nearest]
        return place, distance

    def _first_bar(self, code: QueryCode, count: int) -> int:
        """A distance that about twice as many codes as are wanted lie within."""
        size = min(_BLOCK, len(self._ids))
        rank = 2 * count * size // max(len(self._ids), 1) + _SPARE
        if rank >= size:
            return int(np.iinfo(np.uint16).max)
        distances = np.empty(size, dtype=np.uint16)
        scan()(self._blocks[0], code.planes, distances)
        return int(np.partition(distances, rank)[rank])

    def _within(self, code: QueryCode, bar: int) -> tuple[IdArray, npt.NDArray[np.uint16]]:
        """Places and distances of the codes at most ``bar`` away."""
        measure, out = scan(), np.empty(_BLOCK, dtype=np.uint16)
        places, found = [np.empty(0, dtype=np.int64)], [out[:0]]
        for number, block in enumerate(self._blocks):
            distances = out[: block.shape[1]]
            measure(block, code.planes, distances)
            near = np.flatnonzero(distances <= bar)
            places.append(near + number * _BLOCK)
            found.append(distances[near])
        return np.concatenate(places), np.concatenate(found)

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


@dataclass(frozen=True, slots=True, eq=False)
class QueryCode:
    """A query's bits, and what a distance from them says about the cosine.

    Attributes:
        planes: (3, W) uint64, see ``code_scan``.
        share: (4,) float64, dimensions of each level.
        size: (4,) float64, mean of sqrt(D) |q_i| of each level.
    """

    planes: Words
    share: npt.NDArray[np.float64]
    size: npt.NDArray[np.float64]

    @classmethod
    def of(cls, query: FloatArray) -> QueryCode:
        """The code of one (D,) unit query."""
        size = np.abs(query.astype(np.float64)) * math.sqrt(len(query))
        level = np.minimum(size / _STEP, len(_LEVELS) - 1).astype(np.int64)
        planes = np.stack([query > 0, level & 1 > 0, level & 2 > 0])
        share = np.bincount(level, minlength=len(_LEVELS)).astype(np.float64)
        total = np.bincount(level, weights=size, minlength=len(_LEVELS))
        codes = np.ascontiguousarray(_codes(planes).T)
        return cls(codes, share, total / np.maximum(share, 1))

    def farthest(self, cosine: float) -> int:
        """The largest distance at which a template may still be more similar than ``cosine``.

        With x = c q + sqrt(1 - c^2) n and n isotropic, the signs agree in dimension i with
        probability Phi(t size_i), t = c / sqrt(1 - c^2). The sum S = sum_i w_i (agree - disagree)
        has a mean by that; its variance given c is at most what is left of sum_i w_i^2 once the
        part that follows the cosine is taken out.
        """
        weight, dim = np.array(_LEVELS, dtype=np.float64), float(self.share.sum())
        cosine = min(max(cosine, 0.0), 0.999)
        t = cosine / math.sqrt(1 - cosine**2)
        agree = np.array([math.erf(t * size / math.sqrt(2)) for size in self.size])
        mean = float((self.share * weight * agree).sum())
        slope = math.sqrt(2 / math.pi) * float((self.share * weight * self.size).sum())
        variance = float((self.share * weight**2).sum()) - slope**2 / dim
        total = float((self.share * weight).sum())
        reach = mean - _DEVIATIONS * math.sqrt(max(variance, 0.0))
        return math.ceil((total - reach) / 2)


def _best_score(query: FloatArray, ids: IdArray, scores: FloatArray) -> float:
    """The bar of a search for the best template."""
    del query, ids
    return float(scores.max())


def _codes(positive: npt.NDArray[np.bool_]) -> Words:
    """(W, N) words of (N, D) bits, one row of words a plane, zero bits behind the end."""
    bits = np.packbits(positive, axis=1)
    words = -(-positive.shape[1] // _WORD_BITS)
    padded = np.zeros((len(positive), words * 8), dtype=np.uint8)
    padded[:, : bits.shape[1]] = bits
    return np.ascontiguousarray(padded.view(np.uint64).T)
