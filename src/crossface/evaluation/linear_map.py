"""A linear map between the spaces of two models, fitted on pictures that both embedded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crossface.core.errors import DataError
from crossface.core.linear_map import LinearMap
from crossface.evaluation.compare import on_common_pictures
from crossface.evaluation.embed import EmbeddedFaces

RIDGE = 1e-3
"""Of the mean eigenvalue of B's second moments: keeps directions that B never uses at rest."""


def fit_linear_map(a: EmbeddedFaces, b: EmbeddedFaces, *, ridge: float = RIDGE) -> LinearMap:
    """The W that brings B's embeddings nearest to A's: least squares with a ridge.

    Identities are not looked at, so unlabelled pictures will do.

    Args:
        a: faces embedded by A, the space to arrive in.
        b: the same faces embedded by B.
        ridge: weight of the penalty, in mean eigenvalues of B's second moments.

    Raises:
        DataError: fewer pictures than B's vectors have numbers, or pictures that differ.

    Paper: McNeely-White et al., "Canonical Face Embeddings", arXiv:2106.07822, who find that such
    maps carry nearly all of the identity. Deviation: a ridge, and no restriction to rotations.
    """
    (first,), (second,) = on_common_pictures([a], [b])
    x = second.embeddings.astype(np.float64)
    y = first.embeddings.astype(np.float64)
    count, dim = x.shape
    if count < dim:
        raise DataError(
            f"{a.source_name}: {count} pictures cannot fit a map of {dim} numbers a vector; "
            f"give at least {dim}, ten times as many are better"
        )
    moments = x.T @ x / count
    moments[np.diag_indices(dim)] += ridge * np.trace(moments) / dim
    weights = np.linalg.solve(moments, x.T @ y / count).T.astype(np.float32)
    return LinearMap.of(weights, fitted_on=a.source_name, fitted_digest=a.source_digest)


def mapped(faces: EmbeddedFaces, into: LinearMap) -> EmbeddedFaces:
    """The same faces in the space the map leads to."""
    return replace(
        faces,
        embeddings=into.apply(faces.embeddings),
        contract=faces.contract.model_copy(update={"dim": into.to_dim}),
    )
