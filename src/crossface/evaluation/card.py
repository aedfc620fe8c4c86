"""A threshold card from embedded faces: only the rows that the data supports."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crossface.core.card import (
    AbsentPoint,
    Interval,
    OperatingPoint,
    SearchPoint,
    ThresholdCard,
)
from crossface.core.errors import DataError
from crossface.core.vectors import cosine
from crossface.evaluation.dyadic import (
    Float64Array,
    Impostors,
    delete_one,
    fmr_at,
    fnmr_at,
    genuine_sums,
    rate,
)
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.fpir import Searches
from crossface.evaluation.halves import take
from crossface.evaluation.intervals import MIN_FALSE_MATCHES, too_few_false_matches
from crossface.evaluation.metrics import false_matches_allowed, threshold_above
from crossface.evaluation.scores import ScoreTable, score_all_pairs
from crossface.evaluation.tail import FittedTail, reachable

FMR_TARGETS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
GALLERY_SIZES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
FPIR_TARGETS = (1e-1, 1e-2, 1e-3)
KeyPair = tuple[str, str]

NO_IDENTITIES = "the faces have no identities, so no comparison is known to be genuine"
_NO_GALLERY = "a list of pairs holds no searches of a probe against a gallery"


@dataclass(frozen=True, slots=True, eq=False)
class _Measured:
    """The comparisons of a card; ``table`` is None for a list of impostor pairs."""

    impostors: Impostors
    table: ScoreTable | None
    searches: Searches | None
    labelled: bool
    protocol: str


def make_card(
    faces: EmbeddedFaces,
    *,
    groups: Mapping[str, str] | None = None,
    date: str | None = None,
    impostor_pairs: Sequence[KeyPair] | None = None,
    fmr_targets: Sequence[float] = FMR_TARGETS,
    gallery_sizes: Sequence[int] = GALLERY_SIZES,
    fpir_targets: Sequence[float] = FPIR_TARGETS,
) -> ThresholdCard:
    """Choose thresholds on a set of faces and say how sure they are.

    A threshold is counted where at least 30 false matches are expected, read from a fitted tail
    (``evaluation.tail``) at most tenfold below that and then marked ``extrapolated``, and else
    absent with the reason. Without identities every pair of pictures is taken for an impostor
    comparison, or the pairs given; FNMR is then null.

    Args:
        faces: embedded faces, all with identities or all without.
        groups: group of each picture by key; pictures that are missing belong to none.
        date: ISO 8601; today by default.
        impostor_pairs: keys of pairs of different people, in place of all pairs.
        fmr_targets: FMRs of the rows.
        gallery_sizes: sizes of the FPIR rows.
        fpir_targets: FPIRs of the FPIR rows.

    Raises:
        DataError: if some faces have identities and others not, a key is not among the faces, or
            there is nothing to compare.
    """
    measured = _measure(faces, impostor_pairs)
    points, absent = _points(measured, sorted(fmr_targets, reverse=True))
    searches, unsearched = _searches(measured, sorted(gallery_sizes), fpir_targets)
    table = measured.table
    return ThresholdCard(
        contract_id=faces.contract.contract_id,
        model_id=faces.contract.model_id,
        protocol=measured.protocol,
        data=faces.source_name,
        data_digest=faces.source_digest,
        date=date or datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        flip=faces.flip,
        n_images=len(faces.keys),
        n_identities=len(table.identities) if table is not None and measured.labelled else None,
        n_impostor=measured.impostors.total,
        n_genuine=0 if table is None else len(table.genuine),
        operating_points=tuple(points),
        fpir_by_gallery_size=searches,
        groups={} if groups is None else _groups(faces, groups, points, labelled=measured.labelled),
        absent=(*absent, *unsearched),
        notes=tuple(_notes(measured, points)),
    )


def key_scores(
    faces: EmbeddedFaces, pairs: Sequence[KeyPair], *, list_name: str = "pair list"
) -> Impostors:
    """Similarities of listed impostor pairs; pictures are the units.

    Pairs with a picture that was not acquired are left out.

    Raises:
        DataError: naming a key that is not among the faces, a pair of one picture with itself, or
            if no pair is left.
    """
    place = {key: number for number, key in enumerate(faces.keys)}
    failed = {failure.name for failure in faces.failures}
    first, second = [], []
    for a, b in pairs:
        for key in (a, b):
            if key not in place and key not in failed:
                raise DataError(f"{list_name}: {key!r} is not among {faces.source_name}'s faces")
        if a == b:
            raise DataError(f"{list_name}: expected two pictures, got {a!r} twice")
        if a in place and b in place:
            first.append(place[a])
            second.append(place[b])
    if not first:
        raise DataError(f"{list_name}: no impostor pair has both pictures acquired")
    i, j = np.array(first, dtype=np.int64), np.array(second, dtype=np.int64)
    return Impostors.of_list(cosine(faces.embeddings[i], faces.embeddings[j]), i, j)


def has_identities(faces: EmbeddedFaces) -> bool:
    """Whether every picture has an identity.

    Raises:
        DataError: if some have one and others not.
    """
    named = sum(identity is not None for identity in faces.identities)
    if 0 < named < len(faces.identities):
        raise DataError(
            f"{faces.source_name}: expected an identity for every picture or for none, "
            f"{len(faces.identities) - named} of {len(faces.identities)} have none"
        )
    return named > 0


def _measure(faces: EmbeddedFaces, pairs: Sequence[KeyPair] | None) -> _Measured:
    labelled = has_identities(faces)
    if pairs is not None:
        listed = key_scores(faces, pairs, list_name="impostor pairs")
        return _Measured(listed, None, None, False, "impostor pairs of a list")
    table = score_all_pairs(faces, unlabelled=not labelled)
    unit_name = "identities" if labelled else "pictures"
    protocol = "all-pairs" if labelled else "all-pairs, every pair impostor by assumption"
    return _Measured(
        Impostors.of_table(table, unit_name=unit_name),
        table,
        Searches(faces, unlabelled=not labelled),
        labelled,
        protocol,
    )


def _fnmr(measured: _Measured, threshold: float) -> Interval:
    if measured.table is None:
        return Interval(value=None, reason="a list of impostor pairs holds no genuine comparison")
    if not measured.labelled:
        return Interval(value=None, reason=NO_IDENTITIES)
    return fnmr_at(measured.table, threshold)


def _points(
    measured: _Measured, targets: Sequence[float]
) -> tuple[list[OperatingPoint], list[AbsentPoint]]:
    points: list[OperatingPoint] = []
    absent: list[AbsentPoint] = []
    for target in targets:
        reason = too_few_false_matches(target, measured.impostors.total)
        found: OperatingPoint | str
        found = _counted(measured, target) if reason is None else _fitted(measured, target, reason)
        if isinstance(found, str):
            absent.append(AbsentPoint(fmr_target=target, reason=found))
        else:
            points.append(found)
    return points, absent


def _counted(measured: _Measured, target: float) -> OperatingPoint | str:
    impostors = measured.impostors
    allowed = false_matches_allowed(target, impostors.total)
    threshold = threshold_above(impostors.tail[allowed])
    if threshold > 1.0:
        return f"more than {target:g} of the impostor comparisons have similarity 1"
    return OperatingPoint(
        fmr_target=target,
        threshold=threshold,
        fmr=fmr_at(impostors, threshold),
        fnmr=_fnmr(measured, threshold),
    )


def _fitted(measured: _Measured, target: float, reason: str) -> OperatingPoint | str:
    impostors = measured.impostors
    supported = MIN_FALSE_MATCHES / impostors.total
    if not reachable(target, supported):
        return f"{reason}; a tail is followed at most tenfold, here to {supported / 10:.2g}"
    try:
        tail = FittedTail(impostors)
    except ValueError as error:
        return f"{reason}; {error}"
    point = tail.point(target)
    counted = threshold_above(impostors.tail[MIN_FALSE_MATCHES])
    threshold = max(point.threshold, counted)
    if not threshold <= 1.0 or not np.isfinite(point.high):
        return f"{reason}; the fitted tail passes similarity 1 before it"
    return OperatingPoint(
        fmr_target=target,
        threshold=threshold,
        fmr=Interval(
            value=tail.fmr(threshold),
            low=point.fmr_low,
            high=min(point.fmr_high, 1.0),
            reason=(
                f"by a generalised Pareto tail of shape {tail.pareto.shape:.2f} fitted to the "
                f"highest {tail.count} similarities"
            ),
        ),
        fnmr=_fnmr(measured, threshold),
        extrapolated=True,
    )


def _searches(
    measured: _Measured, sizes: Sequence[int], targets: Sequence[float]
) -> tuple[dict[int, tuple[SearchPoint, ...]], list[AbsentPoint]]:
    rows: dict[int, list[SearchPoint]] = {size: [] for size in sizes}
    absent: list[AbsentPoint] = []
    for target in targets:
        least = -1.0  # a larger gallery never needs a lower threshold
        for size in sizes:
            found = _search(measured, size, target, least)
            if isinstance(found, str):
                absent.append(AbsentPoint(gallery_size=size, fpir_target=target, reason=found))
            else:
                rows[size].append(found)
                least = found.threshold
    return {size: tuple(points) for size, points in rows.items() if points}, absent


def _search(measured: _Measured, size: int, target: float, least: float) -> SearchPoint | str:
    if measured.searches is None:
        return _NO_GALLERY
    reason = measured.searches.why_absent(size, target)
    if reason is not None:
        return reason
    found = measured.searches.point(size, target, least=least)
    if found is None:
        return "no similarity up to 1 is high enough"
    return SearchPoint(
        gallery_size=size,
        fpir_target=target,
        threshold=found.threshold,
        fpir=found.fpir,
        fnmr=_fnmr(measured, found.threshold),
        extrapolated=found.extrapolated,
    )


def _groups(
    faces: EmbeddedFaces,
    groups: Mapping[str, str],
    points: Sequence[OperatingPoint],
    *,
    labelled: bool,
) -> dict[str, tuple[OperatingPoint, ...]]:
    of_picture = np.array([groups.get(key, "") for key in faces.keys])
    names = sorted(set(of_picture.tolist()) - {""})
    if not names:
        raise DataError(f"{faces.source_name}: none of its pictures is in the groups file")
    return {
        name: tuple(_at_common(take(faces, of_picture == name), points, labelled=labelled))
        for name in names
    }


def _at_common(
    faces: EmbeddedFaces, points: Sequence[OperatingPoint], *, labelled: bool
) -> list[OperatingPoint]:
    """The rows of one group: other rates, the same thresholds."""
    rates = GroupRates(
        faces, labelled=labelled, floor=min((p.threshold for p in points), default=1)
    )
    return [
        OperatingPoint(
            fmr_target=point.fmr_target,
            threshold=point.threshold,
            fmr=rates.fmr(point.threshold),
            fnmr=rates.fnmr(point.threshold),
            extrapolated=point.extrapolated,
        )
        for point in points
    ]


class GroupRates:
    """Error rates of all comparisons inside a group, at thresholds that are given.

    Args:
        faces: the group's.
        labelled: whether identities are known; else all comparisons are taken for impostors'.
        floor: the lowest threshold that will be asked for.

    Attributes:
        impostors: the group's impostor comparisons; None if there is none.
        n_identities: people in the group, pictures where identities are not known.
        labelled: whether identities are known.
    """

    def __init__(self, faces: EmbeddedFaces, *, labelled: bool, floor: float) -> None:
        people = len(set(faces.identities)) if labelled else len(faces.keys)
        self.n_identities = people
        self._genuine = labelled and people < len(faces.keys)
        self.labelled = labelled
        self.impostors: Impostors | None = None
        self._table: ScoreTable | None = None
        if people > 1:
            self._table = score_all_pairs(faces, unlabelled=not self._genuine, floor=floor)
            unit_name = "identities" if labelled else "pictures"
            self.impostors = Impostors.of_table(self._table, unit_name=unit_name)

    @property
    def n_genuine(self) -> int:
        """Genuine comparisons."""
        return 0 if self._table is None else len(self._table.genuine)

    def fmr(self, threshold: float) -> Interval:
        """FMR inside the group."""
        if self.impostors is None:
            reason = f"the group has {self.n_identities} identities: nobody to be mistaken for"
            return Interval(value=None, reason=reason)
        return fmr_at(self.impostors, threshold)

    def fnmr(self, threshold: float) -> Interval:
        """FNMR inside the group."""
        if not self.labelled:
            return Interval(value=None, reason=NO_IDENTITIES)
        if self._table is None:
            reason = f"the group has {self.n_identities} identities, too few to compare"
            return Interval(value=None, reason=reason)
        return fnmr_at(self._table, threshold)

    def genuine_sums(self, threshold: float) -> Float64Array | None:
        """(G, 2) misses and genuine comparisons of each identity; None if there are none."""
        return genuine_sums(self._table, threshold) if self._table and self.n_genuine else None

    def fnmr_variance(self, threshold: float) -> float:
        """Sampling variance of the FNMR; 0 where there is no genuine comparison."""
        sums = self.genuine_sums(threshold)
        return 0.0 if sums is None else delete_one(rate, sums.sum(axis=0), sums).variance


def _notes(measured: _Measured, points: Sequence[OperatingPoint]) -> list[str]:
    notes = ["FMR and FNMR are rates among pictures that could be embedded"]
    if not measured.labelled and measured.table is not None:
        notes.append(
            "people with several pictures among them would count as false matches: the FMRs are "
            "upper bounds as far as the faces are not all of different people"
        )
    if measured.searches is not None:
        notes.append(
            "galleries hold one template of each person, drawn at random among "
            f"{measured.searches.n_people}; FPIR is the mean over {measured.searches.n_probes} "
            "searches, extrapolated rows by each probe's own tail"
        )
    if any(point.extrapolated for point in points):
        notes.append(
            "extrapolated rows follow a fitted tail at most tenfold below the last FMR counted"
        )
    return notes
