"""Margin heads against loops over the formula and against the published in-place code."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.losses import HEADS
from crossface.losses.margin import (
    ArcFace,
    CosFace,
    additive_margin_logits,
    cosine_logits,
    margin_logits,
)


def drawn_cosines(rows=6, classes=5, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(rows, classes, generator=generator, dtype=dtype) * 2 - 1) * 0.98


def loop_arcface(cosine, labels, margin, scale):
    rows = []
    for values, label in zip(cosine.tolist(), labels.tolist(), strict=True):
        row = []
        for index, value in enumerate(values):
            if index == label:
                angle = math.acos(value)
                if angle + margin < math.pi:
                    row.append(scale * math.cos(angle + margin))
                else:
                    row.append(scale * (value - margin * math.sin(margin)))
            else:
                row.append(scale * value)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def published_inplace_arcface(cosine, labels, margin, scale):
    """InsightFace's margin, written in place under no_grad."""
    logits = cosine * 1.0
    index = torch.where(labels != -1)[0]
    target = logits[index, labels[index].view(-1)]
    with torch.no_grad():
        target.arccos_()
        logits.arccos_()
        logits[index, labels[index].view(-1)] = target + margin
        logits.cos_()
    return logits * scale


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    margin=st.floats(0, 1.5),
    scale=st.floats(1, 64),
    gradient=st.sampled_from(["exact", "straight_through"]),
)
def test_arcface_is_the_loop_over_its_formula(seed, margin, scale, gradient):
    cosine = drawn_cosines(seed=seed)
    labels = torch.tensor([0, 1, 2, 3, 4, -1])
    got = margin_logits(cosine, labels, margin_rad=margin, scale=scale, gradient=gradient)
    torch.testing.assert_close(got, loop_arcface(cosine, labels, margin, scale))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), margin=st.floats(0, 1), scale=st.floats(1, 64))
def test_cosface_is_the_loop_over_its_formula(seed, margin, scale):
    cosine = drawn_cosines(seed=seed)
    labels = torch.tensor([4, 3, 2, 1, 0, -1])
    expected = [
        [scale * (value - margin * (column == label)) for column, value in enumerate(row)]
        for row, label in zip(cosine.tolist(), labels.tolist(), strict=True)
    ]
    got = additive_margin_logits(cosine, labels, margin=margin, scale=scale)
    torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64))


def test_straight_through_equals_the_published_inplace_code_in_value_and_gradient():
    labels = torch.tensor([0, 1, 2, 3, 4, -1])
    ours = drawn_cosines().abs().requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    a = margin_logits(ours, labels, gradient="straight_through")
    b = published_inplace_arcface(theirs, labels, 0.5, 64.0)
    torch.testing.assert_close(a, b)
    F.cross_entropy(a, labels, ignore_index=-1).backward()
    F.cross_entropy(b, labels, ignore_index=-1).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_straight_through_gradient_at_the_target_is_that_of_the_plain_cosine():
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    cosine = drawn_cosines().requires_grad_()
    weights = torch.linspace(-1, 1, cosine.numel(), dtype=torch.float64).view_as(cosine)
    margined = (margin_logits(cosine, labels, gradient="straight_through") * weights).sum()
    (got,) = torch.autograd.grad(margined, cosine)
    (plain,) = torch.autograd.grad((64.0 * cosine * weights).sum(), cosine)
    torch.testing.assert_close(got, plain)


def test_exact_gradient_at_the_target_is_the_derivative_of_the_shifted_cosine():
    cosine = torch.tensor([[0.8]], dtype=torch.float64, requires_grad=True)
    margin_logits(cosine, torch.tensor([0])).sum().backward()
    angle = math.acos(0.8)
    expected = 64.0 * math.sin(angle + 0.5) / math.sin(angle)
    assert cosine.grad.item() == pytest.approx(expected, rel=1e-12)
    assert abs(expected - 64.0) > 5


