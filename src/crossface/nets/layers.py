"""What every backbone is: pixels in, an embedding out, and the last pixel features on request."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn


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
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if not linear:
            layers.append(nn.PReLU(outputs))
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
