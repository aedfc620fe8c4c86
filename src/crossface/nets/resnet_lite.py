"""A small residual network of dense convolutions, made for processors rather than for counters.

MobileFaceNet spends few multiplications, but in some fifty thin layers whose maps have to travel
through memory. On a CPU with wide vector units dense 3x3 convolutions of 32 to 128 channels are
nearly free beside that traffic, so fewer and denser layers train and answer faster at the same
number of parameters (benchmarks/results/README.md, the packaged recogniser).

Ours; the parts are those of He et al., arXiv:1512.03385 (basic and bottleneck units), and the
head is that of MobileFaceNet, arXiv:1804.07573 (a global depth-wise convolution).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from crossface.nets.layers import (
    Backbone,
    DepthwiseConv2d,
    PixelFeatures,
    init_conv_net,
    map_to_tokens,
    tokens_to_map,
)

_CHANNELS = (16, 32, 64, 128)


class Unit(nn.Module):
    """Convolutions with batch norms, added to what came in, then ReLU.

    Basic: two 3x3. Bottleneck: 1x1 to half the channels, 3x3, 1x1 back.
    """

    def __init__(self, channels: int, *, bottleneck: bool) -> None:
        super().__init__()
        inner = channels // 2 if bottleneck else channels
        plan = (
            [(channels, inner, 1), (inner, inner, 3), (inner, channels, 1)]
            if bottleneck
            else [(channels, channels, 3)] * 2
        )
        layers: list[nn.Module] = []
        for inputs, outputs, kernel in plan:
            layers += [*conv_norm(inputs, outputs, kernel), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        return F.relu(x + self.body(x))


class ResNetLite(Backbone):
    """(B, 3, 112, 112) to (B, embedding_dim).

    Args:
        width: multiplies the channels of the stem (16 at 56x56) and of the stages (32 at 28x28,
            64 at 14x14, 128 at 7x7). ``last_channels`` and the embedding do not scale with it.
        units_28: residual units at 28x28; likewise ``units_14`` and ``units_7``, the last of
            which are bottlenecks: dense 3x3 there would hold most of the parameters.
        embedding_dim: D.
        last_channels: channels of the 7x7 map before the global depth-wise convolution.
    """

    def __init__(  # one option a stage
        self,
        *,
        width: float = 1.0,
        units_28: int = 2,
        units_14: int = 3,
        units_7: int = 2,
        embedding_dim: int = 512,
        last_channels: int = 256,
    ) -> None:
        super().__init__()
        if not 0.25 <= width <= 8:
            raise ValueError(f"width must lie in 0.25..8, got {width}")
        if min(units_28, units_14, units_7) < 0:
            raise ValueError(f"units must be >= 0, got {units_28}, {units_14}, {units_7}")
        self.embedding_dim = embedding_dim
        self.feature_dim = last_channels
        self.grid_hw = (7, 7)
        stem, *wide = (max(8, 8 * round(channels * width / 8)) for channels in _CHANNELS)
        layers: list[nn.Module] = [*conv_norm(3, stem, 3, stride=2), nn.ReLU(inplace=True)]
        inputs = stem
        for outputs, count in zip(wide, (units_28, units_14, units_7), strict=True):
            layers += [*conv_norm(inputs, outputs, 3, stride=2), nn.ReLU(inplace=True)]
            layers += [Unit(outputs, bottleneck=outputs == wide[-1]) for _ in range(count)]
            inputs = outputs
        layers += [*conv_norm(inputs, last_channels, 1), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.global_depthwise = nn.Sequential(
            DepthwiseConv2d(last_channels, 7), nn.BatchNorm2d(last_channels)
        )
        self.project = nn.Linear(last_channels, embedding_dim, bias=False)
        self.project_norm = nn.BatchNorm1d(embedding_dim)
        init_conv_net(self)

    def forward_features(self, x: Tensor) -> PixelFeatures:
        """The 7x7 map before the global depth-wise convolution: (B, 49, last_channels)."""
        return map_to_tokens(self.body(x))

    def embed_features(self, features: PixelFeatures) -> Tensor:
        """(B, embedding_dim), not normalised."""
        pooled = self.global_depthwise(tokens_to_map(features)).flatten(1)
        out: Tensor = self.project_norm(self.project(pooled))
        return out


def conv_norm(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> list[nn.Module]:
    """A convolution without bias and its batch norm."""
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
