"""A small single-stage face detector: score, box, five landmarks and head pose of every cell."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossface.nets.layers import DepthwiseConv2d, init_conv_net

STRIDES = (8, 16, 32)
"""Pixels between neighbouring cells of the three maps."""

_WIDTHS = (1, 4, 10, 3)
_RARE = -4.0  # logit of the first score: faces are rare among cells


class DetectorOutputs(NamedTuple):
    """What the network says of every cell, row by row, stride 8 first.

    Attributes:
        score: (B, A, 1) logits while training, else sigmoids of them.
        box: (B, A, 4): middle of the box from the middle of the cell, x and y in strides; logarithm
            of its width and height in strides.
        points: (B, A, 10): five landmarks from the middle of the cell, x and y in strides.
        angles: (B, A, 3): yaw, pitch and roll in units of 90 degrees.
    """

    score: Tensor
    box: Tensor
    points: Tensor
    angles: Tensor


class FaceDetector(nn.Module):
    """(B, 3, H, W) RGB in [-1, 1] to ``DetectorOutputs``; H and W are multiples of 32.

    Depthwise separable blocks to strides 8, 16 and 32, coarse maps added to finer ones, one head
    per stride. ReLU everywhere: the fastest activation in every runtime.

    Args:
        stem: channels at stride 2.
        stages: channels at strides 4, 8, 16 and 32.
        depths: blocks at those strides, of which the first one halves the map.
        neck: channels of the three maps that the heads see.
        head_depth: blocks before a head's last convolution.

    Paper: the layout of YuNet, MIR 2023, and the head pose as a task of the same network of MOS,
    arXiv:2110.10953.
    Deviation: one set of channels instead of MOS's cross-stitched streams; pose by regression
    instead of 66 bins; blocks with residuals.
    """

    def __init__(
        self,
        stem: int = 16,
        stages: tuple[int, int, int, int] = (24, 48, 64, 96),
        depths: tuple[int, int, int, int] = (1, 3, 3, 3),
        neck: int = 48,
        head_depth: int = 2,
    ) -> None:
        super().__init__()
        self.arch: dict[str, object] = {
            "stem": stem,
            "stages": list(stages),
            "depths": list(depths),
            "neck": neck,
            "head_depth": head_depth,
        }
        self.stem = _conv(3, stem, 3, stride=2)
        widths = (stem, *stages)
        self.stages = nn.ModuleList(
            nn.Sequential(
                _Separable(widths[n], widths[n + 1], stride=2),
                *[_Separable(widths[n + 1], widths[n + 1]) for _ in range(depths[n] - 1)],
            )
            for n in range(4)
        )
        self.laterals = nn.ModuleList(_conv(width, neck, 1) for width in stages[1:])
        self.heads = nn.ModuleList(
            nn.Sequential(
                *[_Separable(neck, neck) for _ in range(head_depth)],
                nn.Conv2d(neck, sum(_WIDTHS), 1),
            )
            for _ in STRIDES
        )
        init_conv_net(self)
        for head in self.heads:
            last = head[-1]  # type: ignore[index]
            nn.init.normal_(last.weight, std=0.01)
            with torch.no_grad():
                last.bias[0] = _RARE

    def forward(self, x: Tensor) -> DetectorOutputs:
        """See the class."""
        x = self.stem(x)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        rows = []
        coarser: Tensor | None = None
        for level in reversed(range(len(STRIDES))):
            here = self.laterals[level](maps[level + 1])
            if coarser is not None:
                here = here + F.interpolate(coarser, scale_factor=2.0, mode="nearest")
            coarser = here
            rows.append(self.heads[level](here).flatten(2).transpose(1, 2))
        every = torch.cat(rows[::-1], 1).float()
        score, box, points, angles = torch.split(every, list(_WIDTHS), dim=2)
        if not self.training:
            score = score.sigmoid()
        return DetectorOutputs(score, box, points, angles)


class _Separable(nn.Module):
    """Depthwise 3x3 and pointwise convolution, with what came in added where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.adds = inputs == outputs and stride == 1
        self.depthwise = DepthwiseConv2d(inputs, 3, stride, 1)
        self.between = nn.BatchNorm2d(inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.after = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.between(self.depthwise(x)))
        y = self.after(self.pointwise(y))
        return F.relu(x + y if self.adds else y)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def cell_middles(size_hw: tuple[int, int]) -> Tensor:
    """(A, 3) float32: x and y of the middle of each cell in px, and its stride."""
    parts = []
    for stride in STRIDES:
        y, x = torch.meshgrid(
            torch.arange(size_hw[0] // stride), torch.arange(size_hw[1] // stride), indexing="ij"
        )
        middle = (torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride
        parts.append(torch.cat([middle, torch.full((len(middle), 1), float(stride))], 1))
    return torch.cat(parts)
