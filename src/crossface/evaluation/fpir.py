"""How often a search for somebody who is not enrolled accepts somebody, by gallery size.

Every picture searches in turn, for people other than its own. One picture of every identity is
its gallery template. A probe whose score exceeds the threshold with K of its M possible people
raises a false alarm in a random gallery of N of them with probability
1 - C(M - K, N) / C(M, N); the FPIR is the mean over probes. It is not 1 - (1 - FMR)^N: false
matches crowd on few probes, and those spend many of them on one search.

Up to N = M the rate is counted that way. For larger galleries, at most tenfold, each probe's own
highest scores are continued by a tail: it keeps its own place, the (k + 1)-th highest score, and
shares scale and shape (``tail.Pareto``, by moments) with the other probes; with p the probability
that one person matches, the search raises an alarm with probability 1 - (1 - p)^N. A shared tail
does not know of a few look-alikes (relatives, a person under two names), so the rate is never taken
below the one that counting shows, p = K / M, which itself misses what is rarer than 1 / M.

Source: ISO/IEC 19795-1 (FPIR); the mean over probes is its definition over non-mated searches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.core.seeds import derive_seed, generator
from crossface.core.types import FloatArray
from crossface.evaluation.dyadic import Float64Array, Int64Array
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.intervals import MIN_FALSE_MATCHES, MIN_IDENTITIES, rate_interval
from crossface.evaluation.metrics import threshold_above
from crossface.evaluation.tail import DECADE, Pareto, pareto_of_moments

GROUPS = 20

_KEEP_ALL = 4_000_000
_SHARE = 0.025
_SAMPLE_ROWS = 400
_BLOCK_CELLS = 8_000_000
_TOP = 30  # highest scores of a probe that its tail continues
_TOP_SHARE = 0.05
_TOP_LEAST = 5
_OWN = np.float32(-4.0)  # below every cosine: a probe's own person is not in the gallery
_STEPS = 40


class SearchRate(NamedTuple):
    """A threshold of open-set search and its FPIR."""

    threshold: float
    fpir: Interval
    extrapolated: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Hits:
    """Scores of probes against gallery people down to ``bound``, descending."""

    scores: FloatArray
    probe: npt.NDArray[np.int32]
    person: npt.NDArray[np.int32]
    bound: float
    negated: FloatArray

    def above(self, threshold: float) -> int:
        """Number of scores at or above a threshold."""
        return int(np.searchsorted(self.negated, -np.float32(threshold), side="right"))


@dataclass(frozen=True, slots=True, eq=False)
class _Tops:
    """(P, T) each probe's highest scores, descending, and whose they are."""

    scores: FloatArray
    person: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class _ProbeTail:
    """Tails of the probes: own place, shared distribution; ``share`` lies above the place."""

    place: Float64Array
    share: float
    pareto: Pareto


