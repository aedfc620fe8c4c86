"""From templates to people: person-grouped scores on top of any backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from crossface.core.types import FloatArray
from crossface.search.backends import BACKENDS
from crossface.search.backends.base import Backend, Hits, IdArray, RowReader, best

Group = Literal["max", "mean-top-k"]

TOP_K = 3
"""Templates that "mean-top-k" averages; a person with fewer is averaged over what there is."""

_FIRST_LOOK = 64
_FETCHED: dict[Group, int] = {"max": _FIRST_LOOK, "mean-top-k": 1024}
"""Templates asked of the backend at once; a mean may hide far behind its person's maximum."""


@dataclass(frozen=True, slots=True)
class PersonScore:
    """A person's number and grouped similarity."""

    person: int
    similarity: float


class PersonIndex:
    """A backend, and which template is whose.

    Args:
        backend: a name of ``BACKENDS``.
        dim: length of the vectors.
        rows: reads exact vectors from the record.

    Attributes:
        vectors: ``rows``, for those who look at single templates.
    """

    def __init__(self, backend: str, dim: int, rows: RowReader) -> None:
        self.vectors = rows
        self.backend: Backend = BACKENDS.resolve(backend)(dim, rows)
        self._ids = np.empty(0, dtype=np.int64)
        self._persons = np.empty(0, dtype=np.int32)
        self._people: int | None = 0
        self._by_person: npt.NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def ids(self) -> IdArray:
        """(N,) ascending template numbers."""
        return self._ids

    @property
    def memory_bytes(self) -> int:
        """Bytes the index holds in memory, grouping included."""
        grouping = self._ids.nbytes + self._persons.nbytes
        if self._by_person is not None:
            grouping += self._by_person.nbytes
        return self.backend.memory_bytes + grouping

    def add(self, ids: IdArray, persons: IdArray, vectors: FloatArray) -> None:
        """Add (N, D) unit rows with their (N,) numbers and persons."""
        self.backend.add(ids, vectors)
        self._people = self._by_person = None
        self._persons = np.concatenate([self._persons, persons.astype(np.int32)])
        self._ids = np.concatenate([self._ids, ids])
        if (np.diff(self._ids[-len(ids) - 1 :]) <= 0).any():
            order = np.argsort(self._ids, kind="stable")
            self._ids, self._persons = self._ids[order], self._persons[order]

    def remove(self, ids: IdArray) -> None:
        """Take (N,) templates out; those that are not in it are passed over."""
        inside = np.isin(self._ids, ids)
        self.backend.remove(self._ids[inside])
        self._people = self._by_person = None
        self._ids, self._persons = self._ids[~inside], self._persons[~inside]

    @property
    def people(self) -> int:
        """How many people have templates in the index."""
        if self._people is None:
            self._people = len(np.unique(self._persons))
        return self._people

    def persons_of(self, ids: IdArray) -> IdArray:
        """Persons of templates that are in the index, same shape."""
        return self._persons[np.searchsorted(self._ids, ids)].astype(np.int64)

    def nearest(self, queries: FloatArray, top: int, group: Group) -> list[list[PersonScore]]:
        """The ``top`` most similar people of each of (Q, D) unit queries, best first.

        The look is widened until no person outside it can enter, so with an exact backend the
        answer is exact. Others look no further than what they were asked for first, which holds
        whoever could be the first of the answer.

        Args:
            queries: (Q, D) float32 unit rows.
            top: how many people.
            group: a person's similarity is that of the best template ("max"), or the mean of the
                ``TOP_K`` best ("mean-top-k").
        """
        if not len(self._ids):
            return [[] for _ in queries]
        hits = self._search(queries, max(_FETCHED[group], 4 * top), group)
        return [
            self._answer(query, ids, scores, top, group)
            for query, ids, scores in zip(queries, hits.ids, hits.scores, strict=True)
        ]

    def _answer(
        self, query: FloatArray, ids: IdArray, scores: FloatArray, top: int, group: Group
    ) -> list[PersonScore]:
        look = max(_FIRST_LOOK, 4 * top)
        while True:
            ranked = self._ranked(query, ids[:look], scores[:look], group)
            enough = len(ranked) >= top
            # A person not seen yet has no template better than the last one seen.
            if enough and float(scores[:look][-1]) <= self._floor(
                ranked[top - 1].similarity, float(scores[0]), group
            ):
                return ranked[:top]
            if look >= len(ids):
                if len(ids) == len(self._ids) or (enough and not self.backend.exact):
                    return ranked[:top]
                hits = self._search(query[None], 4 * len(ids), group)
                ids, scores = hits.ids[0], hits.scores[0]
            look *= 4

    def _search(self, queries: FloatArray, k: int, group: Group) -> Hits:
        # A mean stays behind its person's best template, and far behind a stranger's: the search
        # goes down to the best mean, since nobody leads without a template that is above it.
        return self.backend.search(queries, k, None if group == "max" else self._best_mean)

    def _best_mean(self, query: FloatArray, ids: IdArray, scores: FloatArray) -> float:
        near, _ = best(ids, scores, _FIRST_LOOK)
        return float(self._means(query, np.unique(self.persons_of(near))).max())

    def _floor(self, similarity: float, best_seen: float, group: Group) -> float:
        """The cosine below which nobody's templates can bring them to this similarity.

        A backend that is not exact may have read only the lesser ones of a person's three: with
        one as good as the best seen, the better of the other two is at least this.
        """
        if group == "max" or self.backend.exact:
            return similarity
        return (TOP_K * similarity - best_seen) / (TOP_K - 1)

    def _ranked(
        self, query: FloatArray, ids: IdArray, scores: FloatArray, group: Group
    ) -> list[PersonScore]:
        persons, first = np.unique(self.persons_of(ids), return_index=True)
        grouped = scores[first] if group == "max" else self._means(query, persons)
        order = np.lexsort((persons, -grouped))
        return [PersonScore(int(persons[i]), float(grouped[i])) for i in order]

    def _means(self, query: FloatArray, persons: IdArray) -> FloatArray:
        mine = self._templates_of(persons)
        scores = self.backend.score(query, self._ids[mine])
        owners = np.searchsorted(persons, self._persons[mine])
        order = np.lexsort((-scores, owners))
        scores, owners = scores[order], owners[order]
        starts = np.searchsorted(owners, np.arange(len(persons)))
        rank = np.arange(len(owners)) - starts[owners]
        taken = rank < TOP_K
        sums = np.bincount(owners[taken], weights=scores[taken], minlength=len(persons))
        counts = np.bincount(owners[taken], minlength=len(persons))
        means: FloatArray = (sums / counts).astype(np.float32)
        return means

    def _templates_of(self, persons: IdArray) -> IdArray:
        """Places of the templates of people, ascending."""
        if self._by_person is None:
            self._by_person = np.argsort(self._persons, kind="stable").astype(np.int32)
        order, wanted = self._by_person, persons.astype(np.int32)
        start = np.searchsorted(self._persons, wanted, sorter=order)
        end = np.searchsorted(self._persons, wanted, side="right", sorter=order)
        parts = [order[first:last] for first, last in zip(start, end, strict=True)]
        return np.sort(np.concatenate(parts)).astype(np.int64)
