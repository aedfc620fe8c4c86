"""A moving average of a network's weights, which is what is saved and deployed."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)


class WeightAverage(Generic[Net]):
    """Exponential moving average of parameters and of floating-point buffers.

    The running statistics of batch norms are averaged with the weights they belong to: the newest
    network's statistics do not fit averaged weights while the learning rate is high. Other buffers
    are copied.

    The decay grows as (1 + n) / (10 + n) up to ``decay``, so that early averages are not stuck at
    the initialisation.

    Args:
        net: the network that is trained.
        decay: in [0, 1); 0 keeps the newest weights.
    """

    def __init__(self, net: Net, decay: float) -> None:
        self.net: Net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move towards ``net`` after an optimiser step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine = dict(self.net.named_parameters()) | dict(self.net.named_buffers())
        theirs = dict(net.named_parameters()) | dict(net.named_buffers())
        real = [name for name, tensor in mine.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [mine[name].data for name in real], [theirs[name].data for name in real], 1 - decay
        )
        for name in mine.keys() - set(real):
            mine[name].copy_(theirs[name])
