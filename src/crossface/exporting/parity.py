"""Does an exported model give what the original gives?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from crossface.core.errors import ParityError
from crossface.core.protocols import Embedder
from crossface.core.types import FloatArray, UInt8Batch
from crossface.core.vectors import unit

PARITY_BATCHES = (1, 16)


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Two models over the same crops.

    Attributes:
        crops: how many pictures were compared.
        max_abs_difference: largest difference of one number of a raw embedding, by batch size.
        max_relative_difference: the same over the length of the original's embedding, so that a
            bound means one thing however long or short a network's embeddings are.
        max_abs_difference_unit: the same with both at unit length, over all batch sizes.
        max_abs_reference: largest number of the original's raw embeddings, for scale.
        min_cosine: smallest cosine between the two embeddings of one picture.
        batch_difference: largest difference of the export with itself between the batch sizes,
            over the length of the original's embedding.
    """

    crops: int
    max_abs_difference: dict[int, float]
    max_relative_difference: dict[int, float]
    max_abs_difference_unit: float
    max_abs_reference: float
    min_cosine: float
    batch_difference: float

    @property
    def worst(self) -> float:
        """The largest difference of any kind, in lengths of an embedding."""
        return max(
            *self.max_relative_difference.values(),
            self.max_abs_difference_unit,
            self.batch_difference,
        )

    def raise_if_different(self, atol: float = 1e-4, *, name: str = "the export") -> None:
        """Refuse a difference above ``atol``, in lengths of an embedding.

        Raises:
            ParityError: with the figures.
        """
        if self.worst <= atol:
            return
        by_batch = ", ".join(
            f"{value:.2g} at batch {size}" for size, value in self.max_relative_difference.items()
        )
        raise ParityError(
            f"{name} differs from the original by more than {atol:g} of an embedding's length on "
            f"{self.crops} crops: {by_batch}, {self.max_abs_difference_unit:.2g} at unit length, "
            f"{self.batch_difference:.2g} between batch sizes, "
            f"smallest cosine {self.min_cosine:.6f}"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a report."""
        values = asdict(self)
        for name in ("max_abs_difference", "max_relative_difference"):
            values[name] = {str(size): value for size, value in values[name].items()}
        return values


def measure_parity(reference: Embedder, candidate: Embedder, crops: UInt8Batch) -> ParityReport:
    """Compare two embedders at every batch size of ``PARITY_BATCHES``.

    Args:
        reference: the original.
        candidate: the export; it runs at least 16 crops at once.
        crops: (N, H, W, 3) uint8 RGB in the template of both, N >= 16 and not all the same.

    Raises:
        ValueError: if there are too few crops.
        ParityError: if the two give embeddings of different sizes.
    """
    largest = max(PARITY_BATCHES)
    if len(crops) < largest:
        raise ValueError(f"parity needs at least {largest} crops, got {len(crops)}")
    expected = reference.embed(crops)
    found = {size: _embed_by(candidate, crops, size) for size in PARITY_BATCHES}
    for values in found.values():
        if values.shape != expected.shape:
            raise ParityError(
                f"the export gives embeddings {values.shape}, the original {expected.shape}"
            )
    length = np.linalg.norm(expected, axis=1, keepdims=True)
    directions = unit(expected)
    turned = {size: unit(values) for size, values in found.items()}
    return ParityReport(
        crops=len(crops),
        max_abs_difference={size: _gap(values, expected) for size, values in found.items()},
        max_relative_difference={
            size: _gap(values / length, expected / length) for size, values in found.items()
        },
        max_abs_difference_unit=max(_gap(values, directions) for values in turned.values()),
        max_abs_reference=float(np.abs(expected).max()),
        min_cosine=_min_cosine(expected, found[largest]),
        batch_difference=max(
            _gap(values / length, found[largest] / length) for values in found.values()
        ),
    )


def _embed_by(embedder: Embedder, crops: UInt8Batch, size: int) -> FloatArray:
    parts = [embedder.embed(crops[i : i + size]) for i in range(0, len(crops), size)]
    return np.concatenate(parts)


def _min_cosine(a: FloatArray, b: FloatArray) -> float:
    """In float64: at a cosine of 1 - 1e-8 the rounding of float32 unit rows would show."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    cosines = (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return float(cosines.min())


def _gap(a: FloatArray, b: FloatArray) -> float:
    return float(np.abs(a - b).max())
