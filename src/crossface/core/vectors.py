"""Embeddings: (N, D) float32 with unit rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

UNIT_TOLERANCE = 1e-3


def unit(vectors: npt.ArrayLike) -> FloatArray:
    """Rows scaled to Euclidean length 1.

    Args:
        vectors: (N, D) finite numbers, no zero row.

    Returns:
        (N, D) float32.

    Raises:
        ValueError: naming the first row that is zero or not finite.
    """
    array = np.asarray(vectors, dtype=np.float32)
    if array.ndim != 2:
        raise ValueError(f"vectors must be (N, D), got shape {array.shape}")
    norms = np.linalg.norm(array.astype(np.float64), axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms == 0))
    if bad.size:
        raise ValueError(
            f"{bad.size} of {len(array)} vectors are zero or not finite, the first is row {bad[0]}"
        )
    result: FloatArray = (array / norms[:, None]).astype(np.float32)
    return result


def check_unit(vectors: npt.NDArray[np.generic], *, dim: int | None = None) -> FloatArray:
    """The same rows if they are (N, dim) finite float32 of unit length.

    Raises:
        ValueError: saying what was expected and what came.
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.dtype != np.float32 or (dim is not None and array.shape[1] != dim):
        wanted = "D" if dim is None else str(dim)
        raise ValueError(
            f"embeddings must be (N, {wanted}) float32, got {array.shape} {array.dtype}"
        )
    length = np.linalg.norm(array, axis=1)
    off = np.flatnonzero(~(np.abs(length - 1) <= UNIT_TOLERANCE))
    if off.size:
        raise ValueError(
            f"embeddings must have unit length, row {off[0]} has length {length[off[0]]:.4g}"
        )
    return array


def cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    """Row-by-row cosine of two (N, D) arrays of unit rows: (N,) float32 in [-1, 1]."""
    result: FloatArray = np.clip(np.einsum("nd,nd->n", a, b, dtype=np.float32), -1.0, 1.0)
    return result
