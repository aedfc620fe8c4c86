"""Maps from the middle of a network, by the path of the module that makes them.

The networks' own forward stays as it is: a forward hook keeps what a module gave.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from crossface.core.errors import ConfigError
from crossface.nets.layers import Backbone

_SIDE_PX = 112
# What our networks call the row of blocks that shrinks the grid step by step.
_ROWS_OF_BLOCKS = ("blocks", "units", "stages", "body")
# Stages of a network whose grid never shrinks (ViT).
_QUARTERS = 4


class _Tap:
    """A forward hook that keeps the newest output while it is open."""

    def __init__(self) -> None:
        self.is_open = False
        self.output: Tensor | None = None

    def __call__(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        if self.is_open:
            self.output = output

    def __deepcopy__(self, _memo: object) -> _Tap:
        """A copy of the network (its weight average) has taps that never open."""
        return _Tap()


class StagedForward:
    """``staged.forward(x)`` is the network's embedding and the maps at ``paths``, in one pass.

    It may be compiled as a whole: what the hooks keep is taken before it returns.

    Args:
        net: the network; hooks are added to it, and nothing else.
        paths: modules as ``net.get_submodule`` names them, each giving (B, C, H, W), (B, H, W, C)
            with H = W, or (B, N, C) with N a square.

    Attributes:
        shapes: (C, H, W) of each map.

    Raises:
        ConfigError: no such module, or its output is no map.
    """

    def __init__(self, net: Backbone, paths: Sequence[str]) -> None:
        self.net = net
        self.paths = tuple(paths)
        self._taps: list[_Tap] = []
        self._hooks: list[RemovableHandle] = []
        for path in self.paths:
            try:
                module = net.get_submodule(path)
            except AttributeError:
                raise ConfigError(
                    f"stage {path!r}: {type(net).__name__} has no such module; its stages are "
                    f"{', '.join(stage_paths(net))}"
                ) from None
            tap = _Tap()
            self._hooks.append(module.register_forward_hook(tap))
            self._taps.append(tap)
        self.shapes: list[tuple[int, int, int]] = [
            (m.shape[1], m.shape[2], m.shape[3]) for m in _probe(net, self)
        ]

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(B, 3, 112, 112) pixels to the (B, D) raw embedding and the (B, C, H, W) maps."""
        for tap in self._taps:
            tap.is_open = True
        embedding = self.net(x)
        maps = tuple(
            _as_map(tap.output, path) for tap, path in zip(self._taps, self.paths, strict=True)
        )
        for tap in self._taps:
            tap.is_open = False
            tap.output = None
        return embedding, maps

    def close(self) -> None:
        """Take the hooks off the network again."""
        for hook in self._hooks:
            hook.remove()


def stage_paths(net: Backbone) -> tuple[str, ...]:
    """The last block of each grid size, from large to small; quarters where the grid stays.

    Raises:
        ConfigError: for a network that has no row of blocks of ours.
    """
    rows = [name for name, _ in net.named_children() if name in _ROWS_OF_BLOCKS]
    if not rows:
        raise ConfigError(
            f"{type(net).__name__} has no {' or '.join(_ROWS_OF_BLOCKS)}; name its stages"
        )
    row = net.get_submodule(rows[0])
    paths = [f"{rows[0]}.{name}" for name, _ in row.named_children()]
    staged = StagedForward(net, paths)
    staged.close()
    sides = [shape[1] for shape in staged.shapes]
    last = [n for n, side in enumerate(sides) if n + 1 == len(sides) or sides[n + 1] != side]
    if len(last) == 1 and len(paths) >= _QUARTERS:
        last = [(n + 1) * len(paths) // _QUARTERS - 1 for n in range(_QUARTERS)]
    return tuple(paths[n] for n in last)


def _probe(net: Backbone, staged: StagedForward) -> tuple[Tensor, ...]:
    was_training = net.training
    parameter = next(net.parameters())
    x = torch.zeros(1, 3, _SIDE_PX, _SIDE_PX, device=parameter.device, dtype=parameter.dtype)
    net.eval()  # batch norms must not learn from it
    with torch.no_grad():
        _, maps = staged.forward(x)
    net.train(was_training)
    return maps


def _as_map(output: Tensor | None, path: str) -> Tensor:
    """(B, C, H, W), whatever the layout."""
    if isinstance(output, Tensor) and output.ndim == 4:
        if output.shape[2] == output.shape[3]:
            return output
        if output.shape[1] == output.shape[2]:
            return output.permute(0, 3, 1, 2)
    if isinstance(output, Tensor) and output.ndim == 3:
        side = round(output.shape[1] ** 0.5)
        if side * side == output.shape[1]:
            return output.transpose(1, 2).reshape(len(output), -1, side, side)
    raise ConfigError(f"stage {path!r} gives no square map of features")
