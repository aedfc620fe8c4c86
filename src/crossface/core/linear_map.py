"""A linear map from one model's space into another's, published with a compatibility record."""

from __future__ import annotations

import base64
import binascii
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossface.core.types import FloatArray
from crossface.core.vectors import unit

_NUMBER = np.dtype("<f4")


class LinearMap(BaseModel):
    """y = W x, made a unit vector again; as JSON a few megabytes at most.

    Attributes:
        to_dim: numbers of a vector that comes out.
        from_dim: numbers of a vector that goes in.
        weights: W, (to_dim, from_dim) little-endian float32 in row order, as base64.
        fitted_on: name of the face set it was fitted on.
        fitted_digest: hex sha256 of that set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    to_dim: int = Field(gt=0, le=8192)
    from_dim: int = Field(gt=0, le=8192)
    weights: str
    fitted_on: str
    fitted_digest: str

    @model_validator(mode="after")
    def _whole(self) -> Self:
        try:
            raw = base64.b64decode(self.weights, validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("its weights are no base64") from None
        if len(raw) != self.to_dim * self.from_dim * _NUMBER.itemsize:
            raise ValueError(
                f"expected {self.to_dim} x {self.from_dim} float32 weights, got {len(raw)} bytes"
            )
        if not np.isfinite(np.frombuffer(raw, dtype=_NUMBER)).all():
            raise ValueError("its weights are not all finite")
        return self

    @classmethod
    def of(cls, matrix: FloatArray, *, fitted_on: str, fitted_digest: str) -> Self:
        """The map of a (to, from) matrix."""
        raw = np.ascontiguousarray(matrix, dtype=_NUMBER).tobytes()
        return cls(
            to_dim=matrix.shape[0],
            from_dim=matrix.shape[1],
            weights=base64.b64encode(raw).decode(),
            fitted_on=fitted_on,
            fitted_digest=fitted_digest,
        )

    @property
    def matrix(self) -> FloatArray:
        """(to_dim, from_dim) float32."""
        flat = np.frombuffer(base64.b64decode(self.weights), dtype=_NUMBER)
        return flat.reshape(self.to_dim, self.from_dim).astype(np.float32)

    def apply(self, vectors: FloatArray) -> FloatArray:
        """(N, from_dim) unit rows to (N, to_dim) float32 unit rows.

        Raises:
            ValueError: if a row becomes zero.
        """
        return unit(vectors @ self.matrix.T)
