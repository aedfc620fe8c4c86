"""SymFace's parts against loops and closed forms."""

import math

import numpy as np
import pytest
import torch

from crossface.core.template import ARCFACE_POINTS_112
from crossface.losses.symface import frontness_of, mirrored_halves, symmetry_loss


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_loss_is_the_loop_over_faces_that_are_frontal_enough():
    left, right = drawn(5, 4), drawn(5, 4, seed=1)
    frontness = torch.tensor([0.9, 0.5, 0.51, 0.1, 1.0], dtype=torch.float64)
    terms = []
    for a, b, rho in zip(left, right, frontness.tolist(), strict=True):
        cosine = float(a @ b / (a.norm() * b.norm()))
        terms.append(rho * (1 - cosine) if rho > 0.5 else 0.0)
    got = symmetry_loss(left, right, frontness)
    assert got.item() == pytest.approx(sum(terms) / 5)


def test_frontness_falls_with_the_nose_and_not_with_size_or_side():
    points = np.repeat(np.asarray(ARCFACE_POINTS_112, dtype=np.float64)[None], 4, 0)
    eyes = float(np.linalg.norm(points[0, 1] - points[0, 0]))
    middle = points[0, :2, 0].mean()
    points[:, 2, 0] = middle + np.array([0.0, 0.15, -0.15, 0.3]) * eyes
    expected = [1.0, math.exp(-1), math.exp(-1), math.exp(-4)]
    assert frontness_of(torch.from_numpy(points)).tolist() == pytest.approx(expected)
    assert frontness_of(torch.from_numpy(points * 3 + 5)).tolist() == pytest.approx(expected)
    assert frontness_of(torch.from_numpy(np.float32(ARCFACE_POINTS_112))[None]).item() > 0.99


def test_halves_are_completed_pixel_by_pixel():
    images = torch.arange(2 * 1 * 2 * 6.0).reshape(2, 1, 2, 6)
    first, second = mirrored_halves(images)
    for n in range(2):
        for row in range(2):
            a, b, c, d, e, f = images[n, 0, row].tolist()
            assert first[n, 0, row].tolist() == [a, b, c, c, b, a]
            assert second[n, 0, row].tolist() == [f, e, d, d, e, f]
    assert all(torch.equal(half, first) for half in mirrored_halves(first))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: mirrored_halves(torch.zeros(1, 3, 4, 5)), "even W"),
        (lambda: frontness_of(torch.zeros(5, 2)), r"\(N, 5, 2\)"),
        (lambda: frontness_of(torch.zeros(1, 5, 2), tolerance=0.0), "tolerance"),
        (lambda: symmetry_loss(drawn(2, 3), drawn(2, 3), torch.ones(3)), r"frontness must be \(2,"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
