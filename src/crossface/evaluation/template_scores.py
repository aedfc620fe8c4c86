"""A published list of template pairs to the table of its comparisons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.pair_scores import people_of
from crossface.evaluation.template_pairs import PairTable, pair_table, score_index_pairs

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredTemplates:
    """The comparisons of a list of template pairs.

    Attributes:
        table: of the comparisons that were made.
        n_lost: pairs left out since a template was not acquired.
        n_contradicted: pairs listed as impostor and left out, since both templates show one
            subject by its label or by genuine pairs.
    """

    table: PairTable
    n_lost: int
    n_contradicted: int


def score_template_pairs(
    templates: EmbeddedFaces, first: Int64Array, second: Int64Array, same: BoolArray
) -> ScoredTemplates:
    """Compare every pair of templates of a list.

    A template's person is its identity where known; templates of a genuine pair are one person in
    any case, and a template of which nothing is known stands for a person of its own.

    Args:
        templates: pooled templates.
        first: (N,) row of the first template of each pair, -1 where it was not acquired.
        second: (N,) row of the second.
        same: (N,) whether the pair is genuine.

    Raises:
        DataError: if no genuine or no impostor pair is left.
    """
    kept = (first >= 0) & (second >= 0)
    n_lost = int((~kept).sum())
    first, second, same = first[kept], second[kept], same[kept]
    person = people_of(templates.identities, first[same], second[same])
    contradicted = (person[first] == person[second]) & ~same
    if contradicted.any():
        first, second, same = (part[~contradicted] for part in (first, second, same))
    if not same.any() or same.all():
        raise DataError(
            f"{templates.source_name}: expected genuine and impostor pairs of templates, "
            f"got {int(same.sum())} and {int((~same).sum())} with both templates acquired"
        )
    people, sides = np.unique(person, return_inverse=True)
    taking_part = np.zeros(len(people), dtype=bool)
    taking_part[sides[first]] = taking_part[sides[second]] = True
    number = np.cumsum(taking_part) - 1
    names = tuple(str(people[place]) for place in np.flatnonzero(taking_part))
    table = pair_table(
        score_index_pairs(templates.embeddings, first, second),
        number[sides[first]],
        number[sides[second]],
        names,
    )
    return ScoredTemplates(table, n_lost, int(contradicted.sum()))
