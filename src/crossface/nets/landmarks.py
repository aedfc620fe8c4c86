"""A second look at a face that a detector found: is it one, and where exactly are its landmarks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from crossface.nets.layers import init_conv_net
from crossface.nets.resnet_lite import conv_norm

CROP_PX = 64
"""Side of the crop it looks at."""

_STEM_PX = 32  # side of the first map


class LandmarkOutputs(NamedTuple):
    """What the network says of every crop.

    Attributes:
        score: (B, 1) logits while training, else sigmoids of them: that this is a face.
        points: (B, 10): five landmarks from where the template has them, x and y in eye distances
            of the template.
        angles: (B, 3): yaw, pitch and roll in the crop, in units of 90 degrees.
    """

    score: Tensor
    points: Tensor
    angles: Tensor


class LandmarkNet(nn.Module):
    """(B, 3, 64, 64) RGB in [-1, 1], roughly aligned, to ``LandmarkOutputs``.

    Dense 3x3 convolutions, each stage halving the map, then one linear map of the last 4x4 cells,
    so that every landmark may look anywhere.

    Args:
        channels: at 32x32, 16x16, 8x8 and 4x4.

    Paper: a cascade's last network, as O-Net of MTCNN, arXiv:1604.02878, section III.
    Deviation: the crop is aligned by the landmarks of the first network, not cut by its box, so
    the same network can look again at what it moved itself; head pose is told too.
    """

    def __init__(self, channels: tuple[int, int, int, int] = (12, 24, 32, 40)) -> None:
        super().__init__()
        self.arch: dict[str, object] = {"channels": list(channels)}
        layers: list[nn.Module] = []
        inputs = 3
        for number, outputs in enumerate(channels):
            layers += [*conv_norm(inputs, outputs, 3, stride=2), nn.ReLU(inplace=True)]
            if number == 1:
                layers += [*conv_norm(outputs, outputs, 3), nn.ReLU(inplace=True)]
            inputs = outputs
        self.body = nn.Sequential(*layers, nn.Flatten())
        cells = (_STEM_PX >> (len(channels) - 1)) ** 2
        self.head = nn.Linear(inputs * cells, 1 + 10 + 3)
        init_conv_net(self)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, x: Tensor) -> LandmarkOutputs:
        """See the class."""
        told = self.head(self.body(x)).float()
        score, points, angles = told[:, :1], told[:, 1:11], told[:, 11:]
        if not self.training:
            score = score.sigmoid()
        return LandmarkOutputs(score, points, angles)