@pytest.mark.parametrize("gradient", ["exact", "straight_through"])
def test_arcface_target_falls_with_the_angle_over_all_angles(gradient):
    cosine = torch.linspace(1, -1, 2001, dtype=torch.float64)[:, None]
    labels = torch.zeros(len(cosine), dtype=torch.int64)
    target = margin_logits(cosine, labels, gradient=gradient)[:, 0]
    assert (target.diff() < 0).all()


def test_arcface_gradient_is_finite_on_the_centre_and_opposite_to_it():
    cosine = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    margin_logits(cosine, torch.tensor([0, 0])).sum().backward()
    assert torch.isfinite(cosine.grad).all()


@pytest.mark.parametrize("name", HEADS.names())
def test_head_without_labels_gives_the_scaled_cosine(name):
    torch.manual_seed(0)
    head = HEADS.resolve(name)(7, 4, scale=10.0)
    embeddings = torch.randn(5, 4) * 3
    expected = torch.empty(5, 7)
    for row in range(5):
        for column in range(7):
            e, w = embeddings[row], head.centres[column].detach()
            expected[row, column] = 10 * (e @ w) / (e.norm() * w.norm())
    got = head(embeddings, torch.full((5,), -1))
    torch.testing.assert_close(got.detach(), expected)


@pytest.mark.parametrize("name", HEADS.names())
def test_head_is_indifferent_to_the_length_of_centres_and_says_whether_to_that_of_embeddings(name):
    torch.manual_seed(0)
    head = HEADS.resolve(name)(7, 4).eval()
    embeddings, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, -1])
    before = head(embeddings, labels)
    with torch.no_grad():
        head.centres.mul_(torch.linspace(0.5, 9, 7)[:, None])
    torch.testing.assert_close(head(embeddings, labels), before, rtol=1e-4, atol=1e-4)
    change = (head(embeddings * 17, labels) - before).abs()
    assert (change.max() > 0.1) == head.reads_norm
    assert change[4].max() < 1e-4  # without a label there is no margin


@pytest.mark.parametrize("name", HEADS.names())
def test_head_computes_in_float32_under_autocast(name):
    torch.manual_seed(0)
    head = HEADS.resolve(name)(7, 4).eval()
    embeddings, labels = torch.randn(5, 4), torch.tensor([0, 1, 2, 3, -1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = head(embeddings, labels)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, head(embeddings, labels))


def test_starts_of_the_centres_have_the_stated_size():
    torch.manual_seed(0)
    normal = CosFace(400, 100, init="normal").centres
    assert normal.std().item() == pytest.approx(0.01, rel=0.02)
    xavier = ArcFace(400, 100).centres
    bound = math.sqrt(6 / 500)
    assert bound * 0.99 < xavier.abs().max().item() <= bound


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.tensor([0, 5]), r"labels must lie in \[-1, 5\), got 0..5"),
        (torch.tensor([-2, 0]), "got -2..0"),
        (torch.tensor([0]), r"labels must be \(2,\) int64"),
        (torch.tensor([0.0, 1.0]), "float32"),
    ],
)
def test_margin_refuses_labels_that_do_not_fit(labels, words):
    with pytest.raises(ValueError, match=words):
        margin_logits(torch.zeros(2, 5), labels)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ArcFace(0, 4), "class_count >= 1"),
        (lambda: CosFace(3, 4, scale=0.0), "scale must be positive"),
        (lambda: CosFace(3, 4, init="zeros"), "init must be"),
        (
            lambda: margin_logits(torch.zeros(1, 1), torch.tensor([0]), margin_rad=28.6),
            "margin_rad",
        ),
        (lambda: margin_logits(torch.zeros(1, 1), torch.tensor([0]), gradient="x"), "gradient"),
        (lambda: margin_logits(torch.zeros(3), torch.tensor([0])), r"must be \(N, C\)"),
        (lambda: additive_margin_logits(torch.zeros(1, 1), torch.tensor([0]), margin=3), "margin"),
    ],
)
def test_head_refuses_options_that_cannot_be_meant(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_cosine_of_a_row_with_its_own_centre_is_one():
    vectors = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(cosine_logits(vectors, vectors * 2).diagonal(), torch.ones(4))
