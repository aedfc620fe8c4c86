"""A pair list and embedded faces to scores, and the statistics of a pair list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.vectors import cosine
from crossface.evaluation import metrics
from crossface.evaluation.embed import EmbeddedFaces

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class PairLike(Protocol):
    """One comparison of a pair list (``data.formats.pair_list.Pair``)."""

    @property
    def fold(self) -> int:
        """Fold it belongs to."""
        ...

    @property
    def a(self) -> str:
        """Key of the first picture."""
        ...

    @property
    def b(self) -> str:
        """Key of the second picture."""
        ...

    @property
    def same(self) -> bool:
        """Whether both show one person."""
        ...


class PairListLike(Protocol):
    """A pair list (``data.formats.pair_list.PairList``)."""

    @property
    def pairs(self) -> Sequence[PairLike]:
        """The comparisons."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """Comparisons of a pair list whose two pictures were acquired.

    Attributes:
        scores: (N,) float32 similarities.
        same: (N,) whether the pair is genuine.
        folds: (N,) fold of each pair.
        a: (N,) int64 identity of the first picture, 0..G-1.
        b: (N,) int64 identity of the second; equal to ``a`` exactly where ``same``.
        n_lost: pairs left out since a picture was not acquired.
    """

    scores: npt.NDArray[np.float32]
    same: BoolArray
    folds: Int64Array
    a: Int64Array
    b: Int64Array
    n_lost: int

    @property
    def n_identities(self) -> int:
        """Identities that take part."""
        return len(np.union1d(self.a, self.b))


def score_pairs(
    faces: EmbeddedFaces,
    pairs: PairListLike,
    *,
    list_name: str,
    probes: EmbeddedFaces | None = None,
) -> PairScores:
    """Similarity of every pair of a list.

    Identities are the source's where it has labels; pictures of a genuine pair are one person in
    any case, so an unlabelled set is grouped by its genuine pairs.

    Args:
        faces: embedded faces.
        pairs: the list; its keys are the source's.
        list_name: what to call the list in errors.
        probes: the same pictures in the same order embedded by another model of the same space;
            the second picture of every pair is taken from it.

    Raises:
        DataError: naming the first key that the source does not have, or if no genuine or no
            impostor pair is left.
    """
    place = {key: index for index, key in enumerate(faces.keys)}
    failed = {failure.name for failure in faces.failures}
    kept, lost = [], 0
    for pair in pairs.pairs:
        for key in (pair.a, pair.b):
            if key not in place and key not in failed:
                raise DataError(
                    f"{list_name}: {key!r} is not among the faces of {faces.source_name}"
                )
        if pair.a in failed or pair.b in failed:
            lost += 1
        else:
            kept.append(pair)
    same = np.array([pair.same for pair in kept], dtype=bool)
    if not same.any() or same.all():
        raise DataError(
            f"{list_name}: expected genuine and impostor pairs, "
            f"got {int(same.sum())} and {int((~same).sum())} with both pictures acquired"
        )
    first = np.array([place[pair.a] for pair in kept])
    second = np.array([place[pair.b] for pair in kept])
    identity = _identities(faces, first[same], second[same])
    _, numbers = np.unique(identity[np.concatenate([first, second])], return_inverse=True)
    return PairScores(
        scores=cosine(faces.embeddings[first], (probes or faces).embeddings[second]),
        same=same,
        folds=np.array([pair.fold for pair in kept], dtype=np.int64),
        a=numbers[: len(kept)].astype(np.int64),
        b=numbers[len(kept) :].astype(np.int64),
        n_lost=lost,
    )


class PairStatistics:
    """The statistics of a pair list as one vector, over any part of its comparisons.

    Called with an (N,) mask it gives the k-fold accuracy, AUC, EER and the TAR at each target FMR
    in the order of ``names``, every threshold chosen anew; NaN where one is undefined.

    Args:
        pairs: the comparisons.
        fmr_targets: FMRs for the TAR.
    """

    def __init__(self, pairs: PairScores, fmr_targets: Sequence[float]) -> None:
        self._pairs = pairs
        self._targets = tuple(fmr_targets)

    def __call__(self, mask: BoolArray) -> Float64Array:
        """The statistics over the comparisons of a mask."""
        pairs = self._pairs
        scores, same, folds = pairs.scores[mask], pairs.same[mask], pairs.folds[mask]
        values = np.full(3 + len(self._targets), np.nan)
        genuine, impostor = scores[same], scores[~same]
        if not len(genuine) or not len(impostor):
            return values
        if len(np.unique(folds)) > 1:
            values[0] = metrics.kfold_accuracy(scores, same, folds).value
        values[1] = metrics.auc(genuine, impostor)
        values[2] = metrics.eer(genuine, impostor).value
        values[3:] = [metrics.tar_at_fmr(genuine, impostor, target) for target in self._targets]
        return values

    def of_all(self) -> Float64Array:
        """Over all comparisons."""
        return self(np.ones(len(self._pairs.scores), dtype=bool))


def _identities(faces: EmbeddedFaces, first: Int64Array, second: Int64Array) -> Int64Array:
    """(N,) number of each picture's person: its label's, joined along genuine pairs."""
    labels: dict[str, int] = {}
    parent = list(range(len(faces.keys)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for index, label in enumerate(faces.identities):
        if label is not None:
            parent[index] = labels.setdefault(label, index)
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        parent[root(i)] = root(j)
    return np.array([root(index) for index in range(len(parent))], dtype=np.int64)
