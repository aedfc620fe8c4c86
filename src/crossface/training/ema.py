"""A moving average of a network's weights, which is what is saved and deployed."""

from __future__ import annotations

import copy

import torch
from torch import nn

from crossface.nets.layers import Backbone


class WeightAverage:
    """Exponential moving average of parameters; buffers are copied as they are.

    The decay grows as (1 + n) / (10 + n) up to ``decay``, so that early averages are not stuck at
    the initialisation.

    Args:
        net: the network that is trained.
        decay: in [0, 1); 0 keeps the newest weights.
    """

    def __init__(self, net: Backbone, decay: float) -> None:
        self.net: Backbone = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move towards ``net`` after an optimiser step."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        mine = [p.data for p in self.net.parameters()]
        theirs = [p.data for p in net.parameters()]
        torch._foreach_lerp_(mine, theirs, 1 - decay)
        torch._foreach_copy_(list(self.net.buffers()), list(net.buffers()))
