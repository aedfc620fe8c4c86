"""What every loss asks of its tensors, and the precision it is computed in."""

from __future__ import annotations

import torch
from torch import Tensor

IGNORED = -1
"""Label of a row without an identity."""


def wide(x: Tensor) -> Tensor:
    """The same numbers in float32 if they came in 16 bits; float32 and float64 stay."""
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x


def products(left: Tensor, right: Tensor) -> Tensor:
    """(N, D) and (M, D) to their (N, M) products, in ``wide``'s precision, also under autocast."""
    with torch.autocast(left.device.type, enabled=False):
        return wide(left) @ wide(right).T


def check_same_shape(first: Tensor, second: Tensor, names: str) -> None:
    """Refuse two tensors that do not belong together.

    Raises:
        ValueError: if the shapes differ or there is no row.
    """
    if first.shape != second.shape or first.ndim < 2 or len(first) == 0:
        raise ValueError(
            f"{names} must have one shape (N, ...) with N >= 1, "
            f"got {tuple(first.shape)} and {tuple(second.shape)}"
        )


def check_labels(labels: Tensor, rows: int, classes: int) -> None:
    """Refuse labels that do not fit the logits.

    Args:
        labels: (N,) int64 in [-1, C); -1 is a row without an identity.
        rows: N.
        classes: C.

    Raises:
        ValueError: saying what was expected and what came.
    """
    if labels.shape != (rows,) or labels.dtype != torch.int64:
        raise ValueError(
            f"labels must be ({rows},) int64, got {tuple(labels.shape)} {labels.dtype}"
        )
    if rows == 0:
        return
    low, high = (int(value) for value in torch.aminmax(labels))
    if low < IGNORED or high >= classes:
        raise ValueError(f"labels must lie in [-1, {classes}), got {low}..{high}")
