"""Where on the face a teacher looks: the saliency map of CADFR's facial distance."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossface.core.protocols import FaceSource
from crossface.data.loader import to_input
from crossface.nets.layers import Backbone, tokens_to_map

_BATCH = 64


def saliency_map(
    teacher: Backbone, source: FaceSource, *, side: int, pictures: int = 2000
) -> Tensor:
    """Mean length of the teacher's last pixel features, per place of the aligned face.

    A final layer norm makes all lengths alike, so they are taken before it.

    Args:
        teacher: in eval mode; without a graph.
        source: aligned crops; ``pictures`` of them, evenly spaced, are looked at.
        side: rows and columns of the map.
        pictures: at most so many.

    Returns:
        (side, side) float32 in [0, 1]: bilinear from the teacher's grid, then the least salient
        place is 0 and the most salient 1. All 0 where every place is alike.

    Method: our reading (methods R6) of "saliency distance" in arXiv:2306.14662, whose formula was
    not found.
    """
    chosen = np.unique(np.linspace(0, len(source) - 1, min(pictures, len(source))).astype(int))
    device = next(teacher.parameters()).device
    total: Tensor | None = None
    with torch.inference_mode():
        for start in range(0, len(chosen), _BATCH):
            crops = np.stack([source.read(int(i)) for i in chosen[start : start + _BATCH]])
            x = to_input(torch.from_numpy(crops).to(device))
            lengths = _lengths(getattr(teacher, "net", teacher), x).sum(dim=0)
            total = lengths if total is None else total + lengths
    if total is None:
        raise ValueError("a saliency map needs at least one picture")
    grid = F.interpolate(
        total[None, None].cpu(), size=(side, side), mode="bilinear", align_corners=False
    )[0, 0].clone()
    spread = grid.max() - grid.min()
    return (grid - grid.min()) / spread if float(spread) > 0 else torch.zeros_like(grid)


def _lengths(net: Backbone, x: Tensor) -> Tensor:
    """(B, rows, columns) lengths of the last local features, before a final layer norm."""
    norm = getattr(net, "norm", None)
    if not isinstance(norm, nn.LayerNorm):
        of_map: Tensor = tokens_to_map(net.forward_features(x)).float().norm(dim=1)
        return of_map
    seen: list[Tensor] = []
    handle = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        rows, columns = net.forward_features(x).grid_hw
    finally:
        handle.remove()
    lengths: Tensor = seen[0].float().norm(dim=-1)
    return lengths.reshape(len(x), rows, columns)