class Searches:
    """All searches of a set of faces against one picture of everybody else.

    Args:
        faces: embedded faces.
        unlabelled: every picture counts as a person of its own.

    Attributes:
        n_probes: searches, one per picture.
        n_people: possible people in the gallery of a search (its own person left out).
    """

    def __init__(self, faces: EmbeddedFaces, *, unlabelled: bool) -> None:
        labels = faces.keys if unlabelled else tuple(str(name) for name in faces.identities)
        names, owner = np.unique(np.array(labels), return_inverse=True)
        self._owner: Int64Array = owner.astype(np.int64)
        self._vectors = faces.embeddings
        self._templates = self._vectors[_one_each(faces.keys, self._owner, len(names))]
        self.n_probes = len(self._owner)
        self.n_people = len(names) - 1
        wanted = min(_TOP, int(_TOP_SHARE * self.n_people))
        self._top = wanted if wanted >= _TOP_LEAST else 0
        self._hits, self._tops = self._read(self._bound())
        self._group = generator("search groups", len(names)).permutation(len(names)) % GROUPS
        self._tails = self._fit_tails()

    def why_absent(self, gallery_size: int, target: float) -> str | None:
        """Why no threshold is given for a row, or None where one is.

        Counted rows need 30 expected false alarms. A tail is followed at most tenfold: to
        galleries of ten times the people there are, and where 3 are expected.
        """
        expected = self._expected(gallery_size, target)
        least = MIN_FALSE_MATCHES / DECADE
        if gallery_size > DECADE * self.n_people:
            return (
                f"the gallery is more than ten times the {self.n_people} people a search can be "
                "made against"
            )
        if expected < least * (1 - 1e-9):
            return (
                f"{expected:.3g} false alarms are expected of {self.n_probes} searches, "
                f"at least {MIN_FALSE_MATCHES} are needed to count, {least:.0f} to extrapolate"
            )
        if not self._is_counted(gallery_size, target) and not self._top:
            return f"{self.n_people} people are too few to fit the tail of a probe"
        return None

    def rate_at(self, gallery_size: int, threshold: float, *, extrapolated: bool) -> float:
        """FPIR at a threshold, counted or by the probes' tails."""
        matches = self._matches(threshold)
        if extrapolated:
            return _modelled(self._tails[-1], matches, self.n_people, gallery_size, threshold)
        return float(alarm_table(self.n_people, gallery_size)[matches].mean())

    def point(self, gallery_size: int, target: float, *, least: float = -1.0) -> SearchRate | None:
        """The lowest threshold whose FPIR does not exceed a target.

        Args:
            gallery_size: people in the gallery.
            target: FPIR; ``why_absent`` must be None.
            least: a threshold known to be needed (by a smaller gallery, say).

        Returns:
            None where no threshold up to 1 is high enough.
        """
        extrapolated = not self._is_counted(gallery_size, target)
        self._widen(gallery_size, target, extrapolated=extrapolated)
        if extrapolated:
            threshold = self._solve(gallery_size, target)
        else:
            threshold = self._lowest(gallery_size, target)
        if threshold > 1.0:
            return None
        threshold = max(threshold, least)
        limits = self._limits(gallery_size, threshold, extrapolated=extrapolated)
        return SearchRate(threshold, limits, extrapolated)

    def _expected(self, gallery_size: int, target: float) -> float:
        return target * self.n_probes * min(1.0, self.n_people / gallery_size)

    def _is_counted(self, gallery_size: int, target: float) -> bool:
        enough = self._expected(gallery_size, target) >= MIN_FALSE_MATCHES * (1 - 1e-9)
        return gallery_size <= self.n_people and enough

    def _bound(self) -> float:
        if self.n_probes * self.n_people <= _KEEP_ALL:
            return -2.0
        rows = generator("search tail", self.n_probes).choice(
            self.n_probes, min(_SAMPLE_ROWS, self.n_probes), replace=False
        )
        return float(np.quantile(self._vectors[rows] @ self._templates.T, 1 - _SHARE))

    def _widen(self, gallery_size: int, target: float, *, extrapolated: bool) -> None:
        """Read more scores if the target lies below the kept ones: rare."""
        bound = self._hits.bound
        while (
            bound > -1.0 and self.rate_at(gallery_size, bound, extrapolated=extrapolated) <= target
        ):
            bound -= 0.05
            self._hits, self._tops = self._read(bound)

    def _read(self, bound: float) -> tuple[_Hits, _Tops]:
        width = min(2 * (self._top + 1), self.n_people)
        scores, probe, person, tops, owners = [], [], [], [], []
        for start, block in self._blocks():
            row, column = np.nonzero(block >= max(bound, -2.0))
            scores.append(block[row, column])
            probe.append((row + start).astype(np.int32))
            person.append(column.astype(np.int32))
            if self._top:
                best = np.argpartition(-block, width - 1, axis=1)[:, :width]
                value = np.take_along_axis(block, best, axis=1)
                order = np.argsort(-value, axis=1, kind="stable")
                tops.append(np.take_along_axis(value, order, axis=1))
                owners.append(np.take_along_axis(best, order, axis=1).astype(np.int32))
        joined = np.concatenate(scores)
        order = np.argsort(-joined, kind="stable")
        ranked = joined[order]
        hits = _Hits(
            ranked, np.concatenate(probe)[order], np.concatenate(person)[order], bound, -ranked
        )
        if not self._top:
            empty = np.empty((self.n_probes, 0))
            return hits, _Tops(empty.astype(np.float32), empty.astype(np.int32))
        return hits, _Tops(np.concatenate(tops), np.concatenate(owners))

    def _blocks(self) -> Iterator[tuple[int, FloatArray]]:
        rows = max(_BLOCK_CELLS // max(self.n_people, 1), 16)
        for start in range(0, self.n_probes, rows):
            stop = min(start + rows, self.n_probes)
            block = self._vectors[start:stop] @ self._templates.T
            block[np.arange(stop - start), self._owner[start:stop]] = _OWN
            yield start, block

    def _matches(
        self, threshold: float, keep: Callable[[Int64Array], npt.NDArray[np.bool_]] | None = None
    ) -> Int64Array:
        """(P,) gallery people each probe matches; of those whose number ``keep`` accepts."""
        count = self._hits.above(threshold)
        probe = self._hits.probe[:count]
        if keep is not None:
            probe = probe[keep(self._hits.person[:count].astype(np.int64))]
        return np.bincount(probe, minlength=self.n_probes).astype(np.int64)

    def _lowest(self, gallery_size: int, target: float) -> float:
        """Bisection over how many of the highest scores are accepted."""
        table = alarm_table(self.n_people, gallery_size)
        probe, low, high = self._hits.probe, 0, len(self._hits.scores)
        while low < high:
            middle = (low + high + 1) // 2
            counts = np.bincount(probe[:middle], minlength=self.n_probes)
            if float(table[counts].mean()) <= target:
                low = middle
            else:
                high = middle - 1
        if low == len(self._hits.scores):
            return -1.0
        return threshold_above(self._hits.scores[low])

    def _fit_tails(self) -> list[_ProbeTail]:
        """The probes' tails without each twentieth of the people, and last with everybody."""
        if not self._top:
            return []
        tails = []
        for out in (self._group == g for g in range(GROUPS)):
            probes = ~out[self._owner]
            tops, owner = self._tops.scores[probes], self._tops.person[probes]
            left = -np.sort(-np.where(out[owner], _OWN, tops), axis=1)
            tails.append(self._tail(np.maximum(left, -1.0), int(np.sum(~out)) - 1))
        return [*tails, self._tail(self._tops.scores, self.n_people)]

    def _tail(self, tops: FloatArray, people: int) -> _ProbeTail:
        values = tops[:, : self._top + 1].astype(np.float64)
        excess = values[:, :-1] - values[:, -1:]
        spread = max(float(excess.var()), 1e-12)
        mean = max(float(excess.mean()), 1e-6)
        return _ProbeTail(values[:, -1], self._top / people, pareto_of_moments(mean, spread))

    def _solve(self, gallery_size: int, target: float) -> float:
        low, high = self._hits.bound, 1.0
        if self.rate_at(gallery_size, high, extrapolated=True) > target:
            return math.inf
        for _ in range(_STEPS):
            middle = (low + high) / 2
            if self.rate_at(gallery_size, middle, extrapolated=True) <= target:
                high = middle
            else:
                low = middle
        return max(high, -1.0)

    def _limits(self, gallery_size: int, threshold: float, *, extrapolated: bool) -> Interval:
        """Interval by leaving out a twentieth of the people at a time, probes and gallery both."""
        value = self.rate_at(gallery_size, threshold, extrapolated=extrapolated)
        units = self.n_people + 1
        if units < max(MIN_IDENTITIES, 2 * GROUPS):
            reason = f"an interval needs {2 * GROUPS} people, there are {units}"
            return Interval(value=value, reason=reason)
        values = np.array(
            [
                self._without(g, gallery_size, threshold, extrapolated=extrapolated)
                for g in range(GROUPS)
            ]
        )
        variance = (GROUPS - 1) / GROUPS * float(np.sum((values - values.mean()) ** 2))
        return rate_interval(
            value,
            variance,
            df=GROUPS - 1,
            trials=self.n_probes,
            units=units,
            errors=None if extrapolated else round(value * self.n_probes),
        )

    def _without(
        self, group: int, gallery_size: int, threshold: float, *, extrapolated: bool
    ) -> float:
        """FPIR without a twentieth of the people, at the same threshold."""
        out = self._group == group
        people = int(np.sum(~out)) - 1
        matches = self._matches(threshold, keep=lambda person: ~out[person])[~out[self._owner]]
        if extrapolated:
            return _modelled(self._tails[group], matches, people, gallery_size, threshold)
        return float(alarm_table(people, min(gallery_size, people))[matches].mean())


def alarm_table(people: int, gallery_size: int) -> Float64Array:
    """(people + 1,) probability that a random gallery holds one of K matching people.

    Args:
        people: M, possible people.
        gallery_size: N <= M of them are enrolled, every choice equally likely.

    Returns:
        1 - C(M - K, N) / C(M, N) for K = 0..M.
    """
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, people + 1)))])
    left = people - np.arange(people + 1)
    table = np.ones(people + 1)
    possible = left >= gallery_size
    rest = left[possible]
    none = log[rest] - log[rest - gallery_size] - log[people] + log[people - gallery_size]
    table[possible] = -np.expm1(np.minimum(none, 0.0))
    return table


def _modelled(
    tail: _ProbeTail, matches: Int64Array, people: int, gallery_size: int, threshold: float
) -> float:
    """FPIR by the probes' tails, not below the one that their ``matches`` show."""
    above = tail.share * tail.pareto.survival(threshold - tail.place)
    single = np.where(threshold >= tail.place, above, matches / people)
    modelled = -np.expm1(gallery_size * np.log1p(-np.minimum(single, 1 - 1e-12)))
    if gallery_size <= people:
        seen = alarm_table(people, gallery_size)[matches]
    else:
        seen = -np.expm1(gallery_size * np.log1p(-np.minimum(matches / people, 1 - 1e-12)))
    return max(float(modelled.mean()), float(seen.mean()))


def _one_each(keys: tuple[str, ...], owner: Int64Array, count: int) -> Int64Array:
    """(G,) the picture of each person that is enrolled: that of the smallest hash of its key."""
    hashes = np.array([derive_seed("template", key) for key in keys], dtype=np.int64)
    order = np.lexsort((hashes, owner))
    first = np.searchsorted(owner[order], np.arange(count))
    return np.asarray(order[first], dtype=np.int64)
