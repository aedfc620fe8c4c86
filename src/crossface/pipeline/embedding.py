"""Crops to unit vectors, each with its own reason where it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossface.core.errors import WeightsError
from crossface.core.protocols import Embedder
from crossface.core.types import FloatArray, UInt8Batch, UInt8Image


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """One crop's answer: a unit vector (D,) and its length before, or the reason there is none."""

    vector: FloatArray | None = None
    raw_norm: float | None = None
    reason: str | None = None


def embed_crops(
    embedder: Embedder, crops: Sequence[UInt8Image], *, flip: bool = False
) -> list[Embedded]:
    """Unit embeddings of crops; a crop that fails does not take the others with it.

    Args:
        embedder: any embedder.
        crops: (H, W, 3) uint8 RGB each, in the embedder's own template.
        flip: add the mirror image's embedding before the length is taken.
    """
    if not crops:
        return []
    batch = np.stack(crops)
    try:
        raw = _raw(embedder, batch, flip)
    except WeightsError as error:
        if len(crops) == 1:
            return [Embedded(reason=str(error))]
        return [embed_crops(embedder, [crop], flip=flip)[0] for crop in crops]
    return [_unit(row) for row in raw]


def _raw(embedder: Embedder, crops: UInt8Batch, flip: bool) -> FloatArray:
    raw = embedder.embed(crops)
    if flip:
        raw = raw + embedder.embed(np.ascontiguousarray(crops[:, :, ::-1]))
    return raw


def _unit(row: FloatArray) -> Embedded:
    norm = float(np.linalg.norm(row.astype(np.float64)))
    if not np.isfinite(norm) or norm == 0:
        return Embedded(reason=f"its embedding has length {norm}, which has no direction")
    return Embedded(vector=(row / np.float32(norm)).astype(np.float32), raw_norm=norm)
