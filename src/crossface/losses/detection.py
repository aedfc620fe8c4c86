"""What a detector should have said of every cell, and how far it is from that."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

HEIGHTS_PX = {8: (0.0, 56.0), 16: (36.0, 128.0), 32: (88.0, float("inf"))}
"""Sizes of faces (root of the box's area) that each stride answers for; some sizes have two."""

REACH = 1.5
"""A cell in a face's box answers for it if the middle is nearer than this many strides along x and
y; a face of 9 px or more always has such a cell."""

AROUND = 2.0
"""Cells nearer than this many strides that do not answer for the face are ignored."""

DEGREES = 90.0
"""Unit of the network's angles."""


class Faces(NamedTuple):
    """The faces of a batch of scenes, padded to the same number.

    Attributes:
        boxes: (B, N, 4) px: x1, y1, x2, y2.
        points: (B, N, 5, 2) px.
        angles: (B, N, 3) degrees.
        weight: (B, N): 1 a face that must be found, 0 one that need not be, -1 padding.
    """

    boxes: Tensor
    points: Tensor
    angles: Tensor
    weight: Tensor


class Assigned(NamedTuple):
    """What each cell answers for.

    Attributes:
        face: (B, A) int64: the face of the cell, 0 where it has none.
        positive: (B, A) bool: the cell must say it is a face, and where.
        ignored: (B, A) bool: whatever the cell's score is, it is not wrong.
    """

    face: Tensor
    positive: Tensor
    ignored: Tensor


def assign(cells: Tensor, faces: Faces) -> Assigned:
    """Cells in a face of their size, near its middle, answer for it.

    Cells a little farther, those of a neighbouring stride, and those in the inner part of a face
    that need not be found are ignored. Of several faces the nearest one, in strides, is taken.

    Args:
        cells: (A, 3): x, y and stride, ``nets.detector.cell_middles``.
        faces: of the batch.
    """
    low, high = faces.boxes[..., :2], faces.boxes[..., 2:]
    middle, size = (low + high) / 2, high - low
    root = size.clamp_min(1e-3).prod(-1).sqrt()[:, None]  # (B, 1, N)
    stride = cells[:, 2]
    away = (cells[:, None, :2] - middle[:, None]).abs()  # (B, A, N, 2)
    strides_away = away.amax(-1) / stride[:, None]
    limits = torch.tensor([HEIGHTS_PX[int(s)] for s in stride.tolist()]).to(cells)
    fits = (root >= limits[:, :1]) & (root < limits[:, 1:])
    nearly = (root >= limits[:, :1] / 1.5) & (root < limits[:, 1:] * 1.5)
    real, counted = (faces.weight >= 0)[:, None], (faces.weight > 0)[:, None]
    near = (strides_away < REACH) & (away <= size[:, None] / 2).all(-1)
    candidate = near & fits & counted
    distance = torch.where(candidate, strides_away, torch.inf)
    best, face = distance.min(-1)
    positive = best < torch.inf
    around = nearly & (strides_away < AROUND) & real
    inner = (away < 0.35 * size[:, None]).all(-1) & real & ~counted
    ignored = (around | inner).any(-1) & ~positive
    return Assigned(torch.where(positive, face, 0), positive, ignored)


def detection_losses(
    outputs: tuple[Tensor, Tensor, Tensor, Tensor], cells: Tensor, faces: Faces
) -> dict[str, Tensor]:
    """Named scalar losses, "loss" their weighted sum.

    The score of a positive cell should be (1 + IoU) / 2, so that the best box wins the suppression;
    all others should be 0 (quality focal loss, power 2). Boxes: 1 - DIoU. Landmarks: smooth L1 in
    twentieths of the face's size. Angles: smooth L1 in 15 degrees.

    Args:
        outputs: (B, A, 1) logits, (B, A, 4) boxes, (B, A, 10) landmarks and (B, A, 3) angles: the
            network's while it trains, see ``nets.detector.DetectorOutputs``.
        cells: (A, 3).
        faces: of the batch.

    Paper: Generalized Focal Loss, arXiv:2006.04388, Eq. 3; Distance-IoU, arXiv:1911.08287, Eq. 7.
    Deviation: targets (1 + IoU) / 2 instead of IoU: a threshold of one half then means a face.
    """
    score, box, points, angles = outputs
    owner, positive, ignored = assign(cells, faces)
    rows = positive.nonzero()
    count = max(len(rows), 1)
    which = owner[positive]
    middle, stride = cells[rows[:, 1], :2], cells[rows[:, 1], 2:]
    wanted = faces.boxes[rows[:, 0], which]
    found = _corners(box[positive], middle, stride)
    overlap, distance = diou(found, wanted)
    target = torch.zeros_like(score[..., 0])
    target[positive] = (1 + overlap.detach().clamp(0, 1).to(target)) / 2
    logits = score[..., 0]
    plain = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    focal = plain * (target - logits.sigmoid()).square()
    size = (wanted[:, 2:] - wanted[:, :2]).clamp_min(1).prod(1).sqrt()[:, None, None]
    marks = middle[:, None] + points[positive].reshape(-1, 5, 2) * stride[:, None]
    error = (marks - faces.points[rows[:, 0], which]) / size * 20
    turn = (angles[positive] * DEGREES - faces.angles[rows[:, 0], which]) / 15
    losses = {
        "score": focal.masked_fill(ignored, 0).sum() / count,
        "box": distance.sum() / count,
        "points": F.smooth_l1_loss(error, torch.zeros_like(error), reduction="sum") / (10 * count),
        "angles": F.smooth_l1_loss(turn, torch.zeros_like(turn), reduction="sum") / (3 * count),
    }
    total = 2 * losses["score"] + 2 * losses["box"] + losses["points"] + 0.4 * losses["angles"]
    return {"loss": total, **losses}


def diou(found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """(P,) intersection over union of (P, 4) boxes, and the loss 1 - IoU + distance term."""
    low = torch.maximum(found[:, :2], wanted[:, :2])
    high = torch.minimum(found[:, 2:], wanted[:, 2:])
    shared = (high - low).clamp_min(0).prod(1)
    areas = (found[:, 2:] - found[:, :2]).prod(1) + (wanted[:, 2:] - wanted[:, :2]).prod(1)
    overlap = shared / (areas - shared).clamp_min(1e-6)
    hull_low = torch.minimum(found[:, :2], wanted[:, :2])
    hull_high = torch.maximum(found[:, 2:], wanted[:, 2:])
    diagonal = (hull_high - hull_low).square().sum(1).clamp_min(1e-6)
    apart = (found[:, :2] + found[:, 2:] - wanted[:, :2] - wanted[:, 2:]).square().sum(1) / 4
    return overlap, 1 - overlap + apart / diagonal


def _corners(box: Tensor, middle: Tensor, stride: Tensor) -> Tensor:
    centre = middle + box[:, :2] * stride
    half = box[:, 2:].clamp(-10, 10).exp() * stride / 2
    return torch.cat([centre - half, centre + half], 1)
