"""Two halves without a person in common: one to choose thresholds on, one to measure them on."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.seeds import derive_seed
from crossface.evaluation.embed import EmbeddedFaces

T = TypeVar("T")


class Halves(NamedTuple):
    """Faces to calibrate on and faces to report on; they share nobody."""

    calibrate: EmbeddedFaces
    report: EmbeddedFaces


def disjoint_halves(faces: EmbeddedFaces, seed: int = 0) -> Halves:
    """Split by identity, or by picture where there are no identities.

    Args:
        faces: embedded faces.
        seed: another seed, another split; half of the people go to each side, chosen by a hash of
            (seed, name).

    Raises:
        DataError: if there are fewer than two people.
    """
    names = _people(faces)
    order = sorted(set(names), key=lambda name: derive_seed(seed, "card half", name))
    if len(order) < 2:
        raise DataError(f"{faces.source_name}: {len(order)} people cannot be split into halves")
    chosen = set(order[: (len(order) + 1) // 2])
    first = np.array([name in chosen for name in names])
    halves = Halves(take(faces, first), take(faces, ~first))
    check_disjoint(halves.calibrate, halves.report)
    return halves


def check_disjoint(a: EmbeddedFaces, b: EmbeddedFaces) -> None:
    """Refuse two sets that share a picture or a person.

    Raises:
        DataError: naming the first that they share.
    """
    for what, ours, theirs in (
        ("picture", set(a.keys), set(b.keys)),
        ("identity", set(a.identities) - {None}, set(b.identities) - {None}),
    ):
        shared = {str(name) for name in ours & theirs}
        if shared:
            raise DataError(
                f"{a.source_name} and {b.source_name} must not share a {what}, they share "
                f"{len(shared)}, the first is {min(shared)!r}"
            )


def take(faces: EmbeddedFaces, rows: npt.NDArray[np.bool_]) -> EmbeddedFaces:
    """The faces of a mask, with a digest of their own."""
    keys = _chosen(faces.keys, rows)
    text = "\n".join([faces.source_digest, *keys])
    return dataclasses.replace(
        faces,
        embeddings=faces.embeddings[rows],
        keys=tuple(keys),
        identities=tuple(_chosen(faces.identities, rows)),
        source_digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _chosen(values: Sequence[T], rows: npt.NDArray[np.bool_]) -> list[T]:
    return [value for value, kept in zip(values, rows.tolist(), strict=True) if kept]


def _people(faces: EmbeddedFaces) -> list[str]:
    return [
        key if identity is None else identity
        for key, identity in zip(faces.keys, faces.identities, strict=True)
    ]
