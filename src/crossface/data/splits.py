"""Splits that do not depend on the order of a set."""

from __future__ import annotations

from crossface.core.errors import DataError
from crossface.core.protocols import FaceSource
from crossface.core.seeds import derive_seed
from crossface.data.dataset import Subset


def split_by_key(source: FaceSource, *, count: int, seed: int) -> tuple[Subset, Subset]:
    """(chosen, rest): ``count`` pictures by a hash of (seed, key), stable when others are added."""
    _check(source, count, len(source), "pictures")
    order = sorted(range(len(source)), key=lambda i: derive_seed(seed, source.key(i)))
    return Subset(source, sorted(order[:count])), Subset(source, sorted(order[count:]))


def split_identities(source: FaceSource, *, count: int, seed: int) -> tuple[Subset, Subset]:
    """(chosen, rest): all pictures of ``count`` identities by a hash of (seed, identity)."""
    identities = [source.identity(i) for i in range(len(source))]
    names = sorted({name for name in identities if name is not None})
    _check(source, count, len(names), "identities")
    chosen = set(sorted(names, key=lambda name: derive_seed(seed, name))[:count])
    inside = [i for i, name in enumerate(identities) if name in chosen]
    outside = [i for i, name in enumerate(identities) if name not in chosen]
    return Subset(source, inside), Subset(source, outside)


def _check(source: FaceSource, count: int, available: int, what: str) -> None:
    if not 0 < count < available:
        raise DataError(
            f"{source.name}: expected to hold out 1 to {available - 1} {what}, got {count}"
        )
