"""SAM and SAGM: the gradient of a step also asks for flat surroundings, whatever the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

Sharpness = Literal["sam", "sagm"]

_EPSILON = 1e-12


def sharpen(
    parameters: Iterable[Tensor],
    again: Callable[[], object],
    *,
    kind: Sharpness,
    rho: float,
    alpha: float = 0.0,
    module: nn.Module | None = None,
    gradient_scale: float = 1.0,
) -> bool:
    """Put the gradient of SAM or SAGM in the place of the plain one.

    With g the gradient at the weights w, "sam" takes g' at w + rho * g / |g|; "sagm" takes g' at
    w + (rho / |g| - alpha) * g and gives (g + g') / 2. |g| runs over all parameters together. The
    weights come back to the bit; the optimiser that steps afterwards may be any.

    Args:
        parameters: what the optimiser steps; their ``grad`` holds g.
        again: clears the gradients and does forward and backward on the same batch once more.
        kind: "sam" or "sagm".
        rho: radius; 0.05 in both papers.
        alpha: of SAGM; the code uses 1e-3 or 5e-4.
        module: whose running statistics must not see the batch twice (batch norms, and modules
            that set ``keeps_statistics``).
        gradient_scale: by which the loss, and so g and g', are multiplied (fp16); the result
            still is.

    Returns:
        Whether it was done: not where g is not finite, which is left as it came, so that the loss
        scaler, or the loop, sees it.

    Paper: SAM, arXiv:2010.01412, Eq. 2-3; SAGM, arXiv:2303.10353, min L(w) + L_p(w - alpha grad L),
    with its code (Wang-pengfei/SAGM, domainbed/sagm/sagm.py).
    Deviation: the norm counts each parameter as it is (no ``adaptive``); dropout and stochastic
    depth are drawn anew in the second pass, as in the code.
    """
    moved = [p for p in parameters if p.grad is not None]
    first = [_gradient(p).clone() for p in moved]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in first]))
    if not bool(torch.isfinite(norm)):
        return False
    # g is scaled and so is its norm: rho * g / |g| needs no unscaling, alpha * g does.
    step = rho / (norm + _EPSILON * gradient_scale)
    if kind == "sagm":
        step = step - alpha / gradient_scale
    with _elsewhere(moved, first, step), _statistics_kept(module):
        again()
    if kind == "sagm":
        for parameter, gradient in zip(moved, first, strict=True):
            _gradient(parameter).add_(gradient).mul_(0.5)
    return True


@contextmanager
def _elsewhere(moved: list[Tensor], direction: list[Tensor], step: Tensor) -> Iterator[None]:
    """The parameters moved by ``step * direction``, and afterwards exactly where they were."""
    before = [p.detach().clone() for p in moved]
    with torch.no_grad():
        for parameter, towards in zip(moved, direction, strict=True):
            parameter.add_(towards * step.to(towards.dtype))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(moved, before, strict=True):
                parameter.copy_(value)


@contextmanager
def _statistics_kept(module: nn.Module | None) -> Iterator[None]:
    """Running statistics afterwards as before; the batch's own are used in between."""
    kept = [
        (buffer, buffer.clone())
        for part in ([] if module is None else module.modules())
        if part.training
        and (isinstance(part, nn.modules.batchnorm._BatchNorm) or _follows_batches(part))
        for buffer in part.buffers(recurse=False)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)


def _follows_batches(module: nn.Module) -> bool:
    return bool(getattr(module, "keeps_statistics", False))


def _gradient(parameter: Tensor) -> Tensor:
    gradient = parameter.grad
    return torch.zeros_like(parameter) if gradient is None else gradient
