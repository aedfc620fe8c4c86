"""Muon: momentum whose directions are made equally strong, for matrices; AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Quintic iteration of Jordan's Muon: steep at zero, so that five rounds do for bf16-like accuracy.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_COLOURS = 3


def orthogonalised(matrix: Tensor, *, rounds: int = _ROUNDS) -> Tensor:
    """The nearest matrix to U V^T of ``matrix = U S V^T``, singular values in about [0.7, 1.2].

    Args:
        matrix: (M, N) float32, not all zero.
        rounds: of the Newton-Schulz iteration.

    Source: Jordan et al., "Muon: An optimizer for hidden layers" (2024).
    """
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def is_matrix(weights: Tensor) -> bool:
    """Whether Muon steps this parameter: a matrix, or a convolution that mixes channels.

    A kernel (M, N, h, w) is stepped as the matrix (M, N * h * w), as the source does. Depth-wise
    kernels mix nothing, and the one that sees the picture's three colours is the input layer, which
    the source leaves to AdamW.
    """
    return weights.ndim == 2 or (weights.ndim == 4 and weights.shape[1] > _COLOURS)


class MuonAdamW(torch.optim.AdamW):
    """AdamW whose groups with ``muon = True`` hold matrices and dense convolutions stepped by Muon.

    The step of a matrix is ``lr * 0.2 * sqrt(max(M, N)) * orthogonalised(momentum)``, whose root
    mean square is about that of an AdamW step, so one learning rate serves both.

    Source: Jordan et al. (2024) for the update; Liu et al., arXiv:2502.16982, for the factor.
    """

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, momentum: float = 0.95) -> None:
        super().__init__(groups, lr=lr)
        for group in self.param_groups:
            group.setdefault("muon", False)
            group.setdefault("momentum", momentum)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every group."""
        every = self.param_groups
        loss: float | None = None
        try:
            self.param_groups = [group for group in every if not group["muon"]]
            loss = super().step(closure)
        finally:
            self.param_groups = every
        for group in every:
            if group["muon"]:
                for weights in group["params"]:
                    if weights.grad is not None:
                        self._step_matrix(weights, weights.grad, group)
        return loss

    def _step_matrix(self, weights: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weights]
        if not state:
            state["step"] = torch.zeros(())  # AdamW's loader of saved states looks for it
            state["momentum"] = torch.zeros_like(weights)
        state["step"] += 1
        state["momentum"].lerp_(gradient, 1 - group["momentum"])
        # Nesterov: look one step ahead.
        ahead = gradient.lerp(state["momentum"], group["momentum"])
        flat = ahead.reshape(len(ahead), -1)
        update = orthogonalised(flat.float()).reshape(weights.shape).to(weights)
        weights.mul_(1 - group["lr"] * group["weight_decay"])
        weights.add_(update, alpha=-group["lr"] * 0.2 * math.sqrt(max(flat.shape)))
