"""How well groups of faces fit the people: pairwise and B-cubed precision, recall and F."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError


class Agreement(NamedTuple):
    """Precision, recall and their harmonic mean, each in [0, 1]."""

    precision: float
    recall: float
    f: float


def pairwise_agreement(found: npt.ArrayLike, truth: npt.ArrayLike) -> Agreement:
    """Over pairs of faces: of those put together, how many belong together, and the reverse.

    Args:
        found: (N,) group of each face.
        truth: (N,) person of each face.

    Returns:
        Precision is 1 where no two faces were put together, recall where no two belong together.

    Raises:
        DataError: if the lengths differ or there is no face.
    """
    table = _contingency(found, truth)
    together = _pairs(table)
    precision = _share(together, _pairs(table.sum(axis=1)))
    recall = _share(together, _pairs(table.sum(axis=0)))
    return Agreement(precision, recall, _harmonic(precision, recall))


def b_cubed(found: npt.ArrayLike, truth: npt.ArrayLike) -> Agreement:
    """Mean over faces: how pure is its group, and how much of its person is in it.

    Args:
        found: (N,) group of each face.
        truth: (N,) person of each face.

    Raises:
        DataError: if the lengths differ or there is no face.

    Paper: Bagga and Baldwin, ACL 1998. Deviation: none.
    """
    table = _contingency(found, truth)
    squares = table.astype(np.float64) ** 2
    total = table.sum()
    precision = float((squares / table.sum(axis=1, keepdims=True)).sum() / total)
    recall = float((squares / table.sum(axis=0, keepdims=True)).sum() / total)
    return Agreement(precision, recall, _harmonic(precision, recall))


def _contingency(found: npt.ArrayLike, truth: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """(groups, people) number of faces."""
    a, b = np.asarray(found), np.asarray(truth)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise DataError(
            f"groups and people must be two lists of one length, got {a.shape} and {b.shape}"
        )
    rows, columns = (np.unique(x, return_inverse=True)[1] for x in (a, b))
    table = np.zeros((rows.max() + 1, columns.max() + 1), dtype=np.int64)
    np.add.at(table, (rows, columns), 1)
    return table


def _pairs(counts: npt.NDArray[np.int64]) -> int:
    return int((counts * (counts - 1) // 2).sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
