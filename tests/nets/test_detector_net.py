"""The detector's network: shapes, cells in their order, and what it costs."""

from __future__ import annotations

import pytest
import torch

from crossface.nets.detector import STRIDES, FaceDetector, cell_middles


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return FaceDetector(stem=4, stages=(6, 8, 8, 8), depths=(1, 1, 2, 1), neck=8, head_depth=1)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 32)])
def test_every_cell_has_a_row(net, size):
    net.eval()
    outputs = net(torch.randn(2, 3, *size))
    cells = len(cell_middles(size))
    assert cells == sum((size[0] // s) * (size[1] // s) for s in STRIDES)
    assert [o.shape for o in outputs] == [(2, cells, w) for w in (1, 4, 10, 3)]
    assert ((outputs.score > 0) & (outputs.score < 1)).all()


def test_rows_are_where_their_cells_are(net):
    """A change of a few pixels moves the scores of stride 8 most in the rows near it."""
    net.eval()
    size = (96, 128)
    cells = cell_middles(size)
    before = torch.zeros(1, 3, *size)
    after = before.clone()
    after[..., 40:44, 100:104] = 1
    with torch.no_grad():
        moved = (net(after).score - net(before).score)[0, :, 0].abs()
    fine = cells[:, 2] == 8
    row = int(moved[fine].argmax())
    x, y = cells[fine][row, :2].tolist()
    assert abs(x - 102) < 24
    assert abs(y - 42) < 24


def test_training_gives_logits_and_evaluation_their_sigmoid(net):
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        net.train()
        logits = net(x).score
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
                module.reset_running_stats()
        net(x)
        net.eval()
        scores = net(x).score
    assert (logits < 0).any()
    torch.testing.assert_close(scores, logits.sigmoid(), atol=2e-2, rtol=0.3)


def test_faces_are_rare_at_the_start():
    net = FaceDetector().eval()
    assert net(torch.randn(1, 3, 96, 96)).score.mean().item() < 0.1


def test_the_default_network_fits_into_half_a_megabyte():
    count = sum(p.numel() for p in FaceDetector().parameters())
    assert 60_000 <= count <= 100_000
