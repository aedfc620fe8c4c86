"""What a pair list may have wrong without being unreadable: said in the report, never silent."""

from __future__ import annotations

from collections import Counter

from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.pair_scores import PairListLike

_SHOWN = 3


def pair_warnings(
    pairs: PairListLike, faces: EmbeddedFaces, *, disjoint_folds: bool = True
) -> list[str]:
    """One sentence for each kind of defect of a list.

    Args:
        pairs: the list.
        faces: what it compares; its identities are believed.
        disjoint_folds: whether no person may stand in two folds, as in LFW's view 2.

    Returns:
        Sentences with the number of cases and the first of them; empty for a clean list.
    """
    identity = dict(zip(faces.keys, faces.identities, strict=True))
    found = [
        _repeated(pairs),
        _with_itself(pairs),
        *_against_labels(pairs, identity),
        *_one_sided(pairs),
    ]
    if disjoint_folds:
        found.append(_shared_people(pairs, identity))
    return [sentence for sentence in found if sentence]


def _repeated(pairs: PairListLike) -> str:
    folds: dict[tuple[str, str], list[int]] = {}
    for pair in pairs.pairs:
        folds.setdefault((min(pair.a, pair.b), max(pair.a, pair.b)), []).append(pair.fold)
    twice = {pair: of for pair, of in folds.items() if len(of) > 1}
    if not twice:
        return ""
    across = sum(len(set(of)) > 1 for of in twice.values())
    first = next(iter(twice))
    return (
        f"{len(twice)} pairs stand in the list more than once, {across} of them in several folds, "
        f"first {first[0]} with {first[1]}: accuracy over folds then tests on what it was tuned on"
    )


def _with_itself(pairs: PairListLike) -> str:
    same = [pair.a for pair in pairs.pairs if pair.a == pair.b]
    return f"{len(same)} pairs compare a picture with itself, first {same[0]}" if same else ""


def _against_labels(pairs: PairListLike, identity: dict[str, str | None]) -> list[str]:
    wrong: dict[bool, list[str]] = {True: [], False: []}
    for pair in pairs.pairs:
        a, b = identity.get(pair.a), identity.get(pair.b)
        if a is not None and b is not None and (a == b) != pair.same:
            wrong[pair.same].append(f"{pair.a} with {pair.b}")
    said = {True: "genuine, the folders say two people", False: "impostor, the folders say one"}
    return [
        f"{len(cases)} pairs are listed as {said[kind]}: first {cases[0]}"
        for kind, cases in wrong.items()
        if cases
    ]


def _one_sided(pairs: PairListLike) -> list[str]:
    kinds = Counter((pair.fold, pair.same) for pair in pairs.pairs)
    folds = sorted({fold for fold, _ in kinds})
    said = []
    for same, name in ((True, "genuine"), (False, "impostor")):
        bare = [fold for fold in folds if not kinds[fold, same]]
        if bare and len(folds) > 1:
            said.append(f"folds without {name} pairs: {_some([str(fold) for fold in bare])}")
    return said


def _shared_people(pairs: PairListLike, identity: dict[str, str | None]) -> str:
    folds: dict[str, set[int]] = {}
    for pair in pairs.pairs:
        for key in (pair.a, pair.b):
            person = identity.get(key)
            if person is not None:
                folds.setdefault(person, set()).add(pair.fold)
    shared = sorted(person for person, of in folds.items() if len(of) > 1)
    if not shared:
        return ""
    return (
        f"{len(shared)} people stand in several folds, where folds should share nobody: "
        f"{_some(shared)}"
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
