"""Regression and CADFR terms against loops and closed forms."""

import math

import pytest
import torch

from crossface.losses.cadfr import (
    attention_loss,
    centred_attention_loss,
    collapse_figures,
    feature_loss,
    prompt_loss,
)
from crossface.losses.embedding import cosine_distance_loss


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cosine_loss_is_the_loop_over_rows():
    student, target = drawn(5, 8), drawn(5, 8, seed=1)
    total = 0.0
    for a, b in zip(student.tolist(), target.tolist(), strict=True):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        total += 1 - dot / (math.hypot(*a) * math.hypot(*b))
    assert cosine_distance_loss(student, target).item() == pytest.approx(total / 5)


def test_cosine_loss_ignores_length_and_is_zero_two_one_at_same_opposite_orthogonal():
    x = torch.tensor([[3.0, 0.0]])
    assert cosine_distance_loss(x, x * 7).item() == pytest.approx(0, abs=1e-6)
    assert cosine_distance_loss(x, -x).item() == pytest.approx(2)
    assert cosine_distance_loss(x, torch.tensor([[0.0, 1.0]])).item() == pytest.approx(1)


def test_attention_and_feature_losses_are_the_mean_squared_difference():
    a, b = drawn(2, 3, 4, 4).softmax(-1), drawn(2, 3, 4, 4, seed=1).softmax(-1)
    pairs = zip(a.flatten().tolist(), b.flatten().tolist(), strict=True)
    expected = sum((x - y) ** 2 for x, y in pairs) / a.numel()
    assert attention_loss(a, b).item() == pytest.approx(expected)
    assert feature_loss(a[:, 0], a[:, 0]).item() == 0


def test_attention_and_feature_losses_teach_both_sides():
    for loss, shape in ((attention_loss, (2, 3, 4, 4)), (feature_loss, (2, 4, 6))):
        student, teacher = drawn(*shape).requires_grad_(), drawn(*shape, seed=1).requires_grad_()
        loss(student, teacher).backward()
        torch.testing.assert_close(student.grad, -teacher.grad)
        assert student.grad.abs().sum() > 0


def test_prompt_loss_leaves_the_unprompted_teacher_alone():
    prompted, plain = drawn(3, 8).requires_grad_(), drawn(3, 8, seed=1).requires_grad_()
    prompt_loss(prompted, plain).backward()
    assert prompted.grad.abs().sum() > 0
    assert plain.grad is None


@pytest.mark.parametrize("loss", [cosine_distance_loss, attention_loss, feature_loss, prompt_loss])
def test_losses_refuse_shapes_that_do_not_match(loss):
    with pytest.raises(ValueError, match=r"must have one shape .* got \(2, 3\) and \(2, 4\)"):
        loss(torch.zeros(2, 3), torch.zeros(2, 4))


def test_collapse_figures_of_a_collapsed_pair_are_their_worst_values():
    same = drawn(1, 4, 6).expand(5, 4, 6)
    flat = torch.full((5, 2, 4, 9), 1 / 9, dtype=torch.float64)
    figures = collapse_figures(same, flat)
    assert figures.spread == pytest.approx(0, abs=1e-12)
    assert figures.attention_entropy == pytest.approx(1)


def test_collapse_figures_of_known_features_are_known():
    """Three orthogonal directions of equal weight have effective rank 3 about their mean of 0."""
    axes = torch.eye(3, dtype=torch.float64)
    features = torch.stack([axes, -axes])
    sharp = torch.eye(3, dtype=torch.float64).expand(2, 1, 3, 3)
    figures = collapse_figures(features, sharp)
    assert figures.rank == pytest.approx(3)
    assert figures.attention_entropy == pytest.approx(0)
    assert figures.spread == pytest.approx(2 / 3)  # variance 2 on 3 of 9 numbers


def test_collapse_figures_need_two_pictures():
    with pytest.raises(ValueError, match="B >= 2"):
        collapse_figures(torch.zeros(1, 4, 6), torch.zeros(1, 1, 4, 4))


def test_centred_attention_loss_is_the_mean_of_cosines_written_as_a_loop():
    torch.manual_seed(3)
    student, teacher = (torch.softmax(torch.randn(2, 3, 4, 4), dim=-1) for _ in range(2))
    total = 0.0
    for b in range(2):
        for head in range(3):
            x = (student[b, head] - 0.25).flatten().double().numpy()
            y = (teacher[b, head] - 0.25).flatten().double().numpy()
            total += 1 - float(x @ y / ((x @ x) ** 0.5 * (y @ y) ** 0.5))
    found = centred_attention_loss(student, teacher).item()
    assert found == pytest.approx(total / 6, rel=1e-5)


def test_centred_attention_loss_does_not_see_how_strong_a_pattern_is():
    torch.manual_seed(4)
    pattern = torch.softmax(torch.randn(2, 2, 5, 5), dim=-1)
    faint = 0.2 + 0.001 * (pattern - 0.2)
    other = torch.softmax(torch.randn(2, 2, 5, 5), dim=-1)
    assert centred_attention_loss(pattern, faint).item() == pytest.approx(0.0, abs=1e-3)
    plain, weak = (centred_attention_loss(x, other).item() for x in (pattern, faint))
    assert plain == pytest.approx(weak, abs=1e-3)
