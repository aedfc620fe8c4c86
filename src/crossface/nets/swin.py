"""Swin Transformers for 112x112 face crops.

Paper: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows",
arXiv:2103.14030.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crossface.nets.layers import (
    Backbone,
    DropPath,
    FlattenHead,
    Mlp,
    PixelFeatures,
    init_transformer,
)
from crossface.nets.windows import WindowAttention, WindowPlan

_CROP_PX = 112


class SwinBlock(nn.Module):
    """Shifted-window attention and an MLP, each behind a norm and beside a shortcut.

    Paper: arXiv:2103.14030, Eq. 3.
    """

    def __init__(self, dim: int, heads: int, plan: WindowPlan, drop_path: float) -> None:
        super().__init__()
        self.plan = plan
        self.norm1 = nn.LayerNorm(dim)
        self.attention = WindowAttention(dim, plan.window, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)
        self.drop_path = DropPath(drop_path)
        mask = plan.mask()
        if mask is not None:
            mask = mask.to(self.norm1.weight.device)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        windows = self.plan.split(self.norm1(x))
        x = x + self.drop_path(self.plan.join(self.attention(windows, self.mask)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class PatchMerging(nn.Module):
    """Four neighbouring cells become one of twice the channels; odd grids are padded by zeros."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduce = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, ceil(H / 2), ceil(W / 2), 2C)."""
        height, width = x.shape[1:3]
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        out: Tensor = self.reduce(self.norm(torch.cat(corners, -1)))
        return out


class SwinStage(nn.Module):
    """A basic layer: the blocks on one grid, then patch merging except after the last stage."""

    def __init__(
        self, dim: int, heads: int, grid_hw: tuple[int, int], window: int, drop_path: list[float]
    ) -> None:
        super().__init__()
        self.dim = dim
        self.grid_hw = grid_hw
        self.blocks = nn.ModuleList(
            SwinBlock(dim, heads, WindowPlan.fit(grid_hw, window, shifted=n % 2 == 1), rate)
            for n, rate in enumerate(drop_path)
        )

    @property
    def typed_blocks(self) -> tuple[SwinBlock, ...]:
        """The blocks, typed."""
        return tuple(cast("Iterable[SwinBlock]", self.blocks))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        for block in self.blocks:
            x = block(x)
        return x


class Swin(Backbone):
    """(B, 3, 112, 112) to (B, embedding_dim).

    Args:
        patch_px: side of a patch in pixels; pixels beyond the last whole patch are not seen.
        embed_dim: channels of the first stage; they double from stage to stage.
        depths: blocks per stage; every second one has shifted windows.
        heads: attention heads per stage.
        window: side of a window in cells.
        drop_path: stochastic depth of the last block; the rates rise linearly from 0.
        head_dim: width between the two linear maps of the head; None: channels of the last
            stage.
        embedding_dim: D.

    Paper: arXiv:2103.14030.
    Deviation: padding is masked (see ``WindowPlan.mask``); the head is the one of face networks
    (flatten, linear, batch norm, linear, batch norm), not average pooling.
    """

    def __init__(
        self,
        *,
        patch_px: int,
        embed_dim: int,
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        window: int,
        drop_path: float,
        head_dim: int | None = None,
        embedding_dim: int = 512,
    ) -> None:
        super().__init__()
        if len(depths) != len(heads):
            raise ValueError(f"depths and heads must be as many, got {depths} and {heads}")
        self.embedding_dim = embedding_dim
        self.patch_embed = nn.Conv2d(3, embed_dim, patch_px, patch_px)
        self.patch_norm = nn.LayerNorm(embed_dim)
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu").tolist()
        side, dim = _CROP_PX // patch_px, embed_dim
        self.stages = nn.ModuleList()
        self.merges = nn.ModuleList()
        for n, (depth, stage_heads) in enumerate(zip(depths, heads, strict=True)):
            if n:
                self.merges.append(PatchMerging(dim))
                side, dim = (side + 1) // 2, 2 * dim
            own, rates = rates[:depth], rates[depth:]
            self.stages.append(SwinStage(dim, stage_heads, (side, side), window, own))
        self.feature_dim = dim
        self.grid_hw = (side, side)
        self.norm = nn.LayerNorm(dim)
        self.head = FlattenHead(side * side, dim, head_dim or dim, embedding_dim)
        init_transformer(self)

    @property
    def basic_layers(self) -> tuple[SwinStage, ...]:
        """The stages, typed."""
        return tuple(cast("Iterable[SwinStage]", self.stages))

    def embed_patches(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112) pixels to the (B, H, W, C) cells of the first stage."""
        out: Tensor = self.patch_norm(self.patch_embed(x).permute(0, 2, 3, 1))
        return out

    def forward_features(self, x: Tensor) -> PixelFeatures:
        """The normed cells of the last stage: (B, N, feature_dim)."""
        cells = self.embed_patches(x)
        for n, stage in enumerate(self.stages):
            cells = stage(self.merges[n - 1](cells) if n else cells)
        return PixelFeatures(self.norm(cells).flatten(1, 2), self.grid_hw)

    def embed_features(self, features: PixelFeatures) -> Tensor:
        """(B, embedding_dim), not normalised; only image tokens are used, never ``extra``."""
        rows, columns = features.grid_hw
        out: Tensor = self.head(features.tokens[:, : rows * columns])
        return out


def swin_s(*, embedding_dim: int = 512, drop_path: float = 0.3) -> Swin:
    """Swin-S for 112 crops, the geometry of CVLface.

    Patch 3, window 5, grids 37, 19, 10, 5: N = 25 cells of 768 channels.
    """
    return Swin(
        patch_px=3,
        embed_dim=96,
        depths=(2, 2, 18, 2),
        heads=(3, 6, 12, 24),
        window=5,
        drop_path=drop_path,
        embedding_dim=embedding_dim,
    )


def swin_t(*, embedding_dim: int = 512, drop_path: float = 0.2) -> Swin:
    """Swin-T for 112 crops: ``swin_s`` with six blocks in the third stage."""
    return Swin(
        patch_px=3,
        embed_dim=96,
        depths=(2, 2, 6, 2),
        heads=(3, 6, 12, 24),
        window=5,
        drop_path=drop_path,
        embedding_dim=embedding_dim,
    )


def swin_nano(*, embedding_dim: int = 512, drop_path: float = 0.0) -> Swin:
    """A Swin that trains on a CPU; our own geometry, of no paper.

    Patch 4, window 7, grids 28, 14, 7: N = 49 cells, as many as the student's last map.
    """
    return Swin(
        patch_px=4,
        embed_dim=40,
        depths=(2, 2, 4),
        heads=(2, 4, 8),
        window=7,
        drop_path=drop_path,
        head_dim=192,
        embedding_dim=embedding_dim,
    )


def swin_micro(*, embedding_dim: int = 512, drop_path: float = 0.0) -> Swin:
    """The smallest Swin, for tests and the demo; our own geometry, of no paper.

    Patch 8, window 7, grids 14, 7: N = 49 cells.
    """
    return Swin(
        patch_px=8,
        embed_dim=48,
        depths=(2, 2),
        heads=(2, 4),
        window=7,
        drop_path=drop_path,
        head_dim=128,
        embedding_dim=embedding_dim,
    )
