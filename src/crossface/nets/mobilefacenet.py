"""MobileFaceNet, the paper's, with a width multiplier.

Paper: Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on
Mobile Devices", arXiv:1804.07573, Table 1.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from crossface.nets.layers import (
    Backbone,
    ConvUnit,
    PixelFeatures,
    init_conv_net,
    map_to_tokens,
    tokens_to_map,
)

# Table 1 of the paper: expansion t, channels c, repeats n, stride s of the first block.
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
_STEM_CHANNELS = 64


class Bottleneck(nn.Module):
    """Inverted residual: expand, depth-wise 3x3, project without activation."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            ConvUnit(inputs, middle),
            ConvUnit(middle, middle, 3, stride=stride, padding=1, groups=middle),
            ConvUnit(middle, outputs, linear=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        out: Tensor = self.body(x)
        return x + out if self.residual else out


class MobileFaceNet(Backbone):
    """(B, 3, 112, 112) to (B, embedding_dim).

    Args:
        width: multiplies the channels of the stem and of all bottlenecks. The last 1x1
            convolution (``last_channels``) and the embedding do not scale with it.
        embedding_dim: D; the paper uses 128.
        last_channels: channels of the 7x7 map before the global depth-wise convolution; the
            paper uses 512.

    Paper: arXiv:1804.07573, Table 1 (0.99 M parameters at width 1 and D = 128).
    Deviation: the embedding layer is a linear map and a batch norm over the flattened 1x1 map,
    which is what the paper's linear 1x1 convolution computes.
    """

    def __init__(
        self, *, width: float = 1.0, embedding_dim: int = 512, last_channels: int = 512
    ) -> None:
        super().__init__()
        if not 0.1 <= width <= 4:
            raise ValueError(f"width must lie in 0.1..4, got {width}")
        self.embedding_dim = embedding_dim
        self.feature_dim = last_channels
        self.grid_hw = (7, 7)
        stem = _scaled(_STEM_CHANNELS, width)
        blocks: list[nn.Module] = []
        plan = [(stem, 1, 1)]
        for expansion, channels, repeats, stride in _STAGES:
            plan += [
                (_scaled(channels, width), expansion, stride if n == 0 else 1)
                for n in range(repeats)
            ]
        for (inputs, _, _), (outputs, expansion, stride) in pairwise(plan):
            blocks.append(Bottleneck(inputs, outputs, expansion, stride))
        self.stem = nn.Sequential(
            ConvUnit(3, stem, 3, stride=2, padding=1),
            ConvUnit(stem, stem, 3, padding=1, groups=stem),
        )
        self.blocks = nn.Sequential(*blocks)
        self.last = ConvUnit(plan[-1][0], last_channels)
        self.global_depthwise = ConvUnit(
            last_channels, last_channels, 7, groups=last_channels, linear=True
        )
        self.project = nn.Linear(last_channels, embedding_dim, bias=False)
        self.project_norm = nn.BatchNorm1d(embedding_dim)
        init_conv_net(self)

    def forward_features(self, x: Tensor) -> PixelFeatures:
        """The 7x7 map before the global depth-wise convolution: (B, 49, last_channels)."""
        return map_to_tokens(self.last(self.blocks(self.stem(x))))

    def embed_features(self, features: PixelFeatures) -> Tensor:
        """(B, embedding_dim), not normalised."""
        pooled = self.global_depthwise(tokens_to_map(features)).flatten(1)
        out: Tensor = self.project_norm(self.project(pooled))
        return out


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width))
