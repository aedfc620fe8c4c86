"""PETALface: a frozen Transformer with two low-rank adapters per block, blended by quality.

One adapter learns what poor pictures need, the other what good ones need, and the backbone
forgets nothing, since it does not change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, cast

import torch
from torch import Tensor, nn

from crossface.nets.layers import Backbone, PixelFeatures
from crossface.nets.swin import Swin
from crossface.nets.vit import Vit

Score = Callable[[Tensor], Tensor]

_LUMA = (0.299, 0.587, 0.114)
_FACE_ROWS, _FACE_COLUMNS = slice(28, 108), slice(18, 94)
_HALF_SHARP = 0.01


def sharpness_score(images: Tensor) -> Tensor:
    """How sharp aligned crops are: v / (v + 0.01), v the relative variance of the Laplacian.

    Args:
        images: (B, 3, 112, 112) RGB, in [-1, 1] or on any other scale.

    Returns:
        (B,) in [0, 1), float32 at least; 0 for a flat picture. No gradient.

    The same figure as the sharpness of ``crossface.pipeline.quality``.
    """
    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        face = images[:, :, _FACE_ROWS, _FACE_COLUMNS]
        face = face if face.dtype == torch.float64 else face.float()
        grey = (face * face.new_tensor(_LUMA)[:, None, None]).sum(dim=1)
        around = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
        inner = around - 4 * grey[:, 1:-1, 1:-1]
        spread = grey.flatten(1).var(dim=1, correction=0)
        variance = inner.flatten(1).var(dim=1, correction=0) / spread.clamp_min(1e-9)
        return variance / (variance + _HALF_SHARP)


class Blend:
    """How good each picture of the batch under way is; shared by all adapters of one network."""

    def __init__(self) -> None:
        self.alpha: Tensor | None = None

    def like(self, x: Tensor) -> Tensor:
        """Alpha of every picture, shaped to multiply (B, ...) tokens.

        Raises:
            RuntimeError: outside the network's own forward.
        """
        if self.alpha is None:
            raise RuntimeError("a quality-weighted layer runs inside PetalFace's forward only")
        return self.alpha.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)


class LowRank(nn.Module):
    """``scale * Dropout(U D x)``: D drawn with standard deviation 1/rank, U zero."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        options = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        self.down = nn.Linear(linear.in_features, rank, bias=False, **options)
        self.up = nn.Linear(rank, linear.out_features, bias=False, **options)
        self.dropout = nn.Dropout(dropout)
        self.scale = scale
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        out: Tensor = self.scale * self.dropout(self.up(self.down(x)))
        return out


class OneAdapter(nn.Module):
    """A frozen linear map and one low-rank addition."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.linear = linear
        self.only = LowRank(linear, rank, scale, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        out: Tensor = self.linear(x) + self.only(x)
        return out


class TwoAdapters(nn.Module):
    """A frozen linear map and two low-rank additions, of weight 1 - alpha and alpha."""

    def __init__(
        self, linear: nn.Linear, blend: Blend, rank: int, scale: float, dropout: float
    ) -> None:
        super().__init__()
        self.linear = linear
        self.blend = blend
        self.low = LowRank(linear, rank, scale, dropout)
        self.high = LowRank(linear, rank, scale, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ..., inputs) to (B, ..., outputs)."""
        out: Tensor = self.linear(x)
        alpha = self.blend.like(out)
        # U D (alpha x) is alpha U D x, which costs less.
        out += (1 - alpha) * self.low(x) + alpha * self.high(x)
        return out


class PetalFace(Backbone):
    """One of our Swin or ViT networks, frozen, with quality-weighted adapters that learn.

    Every attention's query, key and value map gets two adapters; the first linear map of the
    head gets one. Only they learn and only they drop out: the backbone stays in eval mode, batch
    norms included, so that before the first step this is the frozen network itself.

    Args:
        net: the network; it is frozen and its linear maps are wrapped in place.
        rank: r; 8 in the paper.
        scale: s; 1 in the paper.
        dropout: of the adapters' output; 0.1 in the code.
        threshold: t of ``alpha = clip(0.5 + score - t, 0, 1)``; the paper sets it per set.
        score: (B, 3, 112, 112) pixels to (B,) quality, about [0, 1].

    Paper: PETALface, arXiv:2412.07771, y = W x + s U1 D1 (1 - alpha) x + s U2 D2 alpha x, with its
    code (Kartik-3004/PETALface, backbones/lora_layers.py).
    Deviation: alpha is clipped; the score is sharpness where the paper takes CNN-IQA or BRISQUE
    ([READING] any score of quality will do); each picture's windows take its own alpha and the
    shift mask counts, which the code computes and does not use; U starts at 0, which the code
    means to and then overwrites; the backbone's batch norms keep their statistics.
    """

    def __init__(
        self,
        net: Backbone,
        *,
        rank: int = 8,
        scale: float = 1.0,
        dropout: float = 0.1,
        threshold: float = 0.5,
        score: Score = sharpness_score,
    ) -> None:
        super().__init__()
        if not isinstance(net, Swin | Vit):
            raise TypeError(f"PETALface adapts a Swin or a ViT of ours, got {type(net).__name__}")
        if rank < 1:
            raise ValueError(f"rank must be at least 1, got {rank}")
        self.embedding_dim = net.embedding_dim
        self.feature_dim = net.feature_dim
        self.grid_hw = net.grid_hw
        self.threshold = threshold
        self.score = score
        self.blend = Blend()
        self.net = net.requires_grad_(False)
        for block in list(net.modules()):
            if isinstance(linear := getattr(block, "qkv", None), nn.Linear):
                block.qkv = TwoAdapters(linear, self.blend, rank, scale, dropout)
        net.head[1] = OneAdapter(cast("nn.Linear", net.head[1]), rank, scale, dropout)
        self.train()

    @property
    def adapters(self) -> list[LowRank]:
        """All that learns."""
        return [module for module in self.net.modules() if isinstance(module, LowRank)]

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the adapters; the backbone stays in eval mode."""
        super().train(mode)
        self.net.eval()
        for adapter in self.adapters:
            adapter.train(mode)
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the adapters learn; the backbone never does."""
        for adapter in self.adapters:
            adapter.requires_grad_(requires_grad)
        return self

    def alpha(self, x: Tensor) -> Tensor:
        """(B,) weight of the adapters for good pictures, in [0, 1]."""
        return (0.5 + self.score(x) - self.threshold).clamp(0, 1)

    def forward_features(self, x: Tensor) -> PixelFeatures:
        """(B, 3, 112, 112) pixels to the last pixel features."""
        self.blend.alpha = self.alpha(x)
        try:
            return self.net.forward_features(x)
        finally:
            self.blend.alpha = None

    def embed_features(self, features: PixelFeatures) -> Tensor:
        """(B, embedding_dim), not normalised."""
        return self.net.embed_features(features)
