"""Facial positional encoding: how far a cell lies from the anchor of a face, and its code.

Distances are in cells of the grid of local centres; cell (column, row) has its centre at
(column, row), so a pixel x lies at x / cell_px - 0.5.

Paper: CADFR, D(i, anchor) = Euclid(i, anchor) + gamma * D_face(i, anchor), code I(D). The
formulas of D_face were not found: both variants here are our readings, not the paper's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from crossface.core.template import ARCFACE_POINTS_112

FaceDistance = Literal["none", "relative", "saliency", "both"]
Anchor = Literal["nose", "centre"]

_CROP_PX = 112
_NOSE = 2


def piecewise_index(distance: Tensor, ratio: float = 1.9) -> Tensor:
    """The piecewise index function: fine near zero, logarithmic and capped far away.

    With alpha = ratio, beta = 2 * ratio and gamma = 8 * ratio::

        I(x) = round(x)                                            for |x| <= alpha
        I(x) = sign(x) * min(beta, round(alpha + ln(|x| / alpha)
               / ln(gamma / alpha) * (beta - alpha)))              otherwise

    cast to an integer, so that beta acts as int(beta).

    Args:
        distance: any shape, floating.
        ratio: positive; iRPE uses 1.9.

    Returns:
        int64 of the same shape.

    Paper: Wu et al., "Rethinking and Improving Relative Position Encoding for Vision
    Transformer", arXiv:2107.14222, Eq. 18. Deviation: none.
    """
    alpha, beta, gamma = ratio, 2 * ratio, 8 * ratio
    size = distance.abs()
    steps = torch.log(size.clamp_min(alpha) / alpha) / math.log(gamma / alpha)
    far = (alpha + steps * (beta - alpha)).round().clamp_max(beta)
    return torch.where(size <= alpha, distance.round(), distance.sign() * far).long()


def code_count(ratio: float) -> int:
    """Codes that a distance, which is never negative, can have."""
    return int(2 * ratio) + 1


@dataclass(frozen=True, slots=True)
class FaceCoder:
    """Gives each cell of a grid over the crop the number of its code.

    Args:
        side: rows and columns of the grid of local centres; its cell is the unit of distance.
        face_distance: which facial distance is added. "relative": mean difference of the
            distances to the five landmarks of an aligned face. "saliency": difference of
            saliency times ``side - 1``. "both": their sum. Our readings.
        gamma: weight of the facial distance; 0.5 is our reading.
        ratio: of the piecewise index function.
        anchor: "nose", the cell nearest to the tip of the nose, or "centre" of the crop. Our
            reading: the paper's anchor was not found.
        saliency: (side, side) in [0, 1], for "saliency" and "both".
    """

    side: int
    face_distance: FaceDistance = "relative"
    gamma: float = 0.5
    ratio: float = 1.9
    anchor: Anchor = "nose"
    saliency: Tensor | None = None

    def __post_init__(self) -> None:
        needs_map = self.face_distance in {"saliency", "both"}
        if needs_map and self.saliency is None:
            raise ValueError(f"face_distance={self.face_distance!r} needs a saliency map")
        if self.saliency is not None:
            _check_saliency(self.saliency, self.side)
        if not (self.ratio > 0 and self.gamma >= 0):
            raise ValueError(
                f"ratio must be positive and gamma 0 or more, got {self.ratio}, {self.gamma}"
            )

    def codes(self, grid_hw: tuple[int, int]) -> Tensor:
        """(rows * columns,) int64 code of each cell of a grid, row by row.

        Distances are rounded before they are indexed, as iRPE does for Euclidean ones.
        """
        return piecewise_index(self.distances(grid_hw).round(), self.ratio)

    def distances(self, grid_hw: tuple[int, int]) -> Tensor:
        """(rows * columns,) float64 distance of each cell from the anchor, in centre cells."""
        cells = _cell_centres(grid_hw, self.side)
        anchor = self.anchor_cell()[None]
        total: Tensor = torch.linalg.vector_norm(cells - anchor, dim=1)
        if self.face_distance in {"relative", "both"}:
            total = total + self.gamma * self._relative(cells, anchor)
        if self.face_distance in {"saliency", "both"}:
            total = total + self.gamma * self._saliency(grid_hw)
        return total

    def anchor_cell(self) -> Tensor:
        """(2,) float64 column and row of the anchor."""
        if self.anchor == "centre":
            return torch.full((2,), (self.side - 1) / 2, dtype=torch.float64)
        return self._landmarks()[_NOSE].round()

    def _landmarks(self) -> Tensor:
        points = torch.from_numpy(ARCFACE_POINTS_112.copy())
        cells: Tensor = points * self.side / _CROP_PX - 0.5
        return cells

    def _relative(self, cells: Tensor, anchor: Tensor) -> Tensor:
        landmarks = self._landmarks()
        return (_far(cells, landmarks) - _far(anchor, landmarks)).abs().mean(1)

    def _saliency(self, grid_hw: tuple[int, int]) -> Tensor:
        if self.saliency is None:
            raise ValueError("there is no saliency map")
        field = self.saliency.detach().double().cpu()
        column, row = self.anchor_cell().tolist()
        at_anchor = field[math.floor(row) : math.ceil(row) + 1]
        at_anchor = at_anchor[:, math.floor(column) : math.ceil(column) + 1].mean()
        if grid_hw != (self.side, self.side):
            field = F.interpolate(field[None, None], grid_hw, mode="bilinear", align_corners=False)[
                0, 0
            ]
        return (self.side - 1) * (field.flatten() - at_anchor).abs()


def _cell_centres(grid_hw: tuple[int, int], side: int) -> Tensor:
    rows, columns = (
        (torch.arange(count, dtype=torch.float64) + 0.5) * side / count - 0.5 for count in grid_hw
    )
    return torch.cartesian_prod(rows, columns).flip(1)


def _far(a: Tensor, b: Tensor) -> Tensor:
    """(n, m) distances, by differences and not by a product that loses the last digits."""
    far: Tensor = torch.linalg.vector_norm(a[:, None] - b[None], dim=2)
    return far


def _check_saliency(saliency: Tensor, side: int) -> None:
    if saliency.shape != (side, side):
        raise ValueError(f"the saliency map must be ({side}, {side}), got {tuple(saliency.shape)}")
    if not bool(((saliency >= 0) & (saliency <= 1)).all()):
        raise ValueError("the saliency map must lie in 0..1")
