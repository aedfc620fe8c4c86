"""IResNet, the residual networks of ArcFace.

Paper: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
arXiv:1801.07698, section 3.1 ("improved" residual units and the BN-Dropout-FC-BN head);
Duta et al., "Improved Residual Networks", arXiv:2004.04989, for the name.
Source: deepinsight/insightface, recognition/arcface_torch/backbones/iresnet.py.
"""

from __future__ import annotations

from torch import Tensor, nn

from crossface.nets.layers import (
    Backbone,
    PixelFeatures,
    PReLU,
    map_to_tokens,
    tokens_to_map,
)

_CHANNELS = (64, 128, 256, 512)


class ResidualUnit(nn.Module):
    """BN, 3x3, BN, PReLU, 3x3 (with the stride), BN; the shortcut is projected if shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        out: Tensor = self.body(x) + self.shortcut(x)
        return out


class IResNet(Backbone):
    """(B, 3, 112, 112) to (B, embedding_dim).

    Args:
        depths: residual units in each of the four stages.
        embedding_dim: D.

    Deviation: no dropout (InsightFace's default is 0 too). The scale of the last batch norm is
    held at 1 as in the public code.
    """

    def __init__(self, depths: tuple[int, int, int, int], *, embedding_dim: int = 512) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.feature_dim = _CHANNELS[-1]
        self.grid_hw = (7, 7)
        self.stem = nn.Sequential(
            nn.Conv2d(3, _CHANNELS[0], 3, 1, 1, bias=False),
            nn.BatchNorm2d(_CHANNELS[0]),
            PReLU(_CHANNELS[0]),
        )
        units: list[nn.Module] = []
        inputs = _CHANNELS[0]
        for channels, depth in zip(_CHANNELS, depths, strict=True):
            for n in range(depth):
                units.append(ResidualUnit(inputs, channels, 2 if n == 0 else 1))
                inputs = channels
        self.units = nn.Sequential(*units)
        self.norm = nn.BatchNorm2d(inputs)
        self.project = nn.Linear(inputs * 49, embedding_dim)
        self.project_norm = nn.BatchNorm1d(embedding_dim)
        self.project_norm.weight.requires_grad_(False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0, 0.1)

    def forward_features(self, x: Tensor) -> PixelFeatures:
        """The normed 7x7 map of the last stage: (B, 49, 512)."""
        return map_to_tokens(self.norm(self.units(self.stem(x))))

    def embed_features(self, features: PixelFeatures) -> Tensor:
        """(B, embedding_dim), not normalised."""
        out: Tensor = self.project_norm(self.project(tokens_to_map(features).flatten(1)))
        return out


def iresnet18(*, embedding_dim: int = 512) -> IResNet:
    """IResNet-18, 24.0 M parameters."""
    return IResNet((2, 2, 2, 2), embedding_dim=embedding_dim)


def iresnet34(*, embedding_dim: int = 512) -> IResNet:
    """IResNet-34, 34.1 M parameters."""
    return IResNet((3, 4, 6, 3), embedding_dim=embedding_dim)


def iresnet50(*, embedding_dim: int = 512) -> IResNet:
    """IResNet-50, 43.6 M parameters."""
    return IResNet((3, 4, 14, 3), embedding_dim=embedding_dim)


def iresnet100(*, embedding_dim: int = 512) -> IResNet:
    """IResNet-100, 65.2 M parameters."""
    return IResNet((3, 13, 30, 3), embedding_dim=embedding_dim)
