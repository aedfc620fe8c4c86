"""Assignment and losses of the detector against loops from their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from crossface.losses.detection import HEIGHTS_PX, Faces, assign, detection_losses, diou
from crossface.nets.detector import cell_middles

SIZE = (128, 160)


def faces_of(seed, scenes=2, most=5):
    g = torch.Generator().manual_seed(seed)
    middle = torch.rand(scenes, most, 2, generator=g) * torch.tensor([160.0, 128.0])
    height = torch.exp(torch.rand(scenes, most, 1, generator=g) * 3 + 2)
    half = torch.cat([height * 0.4, height * 0.5], -1)
    boxes = torch.cat([middle - half, middle + half], -1)
    points = (
        middle[:, :, None] + torch.randn(scenes, most, 5, 2, generator=g) * half[:, :, None] / 3
    )
    angles = torch.randn(scenes, most, 3, generator=g) * 20
    weight = torch.randint(-1, 2, (scenes, most), generator=g).float()
    return Faces(boxes, points, angles, weight)


def by_loops(cells, faces, scene):
    """For each cell: its face or None, and whether it is ignored."""
    for x, y, stride in cells.tolist():
        low, high = HEIGHTS_PX[int(stride)]
        best, nearest, ignored = None, math.inf, False
        for n, weight in enumerate(faces.weight[scene].tolist()):
            if weight < 0:
                continue
            x1, y1, x2, y2 = faces.boxes[scene, n].tolist()
            size = math.sqrt((x2 - x1) * (y2 - y1))
            dx, dy = abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)
            away = max(dx, dy) / stride
            within = dx <= (x2 - x1) / 2 and dy <= (y2 - y1) / 2
            fits = weight > 0 and low <= size < high
            if fits and within and away < 1.5 and away < nearest:
                best, nearest = n, away
            if low / 1.5 <= size < high * 1.5 and away < 2:
                ignored = True
            if weight == 0 and dx < 0.35 * (x2 - x1) and dy < 0.35 * (y2 - y1):
                ignored = True
        yield best, ignored and best is None


@pytest.mark.parametrize("seed", range(6))
def test_assignment_is_that_of_the_loops(seed):
    cells, faces = cell_middles(SIZE), faces_of(seed)
    face, positive, ignored = assign(cells, faces)
    for scene in range(2):
        for n, (owner, skipped) in enumerate(by_loops(cells, faces, scene)):
            assert bool(positive[scene, n]) == (owner is not None)
            assert bool(ignored[scene, n]) == skipped
            if owner is not None:
                assert int(face[scene, n]) == owner


def test_every_size_has_a_stride_that_answers_for_it():
    for size in range(1, 600):
        strides = [s for s, (low, high) in HEIGHTS_PX.items() if low <= size < high]
        assert 1 <= len(strides) <= 2


def test_the_smallest_face_has_a_cell_wherever_it_lies():
    cells = cell_middles((64, 64))
    for x in range(20, 40):
        for y in range(20, 40, 3):
            box = torch.tensor([[[x - 4.25, y - 5.5, x + 4.25, y + 5.5]]])
            faces = Faces(box, torch.zeros(1, 1, 5, 2), torch.zeros(1, 1, 3), torch.ones(1, 1))
            assert assign(cells, faces).positive.any()


def test_cells_lie_in_the_middle_of_their_squares():
    cells = cell_middles((64, 96))
    assert cells[0].tolist() == [4, 4, 8]
    assert cells[12].tolist() == [4, 12, 8]
    assert cells[8 * 12].tolist() == [8, 8, 16]
    assert cells[-1].tolist() == [80, 48, 32]
    assert len(cells) == 8 * 12 + 4 * 6 + 2 * 3


def loop_diou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    iou = width * height / (sum(area) - width * height)
    hull = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    apart = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    return iou, 1 - iou + apart / hull


def test_diou_is_that_of_the_paper():
    g = torch.Generator().manual_seed(0)
    low = torch.rand(2, 20, 2, generator=g) * 10
    boxes = torch.cat([low, low + 1 + torch.rand(2, 20, 2, generator=g) * 10], -1)
    overlap, loss = diou(boxes[0], boxes[1])
    for n in range(20):
        wanted = loop_diou(boxes[0, n].tolist(), boxes[1, n].tolist())
        assert overlap[n].item() == pytest.approx(wanted[0], abs=1e-5)
        assert loss[n].item() == pytest.approx(wanted[1], abs=1e-5)


def smooth_l1(value):
    return 0.5 * value * value if abs(value) < 1 else abs(value) - 0.5


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_those_of_the_loops(seed):
    cells, faces = cell_middles(SIZE), faces_of(seed)
    g = torch.Generator().manual_seed(seed)
    score, box, points, angles = (
        torch.randn(2, len(cells), width, generator=g) for width in (1, 4, 10, 3)
    )
    got = detection_losses((score, box, points, angles), cells, faces)
    sums, count = dict.fromkeys(("score", "box", "points", "angles"), 0.0), 0
    for scene in range(2):
        for n, (owner, skipped) in enumerate(by_loops(cells, faces, scene)):
            p = 1 / (1 + math.exp(-score[scene, n, 0].item()))
            target = 0.0
            if owner is not None:
                count += 1
                x, y, stride = cells[n].tolist()
                b, wanted = box[scene, n].tolist(), faces.boxes[scene, owner].tolist()
                mx, my = x + b[0] * stride, y + b[1] * stride
                w, h = math.exp(b[2]) * stride, math.exp(b[3]) * stride
                found = [mx - w / 2, my - h / 2, mx + w / 2, my + h / 2]
                iou, distance = loop_diou(found, wanted)
                target = (1 + iou) / 2
                sums["box"] += distance
                size = math.sqrt((wanted[2] - wanted[0]) * (wanted[3] - wanted[1]))
                for k in range(5):
                    for axis, middle in enumerate((x, y)):
                        at = middle + points[scene, n, 2 * k + axis].item() * stride
                        off = at - faces.points[scene, owner, k, axis].item()
                        sums["points"] += smooth_l1(off / size * 20) / 10
                for k in range(3):
                    off = angles[scene, n, k].item() * 90 - faces.angles[scene, owner, k].item()
                    sums["angles"] += smooth_l1(off / 15) / 3
            if not skipped:
                entropy = -target * math.log(p) - (1 - target) * math.log(1 - p)
                sums["score"] += (p - target) ** 2 * entropy
    assert count > 0
    for name, value in sums.items():
        assert got[name].item() == pytest.approx(value / count, rel=1e-4)
    total = 2 * sums["score"] + 2 * sums["box"] + sums["points"] + 0.4 * sums["angles"]
    assert got["loss"].item() == pytest.approx(total / count, rel=1e-4)


def test_scenes_without_faces_only_lower_scores():
    cells, faces = cell_middles((64, 64)), faces_of(0)
    none = faces._replace(weight=torch.full_like(faces.weight, -1))
    outputs = [torch.zeros(2, len(cells), w, requires_grad=True) for w in (1, 4, 10, 3)]
    losses = detection_losses(tuple(outputs), cells, none)
    assert losses["box"].item() == losses["points"].item() == losses["angles"].item() == 0
    losses["loss"].backward()
    assert (outputs[0].grad > 0).all()
