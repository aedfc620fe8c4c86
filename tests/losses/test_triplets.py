"""Triplet losses against loops over every anchor, positive and negative."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.losses.harmonic import harmonic_triplet_loss
from crossface.losses.triplet import triplet_loss

LABELS = torch.tensor([0, 1, 0, 2, 1, -1, 0, 3])


def drawn(seed=0, rows=8, dim=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dim, generator=generator, dtype=torch.float64)


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


def loop(anchors, candidates, labels, candidate_labels, own, margin):
    """Mean hinge; ``own[i]`` is the candidate that is anchor i itself."""
    hinges = []
    for i, anchor in enumerate(anchors):
        if labels[i] < 0:
            continue

        def distance(k, anchor=anchor):
            return float((anchor - candidates[k]).square().sum())

        negatives = [
            distance(k)
            for k in range(len(candidates))
            if candidate_labels[k] >= 0 and candidate_labels[k] != labels[i]
        ]
        for k in range(len(candidates)):
            if k == own[i] or candidate_labels[k] != labels[i] or not negatives:
                continue
            farther = [d for d in negatives if d > distance(k)]
            chosen = min(farther) if farther else max(negatives)
            hinges.append(max(0.0, distance(k) - chosen + margin))
    return sum(hinges) / len(hinges)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), margin=st.floats(0.01, 2), dim=st.integers(2, 12))
def test_triplet_loss_is_the_loop_over_anchors_positives_and_negatives(seed, margin, dim):
    x = drawn(seed, dim=dim)
    rows = unit(x)
    expected = loop(rows, rows, LABELS, LABELS, range(len(rows)), margin)
    got = triplet_loss(x, LABELS, margin=margin)
    assert got.item() == pytest.approx(expected, abs=1e-12)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 1000), margin=st.floats(0.01, 2), dim=st.integers(2, 12))
def test_harmonic_triplet_loss_is_the_loop_over_both_spaces(seed, margin, dim):
    new, old = drawn(seed, dim=dim), drawn(seed + 7, dim=dim)
    both, labels = torch.cat([unit(new), unit(old)]), torch.cat([LABELS, LABELS])
    expected = loop(unit(new), both, LABELS, labels, range(len(new)), margin)
    got = harmonic_triplet_loss(new, LABELS, old, margin=margin)
    assert got.item() == pytest.approx(expected, abs=1e-12)


def test_the_negative_is_the_nearest_one_beyond_the_positive():
    """On a circle: anchor 0, positive at 40 degrees, negatives at 20, 60 and 90 degrees."""
    degrees = torch.tensor([0.0, 40, 20, 60, 90], dtype=torch.float64).deg2rad()
    x = torch.stack([degrees.cos(), degrees.sin()], 1)
    labels = torch.tensor([0, 0, 1, 2, 3])

    def squared(a, b):
        return 2 - 2 * torch.cos(degrees[a] - degrees[b])

    # Seen from the positive, 40 degrees away from the anchor: 90 is the nearest beyond.
    expected = [squared(0, 1) - squared(0, 3) + 1, squared(1, 0) - squared(1, 4) + 1]
    got = triplet_loss(x, labels, margin=1.0)
    torch.testing.assert_close(got, sum(expected) / 2)


def test_a_negative_as_far_as_the_positive_is_not_beyond_it():
    x = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0]])
    labels = torch.tensor([0, 0, 1, 2])  # squared distances: positive 2, negatives 2 and 4 or 2
    assert triplet_loss(x, labels, margin=0.5).item() == pytest.approx((0.0 + 0.5) / 2)


def test_no_gradient_reaches_the_old_space():
    new, old = drawn().requires_grad_(), drawn(1).requires_grad_()
    harmonic_triplet_loss(new, LABELS, old).backward()
    assert new.grad.abs().sum() > 0
    assert old.grad is None


def test_a_new_space_that_is_the_old_one_with_people_apart_costs_nothing():
    x = torch.eye(4, dtype=torch.float64)[torch.tensor([0, 0, 1, 2, 3])]
    labels = torch.tensor([0, 0, 1, 2, 3])
    assert harmonic_triplet_loss(x, labels, x).item() == 0
    assert harmonic_triplet_loss(x.roll(1, dims=1), labels, x).item() > 0  # turned away from it


@pytest.mark.parametrize("labels", [torch.arange(8), torch.zeros(8, dtype=torch.int64)])
def test_without_positives_or_negatives_the_loss_is_zero_and_so_is_its_gradient(labels):
    x = drawn().requires_grad_()
    value = triplet_loss(x, labels)
    value.backward()
    assert value.item() == 0
    assert x.grad.eq(0).all()


def test_a_margin_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="margin must be positive"):
        triplet_loss(drawn(), LABELS, margin=0.0)
    with pytest.raises(ValueError, match="new and old embeddings must have one shape"):
        harmonic_triplet_loss(drawn(), LABELS, drawn(dim=5))
