"""The same people or the same pictures in two sets: training and test, say.

Two looks that fail differently. Embeddings find the same face in another picture, but alike
strangers too, more of them the larger the sets. A difference hash of the pixels finds the same
picture, resaved or recoloured, and nothing else. Both give candidates for a person to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from crossface.core.errors import ContractMismatch, ImageError
from crossface.core.progress import Progress
from crossface.core.protocols import FaceSource
from crossface.core.types import FloatArray, UInt8Image
from crossface.evaluation.embed import EmbeddedFaces

HASH_SIDE = 16
HASH_BITS = 2 * HASH_SIDE * HASH_SIDE
MAX_BITS = 48  # of 512: resaving a picture flips few, another picture of the face far more
LIKENESS = 0.7  # cosine above which two pictures are candidates for one person

_MOST = 100
_BLOCK_CELLS = 8_000_000


class Candidate(NamedTuple):
    """Two pictures that may show one person or be one picture."""

    a: str
    b: str
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Hashes:
    """Difference hashes of a set.

    Attributes:
        keys: (N,) of the pictures.
        signs: (N, 512) float32, +1 or -1.
    """

    keys: tuple[str, ...]
    signs: FloatArray


def difference_hash(crop: UInt8Image) -> FloatArray:
    """(512,) float32 of +1 and -1: is a cell of a 16 x 16 grid brighter than the one before it?

    Differences to the cell on the left, then to the cell above; brightness and contrast cancel.

    Args:
        crop: (H, W, 3) uint8 RGB.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (HASH_SIDE + 1, HASH_SIDE + 1), interpolation=cv2.INTER_AREA)
    across = small[:-1, 1:] > small[:-1, :-1]
    down = small[1:, :-1] > small[:-1, :-1]
    bits = np.concatenate([across.ravel(), down.ravel()])
    return np.where(bits, 1.0, -1.0).astype(np.float32)


def hash_faces(source: FaceSource, *, progress: bool = True) -> Hashes:
    """Difference hashes of all pictures that can be read."""
    keys, signs = [], []
    with Progress(f"hashing {source.name}", len(source), enabled=progress) as bar:
        for index in range(len(source)):
            try:
                signs.append(difference_hash(source.read(index)))
                keys.append(source.key(index))
            except ImageError:
                pass  # embedding the set has counted it among the failures
            bar.advance()
    empty = np.empty((0, HASH_BITS), dtype=np.float32)
    return Hashes(tuple(keys), np.stack(signs) if signs else empty)


def near_duplicates(
    a: Hashes, b: Hashes | None = None, *, max_bits: int = MAX_BITS
) -> tuple[int, list[Candidate]]:
    """Pictures whose hashes differ in at most so many of 512 bits.

    Args:
        a: one set.
        b: another; None looks for pairs within ``a``.
        max_bits: largest difference.

    Returns:
        Number of pairs, and the closest 100 with the number of bits that differ.
    """
    found = _pairs(
        a.signs, a.signs if b is None else b.signs, HASH_BITS - 2.0 * max_bits, b is None
    )
    return _candidates(
        found, a.keys, a.keys if b is None else b.keys, lambda dot: (HASH_BITS - dot) / 2
    )


def find_leakage(
    a: EmbeddedFaces,
    b: EmbeddedFaces,
    *,
    threshold: float = LIKENESS,
    hashes: tuple[Hashes, Hashes] | None = None,
    max_bits: int = MAX_BITS,
) -> dict[str, Any]:
    """People and pictures that two sets seem to share.

    Args:
        a: the set that is tested on, say.
        b: the set that was trained on, say; embedded by the same model.
        threshold: cosine at and above which two pictures are candidates.
        hashes: of both sets, to find equal pictures as well.
        max_bits: largest difference of two hashes.

    Returns:
        {threshold, pairs_compared, candidates, pictures, pictures_share, names_in_both,
        most_alike, near_duplicates, ...}: pictures of ``a`` with a candidate in ``b`` and their
        share; how many names of identities occur in both sets; the 100 most alike.

    Raises:
        ContractMismatch: if the sets were embedded by models of different spaces or otherwise.
    """
    if not a.contract.comparable_with(b.contract) or a.flip != b.flip:
        raise ContractMismatch(
            f"{a.source_name} was embedded by {a.contract.model_id} (flip {a.flip}), "
            f"{b.source_name} by {b.contract.model_id} (flip {b.flip}): not comparable"
        )
    found = _pairs(a.embeddings, b.embeddings, threshold, within=False)
    count, alike = _candidates(found, a.keys, b.keys, lambda cosine: cosine)
    pictures = len(np.unique(found[0]))
    report: dict[str, Any] = {
        "data": a.source_name,
        "against": b.source_name,
        "threshold": threshold,
        "pairs_compared": len(a.keys) * len(b.keys),
        "candidates": count,
        "pictures": pictures,
        "pictures_share": pictures / max(len(a.keys), 1),
        "names_in_both": len((set(a.identities) & set(b.identities)) - {None}),
        "most_alike": [pair._asdict() for pair in alike],
        "note": (
            "candidates to look at: strangers may be this alike, the more the larger the sets, "
            "and a model that fails to see a likeness hides it"
        ),
    }
    if hashes is not None:
        number, closest = near_duplicates(*hashes, max_bits=max_bits)
        report["near_duplicates"] = {
            "max_bits": max_bits,
            "of_bits": HASH_BITS,
            "pairs": number,
            "closest": [pair._asdict() for pair in closest],
        }
    return report


_Found = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatArray]


def _pairs(a: FloatArray, b: FloatArray, bound: float, within: bool) -> _Found:
    """Rows of ``a`` and ``b`` whose inner product reaches ``bound``; once each within one set."""
    rows, columns, values = [], [], []
    for start, block in _blocks(a, b):
        row, column = np.nonzero(block >= np.float32(bound))
        once = row + start < column if within else np.ones(len(row), dtype=bool)
        rows.append(row[once] + start)
        columns.append(column[once])
        values.append(block[row[once], column[once]])
    if not rows:
        none = np.empty(0, dtype=np.int64)
        return none, none, np.empty(0, dtype=np.float32)
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(values)


def _blocks(a: FloatArray, b: FloatArray) -> Iterator[tuple[int, FloatArray]]:
    step = max(_BLOCK_CELLS // max(len(b), 1), 16)
    for start in range(0, len(a), step):
        yield start, a[start : start + step] @ b.T


def _candidates(
    found: _Found, a: Sequence[str], b: Sequence[str], shown: Callable[[float], float]
) -> tuple[int, list[Candidate]]:
    order = np.argsort(-found[2], kind="stable")[:_MOST]
    best = [
        Candidate(a[found[0][place]], b[found[1][place]], shown(float(found[2][place])))
        for place in order
    ]
    return len(found[2]), best
