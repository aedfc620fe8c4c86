"""Splits that stay what they are when a set grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from crossface.core.errors import ConfigError, DataError
from crossface.core.protocols import FaceSource
from crossface.core.seeds import derive_seed
from crossface.data.dataset import Subset, identities_of

_RANGE = 2.0**63


class Split(NamedTuple):
    """Two parts of one source without a picture in common."""

    rest: Subset
    held_out: Subset


def split_by_key(
    source: FaceSource,
    *,
    fraction: float | None = None,
    count: int | None = None,
    seed: int,
) -> Split:
    """Hold out pictures at random, by a hash of (seed, key).

    With ``fraction`` a picture never changes sides when others are added or removed. With
    ``count`` exactly that many are held out, those of the smallest hashes, so an added picture
    moves at most one other.

    Args:
        source: any set; unlabelled ones are meant.
        fraction: expected part that is held out, in (0, 1).
        count: exact number that is held out.
        seed: another seed, another split.

    Raises:
        ConfigError: unless exactly one of ``fraction`` and ``count`` is given, within range.
    """
    keys = [source.key(index) for index in range(len(source))]
    chosen = _choose(keys, fraction, count, lambda key: derive_seed(seed, "split", key))
    return _split(source, [key in chosen for key in keys])


def split_by_identity(
    source: FaceSource,
    *,
    fraction: float | None = None,
    count: int | None = None,
    seed: int,
) -> Split:
    """Hold out whole identities, by a hash of (seed, identity): no person is on both sides.

    Args:
        source: a set whose pictures all have identities.
        fraction: expected part of the identities that is held out, in (0, 1).
        count: exact number of identities that is held out.
        seed: another seed, another split.

    Raises:
        DataError: naming the first picture without identity.
        ConfigError: unless exactly one of ``fraction`` and ``count`` is given, within range.
    """
    identities: list[str] = []
    for index, identity in enumerate(identities_of(source)):
        if identity is None:
            raise DataError(
                f"{source.name}: expected an identity for every picture, "
                f"{source.key(index)} has none; split it with split_by_key"
            )
        identities.append(identity)
    names = sorted(set(identities))
    chosen = _choose(names, fraction, count, lambda name: derive_seed(seed, "identity", name))
    return _split(source, [name in chosen for name in identities])


def without(source: FaceSource, listed: str | Path) -> Subset:
    """The set without the pictures that a file lists.

    Args:
        source: any set.
        listed: a text file with one key a line; "#" begins a comment.

    Raises:
        DataError: if the file cannot be read, or naming the first key that the set has not: a list
            made for another set would silently leave its people in.
    """
    try:
        lines = Path(listed).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{Path(listed).name}: cannot be read as a list of pictures: {error}"
        ) from None
    left_out = {key for line in lines if (key := line.split("#")[0].strip())}
    keys = [source.key(index) for index in range(len(source))]
    if unknown := left_out.difference(keys):
        raise DataError(f"{Path(listed).name}: {source.name} has no picture {min(unknown)!r}")
    return Subset(source, (index for index, key in enumerate(keys) if key not in left_out))


def _choose(
    names: Sequence[str],
    fraction: float | None,
    count: int | None,
    hashed: Callable[[str], int],
) -> set[str]:
    if (fraction is None) == (count is None):
        raise ConfigError("a split takes either a fraction or a count")
    if fraction is not None:
        if not 0 < fraction < 1:
            raise ConfigError(f"the fraction of a split must lie in (0, 1), got {fraction}")
        return {name for name in names if hashed(name) < fraction * _RANGE}
    if count is None or not 0 < count < len(names):
        raise ConfigError(f"the count of a split must lie in 1..{len(names) - 1}, got {count}")
    return set(sorted(names, key=hashed)[:count])


def _split(source: FaceSource, held_out: Sequence[bool]) -> Split:
    return Split(
        Subset(source, (index for index, held in enumerate(held_out) if not held)),
        Subset(source, (index for index, held in enumerate(held_out) if held)),
    )
