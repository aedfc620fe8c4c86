"""Shifted windows of Swin: which tokens meet, and with which bias.

Paper: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
arXiv:2103.14030, section 3.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NEVER = -100.0
"""Added to a score that must not count; Swin's own figure, finite so that fp16 stays finite."""


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """How a grid of cells is cut into windows.

    Attributes:
        grid_hw: rows and columns of cells.
        window: side of a window in cells.
        shift: how far the windows are moved down and right, 0 or window // 2.
    """

    grid_hw: tuple[int, int]
    window: int
    shift: int

    @classmethod
    def fit(cls, grid_hw: tuple[int, int], window: int, *, shifted: bool) -> WindowPlan:
        """A plan for a grid; where one window covers the grid nothing is shifted."""
        side = min(window, *grid_hw)
        moves = shifted and max(grid_hw) > side
        return cls(grid_hw, side, side // 2 if moves else 0)

    @property
    def padded_hw(self) -> tuple[int, int]:
        """The grid rounded up to whole windows."""
        height, width = self.grid_hw
        side = self.window
        return math.ceil(height / side) * side, math.ceil(width / side) * side

    @property
    def cells(self) -> int:
        """Cells in one window."""
        return self.window * self.window

    def split(self, x: Tensor) -> Tensor:
        """(B, H, W, C) cells to (B, windows, cells, C), padded with zeros and shifted."""
        height, width = self.grid_hw
        full_h, full_w = self.padded_hw
        if (full_h, full_w) != (height, width):
            x = F.pad(x, (0, 0, 0, full_w - width, 0, full_h - height))
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        side, channels = self.window, x.shape[-1]
        x = x.reshape(-1, full_h // side, side, full_w // side, side, channels)
        return x.transpose(2, 3).reshape(
            -1, (full_h // side) * (full_w // side), self.cells, channels
        )

    def join(self, windows: Tensor) -> Tensor:
        """The inverse of ``split``: (B, windows, cells, C) to (B, H, W, C)."""
        height, width = self.grid_hw
        full_h, full_w = self.padded_hw
        side, channels = self.window, windows.shape[-1]
        x = windows.reshape(-1, full_h // side, full_w // side, side, side, channels)
        x = x.transpose(2, 3).reshape(-1, full_h, full_w, channels)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :height, :width] if (full_h, full_w) != (height, width) else x

    def real_cells(self) -> Tensor:
        """(windows, cells) bool: which places hold a cell of the grid, not padding."""
        return self.split(torch.ones(1, *self.grid_hw, 1, device="cpu"))[0, ..., 0] > 0

    def mask(self, prompts: int = 0) -> Tensor | None:
        """(windows, prompts + cells, prompts + cells) float32 to add to the scores.

        A cell meets the cells that were its neighbours before the shift. Padding is met only by
        padding. Prompts, the first rows and columns, meet every cell and are met by every cell.

        Returns:
            None if everything may meet.

        Deviation: Swin's code lets cells meet the zero padding; here nothing does, so that the
        result does not depend on how a grid is rounded up.
        """
        if not self.shift and self.padded_hw == self.grid_hw:
            return None
        rows = _bands(self.padded_hw[0], self.window, self.shift)
        columns = _bands(self.padded_hw[1], self.window, self.shift)
        still = WindowPlan(self.padded_hw, self.window, 0)
        region = still.split((rows[:, None] * 3 + columns[None, :])[None, ..., None])[0, ..., 0]
        real = self.real_cells()
        region = torch.where(real, region, -1)
        apart = region[:, :, None] != region[:, None, :]
        if prompts:
            apart = F.pad(apart, (prompts, 0, prompts, 0))
            apart[:, :prompts, prompts:] = ~real[:, None, :]
        return apart.float() * _NEVER


class RelativePositionBias(nn.Module):
    """One learnable number per head and offset between two cells of a window.

    Paper: arXiv:2103.14030, Eq. 4. Deviation: none.
    """

    index: Tensor

    def __init__(self, window: int, heads: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        cells = torch.cartesian_prod(torch.arange(window), torch.arange(window))
        offset = cells[:, None] - cells[None] + window - 1
        index = offset[..., 0] * (2 * window - 1) + offset[..., 1]
        self.register_buffer("index", index, persistent=False)

    def forward(self) -> Tensor:
        """(heads, cells, cells)."""
        return self.table[self.index].permute(2, 0, 1)


class WindowAttention(nn.Module):
    """Multi-head self-attention inside each window."""

    def __init__(self, dim: int, window: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} channels cannot be shared by {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)
        self.position_bias = RelativePositionBias(window, heads)

    def forward(self, tokens: Tensor, mask: Tensor | None, prompts: int = 0) -> Tensor:
        """Attention within windows.

        Args:
            tokens: (B, windows, prompts + cells, C), the prompts in front.
            mask: (windows, prompts + cells, prompts + cells) to add to the scores, or None.
            prompts: how many leading tokens have no place and hence no position bias.
        """
        _, windows, length, channels = tokens.shape
        qkv = self.qkv(tokens).reshape(-1, windows, length, 3, self.heads, channels // self.heads)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        scores = scores + self._bias(mask, prompts)
        mixed = (scores.softmax(-1) @ value).transpose(2, 3)
        out: Tensor = self.project(mixed.reshape(-1, windows, length, channels))
        return out

    def _bias(self, mask: Tensor | None, prompts: int) -> Tensor:
        bias: Tensor = self.position_bias()
        if prompts:
            bias = F.pad(bias, (prompts, 0, prompts, 0))
        return bias if mask is None else bias + mask[:, None].to(bias.dtype)


def _bands(length: int, window: int, shift: int) -> Tensor:
    """(length,) which of Swin's three bands a shifted row lies in."""
    band = torch.zeros(length, device="cpu", dtype=torch.int64)
    if shift:
        band[length - window :] = 1
        band[length - shift :] = 2
    return band
