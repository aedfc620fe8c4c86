"""What every backbone is: pixels in, an embedding out, and the last pixel features on request."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class PixelFeatures(NamedTuple):
    """Last local features of a backbone.

    Attributes:
        tokens: (B, N + extra, d) in the dtype of the network; the first N are the cells of
            ``grid_hw`` row by row, the last ``extra`` have no place (prompts, class token).
        grid_hw: rows and columns of cells over the crop, N = rows * columns.
        extra: how many trailing tokens have no place.
    """

    tokens: Tensor
    grid_hw: tuple[int, int]
    extra: int = 0


class Backbone(nn.Module):
    """Base of all face networks.

    A subclass sets ``embedding_dim`` (D), ``feature_dim`` (d) and ``grid_hw``, and writes
    ``forward_features`` and ``embed_features``; ``forward`` is one after the other, so the
    embedding and the features always come from the same pass.
    """

    embedding_dim: int
    feature_dim: int
    grid_hw: tuple[int, int]
    arch: dict[str, object]
    is_frozen_teacher: bool = False

    def forward_features(self, x: Tensor) -> PixelFeatures:
        """(B, 3, 112, 112) normalised pixels to the last pixel features."""
        raise NotImplementedError

    def embed_features(self, features: PixelFeatures) -> Tensor:
        """Pixel features to (B, D) raw embeddings, not normalised."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 112, 112) normalised pixels to (B, D) raw embeddings, not normalised."""
        return self.embed_features(self.forward_features(x))

    def forward_both(self, x: Tensor) -> tuple[Tensor, PixelFeatures]:
        """The embedding and the pixel features of one pass."""
        features = self.forward_features(x)
        return self.embed_features(features), features


class DepthwiseConv2d(nn.Conv2d):
    """(B, channels, H, W) convolved channel by channel, without bias; the maths of ``nn.Conv2d``.

    While training on a CPU two shapes take another way to the same numbers, because oneDNN's
    backward pass has no fast kernel for them: a kernel as large as the map is a weighted sum, and
    stride 2 in bf16 is stride 1 with every second cell kept (a half-width MobileFaceNet trains
    1.5 times as fast; ``benchmarks/results/training_precision.json``). In evaluation, and so in
    every export, it is a plain convolution.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(channels, channels, kernel, stride, padding, groups=channels, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # torch's name
        """(B, channels, H, W) to (B, channels, H', W')."""
        if not self.training or input.device.type != "cpu":
            return super().forward(input)
        if self.padding == (0, 0) and input.shape[-2:] == self.kernel_size:
            return (input * self.weight[:, 0]).sum((2, 3), keepdim=True)
        if self.stride == (2, 2) and torch.is_autocast_enabled("cpu"):
            dense = F.conv2d(input, self.weight, padding=self.padding, groups=self.groups)
            return dense[:, :, ::2, ::2]
        return super().forward(input)


class PReLU(nn.PReLU):
    """(B, channels, ...) to the same shape: x where x > 0, ``weight[channel]`` * x elsewhere.

    The maths of ``nn.PReLU``. While training on a CPU without a compiler the gradient is put
    together from vectorised operators: torch's own kernel for it works number by number, and a
    small MobileFaceNet's step takes 1.4 times as long with it
    (``benchmarks/results/prelu_speed.json``).
    """

    def forward(self, input: Tensor) -> Tensor:  # torch's name
        """Activation of every channel."""
        plain = not self.training or input.device.type != "cpu" or torch.compiler.is_compiling()
        if plain or input.dim() < 2 or len(self.weight) != input.shape[1]:  # one slope for all
            return super().forward(input)
        result: Tensor = _VectorPReLU.apply(  # type: ignore[no-untyped-call]
            input, self.weight.to(input.dtype)
        )
        return result


class _VectorPReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN401  # torch's
        ctx.save_for_backward(x, weight)
        return F.prelu(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        x, weight = ctx.saved_tensors
        (grad,) = grads
        slope = weight.view(-1, *[1] * (x.dim() - 2))
        above = torch.ops.aten.threshold_backward(grad, x, 0)
        below = grad - above  # one of the two is the gradient, the other zero
        others = [axis for axis in range(x.dim()) if axis != 1]
        return above.addcmul_(slope, below), below.mul_(x).sum(others)


class ConvUnit(nn.Sequential):
    """Convolution, batch norm and, unless ``linear``, a per-channel PReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        depthwise = groups == inputs == outputs
        layers: list[nn.Module] = [
            DepthwiseConv2d(inputs, kernel, stride, padding)
            if depthwise
            else nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if not linear:
            layers.append(PReLU(outputs))
        super().__init__(*layers)


def map_to_tokens(feature_map: Tensor) -> PixelFeatures:
    """(B, d, h, w) feature map to pixel features."""
    _, _, height, width = feature_map.shape
    return PixelFeatures(feature_map.flatten(2).transpose(1, 2), (height, width))


def tokens_to_map(features: PixelFeatures) -> Tensor:
    """Pixel features back to (B, d, h, w); ``extra`` tokens are left out."""
    height, width = features.grid_hw
    cells = features.tokens[:, : height * width]
    return cells.transpose(1, 2).reshape(cells.shape[0], -1, height, width)


def init_conv_net(module: nn.Module) -> None:
    """Kaiming-normal convolutions (fan out), unit batch norms: the field's usual start."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            if layer.weight is not None:
                nn.init.ones_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class Mlp(nn.Sequential):
    """Linear, activation, linear: the feed-forward half of a Transformer block."""

    def __init__(self, dim: int, hidden: int, activation: type[nn.Module] = nn.GELU) -> None:
        super().__init__(nn.Linear(dim, hidden), activation(), nn.Linear(hidden, dim))


class DropPath(nn.Module):
    """Stochastic depth: while training, a sample skips the branch with probability ``rate``.

    Paper: Huang et al., "Deep Networks with Stochastic Depth", arXiv:1603.09382.
    Deviation: kept branches are scaled by 1 / (1 - rate) in training instead of by 1 - rate in
    inference, as everybody does.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"drop path rate must lie in 0..1, 1 excluded, got {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) to the same shape."""
        if not self.training or self.rate == 0:
            return x
        keep = x.new_empty(len(x), *[1] * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * keep / (1 - self.rate)


class FlattenHead(nn.Sequential):
    """(B, N, d) cells to (B, embedding_dim): flatten, linear, batch norm, linear, batch norm.

    The head of InsightFace's ViT and of CVLface's Swin; its batch-norm epsilon is theirs.
    """

    def __init__(self, cells: int, dim: int, hidden: int, embedding_dim: int) -> None:
        super().__init__(
            nn.Flatten(1),
            nn.Linear(cells * dim, hidden, bias=False),
            nn.BatchNorm1d(hidden, eps=2e-5),
            nn.Linear(hidden, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim, eps=2e-5),
        )


def init_transformer(net: nn.Module) -> None:
    """Truncated-normal linear maps (0.02), zero biases: the start of Swin and ViT."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
