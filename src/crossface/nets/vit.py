"""Vision Transformers for 112x112 face crops.

Paper: Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv:2010.11929.
Source of the geometry: deepinsight/insightface, recognition/arcface_torch/backbones (patch 9,
12 blocks, 8 heads; ``vit_t_dp005_mask0`` and ``vit_s_dp005_mask_0``).
"""

from __future__ import annotations

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

_CROP_PX = 112


class SelfAttention(nn.Module):
    """Multi-head self-attention without query, key and value biases."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} channels cannot be shared by {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.project = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to the same shape."""
        _, length, dim = x.shape
        qkv = self.qkv(x).reshape(-1, length, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.project(mixed.transpose(1, 2).reshape(-1, length, dim))
        return out


class VitBlock(nn.Module):
    """Attention and an MLP, each behind a norm and beside a shortcut."""

    def __init__(self, dim: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim, nn.ReLU6)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) to the same shape."""
        x = x + self.drop_path(self.attention(self.norm1(x)))
        out: Tensor = x + self.drop_path(self.mlp(self.norm2(x)))
        return out


class Vit(Backbone):
    """(B, 3, 112, 112) to (B, embedding_dim); no class token, all patches feed the head.

    Args:
        dim: channels of a token.
        depth: blocks.
        heads: attention heads.
        patch_px: side of a patch in pixels; pixels beyond the last whole patch are not seen.
        drop_path: stochastic depth of the last block; the rates rise linearly from 0.
        embedding_dim: D.

    Deviation: no random masking of tokens in training and so no mask token, which the public
    code makes even where it is not used.
    """

    def __init__(
        self,
        *,
        dim: int,
        depth: int = 12,
        heads: int = 8,
        patch_px: int = 9,
        drop_path: float = 0.05,
        embedding_dim: int = 512,
    ) -> None:
        super().__init__()
        side = _CROP_PX // patch_px
        self.embedding_dim = embedding_dim
        self.feature_dim = dim
        self.grid_hw = (side, side)
        self.patch_embed = nn.Conv2d(3, dim, patch_px, patch_px)
        self.position = nn.Parameter(torch.zeros(1, side * side, dim))
        nn.init.trunc_normal_(self.position, std=0.02)
        rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()
        self.blocks = nn.Sequential(*[VitBlock(dim, heads, rate) for rate in rates])
        self.norm = nn.LayerNorm(dim)
        self.head = FlattenHead(side * side, dim, dim, embedding_dim)
        init_transformer(self)

    def forward_features(self, x: Tensor) -> PixelFeatures:
        """The normed patch tokens of the last block: (B, 144, dim)."""
        tokens = self.patch_embed(x).flatten(2).transpose(1, 2) + self.position
        return PixelFeatures(self.norm(self.blocks(tokens)), self.grid_hw)

    def embed_features(self, features: PixelFeatures) -> Tensor:
        """(B, embedding_dim), not normalised; tokens without a place are left out."""
        rows, columns = features.grid_hw
        out: Tensor = self.head(features.tokens[:, : rows * columns])
        return out


def vit_t(*, embedding_dim: int = 512, drop_path: float = 0.05) -> Vit:
    """ViT-T of InsightFace: 144 patches of 9x9 pixels, 256 channels."""
    return Vit(dim=256, drop_path=drop_path, embedding_dim=embedding_dim)


def vit_s(*, embedding_dim: int = 512, drop_path: float = 0.05) -> Vit:
    """ViT-S of InsightFace: 144 patches of 9x9 pixels, 512 channels."""
    return Vit(dim=512, drop_path=drop_path, embedding_dim=embedding_dim)
