"""InsightFace's ``mbf``: a MobileFaceNet of 0.45 GFLOP with wide, barely expanded bottlenecks.

Source: deepinsight/insightface, recognition/arcface_torch/backbones/mobilefacenet.py
(``get_mbf``, blocks (1, 4, 6, 2), scale 2).
"""

from __future__ import annotations

from torch import Tensor, nn

from crossface.nets.layers import (
    Backbone,
    ConvUnit,
    PixelFeatures,
    init_conv_net,
    map_to_tokens,
    tokens_to_map,
)
from crossface.nets.mobilefacenet import Bottleneck

_STEM = 128
_LAST = 512
# Channels, expansion of the striding block, further blocks (expansion 1), as in ``get_mbf``.
_STAGES = ((128, 1, 4), (256, 2, 6), (256, 2, 2))


class MobileFaceNetWide(Backbone):
    """(B, 3, 112, 112) to (B, embedding_dim).

    Args:
        embedding_dim: D; InsightFace uses 512.

    Deviation: none from the public code. (Its second convolution has 64 groups for 128 channels,
    so it is not depth-wise; that is kept.)
    """

    def __init__(self, *, embedding_dim: int = 512) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.feature_dim = _LAST
        self.grid_hw = (7, 7)
        self.stem = nn.Sequential(
            ConvUnit(3, _STEM, 3, stride=2, padding=1),
            ConvUnit(_STEM, _STEM, 3, padding=1, groups=64),
        )
        blocks: list[nn.Module] = []
        inputs = _STEM
        for channels, expansion, repeats in _STAGES:
            blocks.append(Bottleneck(inputs, channels, expansion, 2))
            blocks += [Bottleneck(channels, channels, 1, 1) for _ in range(repeats)]
            inputs = channels
        self.blocks = nn.Sequential(*blocks)
        self.last = ConvUnit(inputs, _LAST)
        self.global_depthwise = ConvUnit(_LAST, _LAST, 7, groups=_LAST, linear=True)
        self.project = nn.Linear(_LAST, embedding_dim, bias=False)
        self.project_norm = nn.BatchNorm1d(embedding_dim)
        init_conv_net(self)
        nn.init.kaiming_normal_(self.project.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> PixelFeatures:
        """The 7x7 map before the global depth-wise convolution: (B, 49, 512)."""
        return map_to_tokens(self.last(self.blocks(self.stem(x))))

    def embed_features(self, features: PixelFeatures) -> Tensor:
        """(B, embedding_dim), not normalised."""
        pooled = self.global_depthwise(tokens_to_map(features)).flatten(1)
        out: Tensor = self.project_norm(self.project(pooled))
        return out
