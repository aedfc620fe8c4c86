"""Label noise: pictures that lie nearer to another identity than to the rest of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.types import FloatArray
from crossface.evaluation.card import has_identities
from crossface.evaluation.embed import EmbeddedFaces

_MOST = 100
_ROWS = 2048


def find_label_noise(faces: EmbeddedFaces) -> dict[str, Any]:
    """Pictures whose identity looks wrong to the model.

    A picture is compared with the centre of its identity's *other* pictures and with the centres
    of all other identities. Where another is nearer it is a suspect; where the other is nearly
    the same person, two names may stand for one.

    Args:
        faces: embedded faces with identities.

    Returns:
        {judged, not_judged, suspects, share, most_suspect, note}: pictures of identities with one
        picture cannot be judged; each suspect is {key, identity, own, nearest, other}, the most
        suspect 100 first.

    Raises:
        DataError: if there are no identities or only one.
    """
    if not has_identities(faces):
        raise DataError(f"{faces.source_name}: label noise needs identities, there are none")
    names, owner = np.unique([str(name) for name in faces.identities], return_inverse=True)
    if len(names) < 2:
        raise DataError(f"{faces.source_name}: label noise needs two identities, there is one")
    sums = np.zeros((len(names), faces.embeddings.shape[1]), dtype=np.float32)
    np.add.at(sums, owner, faces.embeddings)
    judged = np.bincount(owner)[owner] > 1
    own, nearest, other = _compare(faces.embeddings, owner, sums)
    margin = other - own
    suspects = np.flatnonzero(judged & (margin > 0))
    order = suspects[np.argsort(-margin[suspects], kind="stable")]
    return {
        "judged": int(judged.sum()),
        "not_judged": int((~judged).sum()),
        "suspects": len(suspects),
        "share": len(suspects) / max(int(judged.sum()), 1),
        "most_suspect": [
            {
                "key": faces.keys[row],
                "identity": str(names[owner[row]]),
                "own": float(own[row]),
                "nearest": str(names[nearest[row]]),
                "other": float(other[row]),
            }
            for row in order[:_MOST]
        ],
        "note": (
            "suspects to look at: hard pictures of the right person are among them, and identities "
            "with one picture cannot be judged"
        ),
    }


def _compare(
    vectors: FloatArray, owner: npt.NDArray[np.int64], sums: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.int64], FloatArray]:
    """Similarity to the rest of one's own, the nearest other centre, and similarity to it."""
    centres = _units(sums)
    rest = _units(sums[owner] - vectors)
    own = np.einsum("nd,nd->n", vectors, rest)
    nearest = np.empty(len(vectors), dtype=np.int64)
    other = np.empty(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), _ROWS):
        rows = slice(start, start + _ROWS)
        scores = vectors[rows] @ centres.T
        scores[np.arange(len(scores)), owner[rows]] = -2.0
        nearest[rows] = scores.argmax(axis=1)
        other[rows] = scores.max(axis=1)
    return own, nearest, other


def _units(rows: FloatArray) -> FloatArray:
    """Rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 1e-12, length, 1.0), dtype=np.float32)
