"""Pseudo-identities: clusters of a teacher's embeddings stand in for labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from crossface.core.errors import ConfigError
from crossface.core.seeds import generator

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_CHUNK = 4096
_ROUNDS = 64


def pseudo_identities(
    embeddings: FloatArray, *, count: int, seed: int, iterations: int = 30
) -> tuple[str, ...]:
    """A cluster name per picture, "pseudo_00017" say; see ``spherical_k_means``."""
    labels, _ = spherical_k_means(embeddings, count=count, seed=seed, iterations=iterations)
    return tuple(f"pseudo_{label:05d}" for label in labels.tolist())


def spherical_k_means(
    embeddings: FloatArray, *, count: int, seed: int, iterations: int = 30
) -> tuple[IntArray, FloatArray]:
    """Cluster unit vectors by their cosine to unit centres.

    Args:
        embeddings: (N, D) float32 unit rows.
        count: K, in [1, N].
        seed: decides the first centres; nothing else is random.
        iterations: at most so many rounds; fewer if no row changes its cluster.

    Returns:
        (N,) int64 clusters in [0, K), none of them empty unless rows coincide, and the (K, D)
        float32 unit centres they are the nearest of.

    Raises:
        ConfigError: if K is not in [1, N].

    Paper: Dhillon & Modha, "Concept decompositions for large sparse text data using clustering",
    Machine Learning 2001; first centres by Arthur & Vassilvitskii, "k-means++", SODA 2007.
    Deviation: first centres are drawn ceil(K / 64) at a time, so that they cost 64 passes over
    the rows at most; a cluster that loses its last row starts again at the row that fits worst.
    """
    if not 1 <= count <= len(embeddings):
        raise ConfigError(
            f"data.pseudo_identities must lie in 1..{len(embeddings)}, one cluster per training "
            f"picture at most, got {count}"
        )
    centres = _first_centres(embeddings, count, seed)
    labels, fit = _nearest(embeddings, centres)
    for _ in range(iterations):
        centres = _means(embeddings, labels, fit, count)
        moved, fit = _nearest(embeddings, centres)
        if np.array_equal(moved, labels):
            break
        labels = moved
    return labels, centres


def _first_centres(rows: FloatArray, count: int, seed: int) -> FloatArray:
    rng = generator(seed, "pseudo-identities")
    chosen = [int(rng.integers(len(rows)))]
    fit = rows @ rows[chosen[0]]
    while len(chosen) < count:
        # 1 - cos is half the squared distance: the weight of k-means++.
        weight = np.maximum(1.0 - fit.astype(np.float64), 0.0)
        weight[chosen] = 0.0
        if not weight.any():  # every other row coincides with a centre
            weight = np.ones(len(rows))
            weight[chosen] = 0.0
        size = min(-(-count // _ROUNDS), count - len(chosen), int(np.count_nonzero(weight)))
        new = rng.choice(len(rows), size=size, replace=False, p=weight / weight.sum())
        chosen += new.tolist()
        fit = np.maximum(fit, _nearest(rows, rows[new])[1])
    return rows[chosen].copy()


def _nearest(rows: FloatArray, centres: FloatArray) -> tuple[IntArray, FloatArray]:
    labels = np.empty(len(rows), np.int64)
    fit = np.empty(len(rows), np.float32)
    for part in _chunks(len(rows)):
        cosine = rows[part] @ centres.T
        labels[part] = cosine.argmax(axis=1)
        fit[part] = cosine.max(axis=1)
    return labels, fit


def _means(rows: FloatArray, labels: IntArray, fit: FloatArray, count: int) -> FloatArray:
    sums = np.zeros((count, rows.shape[1]), np.float64)
    np.add.at(sums, labels, rows)
    norms = np.linalg.norm(sums, axis=1)
    empty = np.flatnonzero(norms < 1e-12)
    worst = np.argsort(fit, kind="stable")[: len(empty)]
    sums[empty], norms[empty] = rows[worst], 1.0
    centres: FloatArray = (sums / norms[:, None]).astype(np.float32)
    return centres


def _chunks(size: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, size, _CHUNK))
