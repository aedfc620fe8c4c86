"""Metrics against loops from the definition and against scikit-learn."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from crossface.evaluation import metrics

# few distinct values, so that ties are the rule
coarse = st.integers(-5, 5).map(lambda v: v / 5)
sides = st.lists(coarse, min_size=1, max_size=25).map(lambda v: np.array(v, dtype=np.float32))
calm = settings(derandomize=True, deadline=None, max_examples=30)


def test_a_comparison_is_accepted_at_the_threshold_itself():
    scores = np.array([0.1, 0.5, 0.9])
    assert metrics.fmr_at(scores, 0.5) == pytest.approx(2 / 3)
    assert metrics.fnmr_at(scores, 0.5) == pytest.approx(1 / 3)


@calm
@given(sides, sides)
def test_auc_is_the_share_of_ordered_pairs_with_ties_counting_half(genuine, impostor):
    wins = sum((g > i) + 0.5 * (g == i) for g, i in itertools.product(genuine, impostor))
    want = wins / (len(genuine) * len(impostor))
    assert metrics.auc(genuine, impostor) == pytest.approx(want, abs=1e-12)
    labels = np.r_[np.ones(len(genuine)), np.zeros(len(impostor))]
    assert metrics.auc(genuine, impostor) == pytest.approx(
        roc_auc_score(labels, np.r_[genuine, impostor]), abs=1e-12
    )


@calm
@given(sides, sides)
def test_roc_holds_both_rates_at_every_threshold(genuine, impostor):
    curve = metrics.roc(genuine, impostor)
    for t, fmr, fnmr in zip(*curve, strict=True):
        assert fmr == pytest.approx(sum(bool(s >= t) for s in impostor) / len(impostor))
        assert fnmr == pytest.approx(sum(bool(s < t) for s in genuine) / len(genuine))
    assert np.isinf(curve.thresholds[0])
    assert (curve.fmr[0], curve.fmr[-1], curve.fnmr[0], curve.fnmr[-1]) == (0, 1, 1, 0)


def test_roc_has_the_points_of_scikit_learn():
    rng = np.random.default_rng(0)
    genuine, impostor = rng.normal(1, 1, 300), rng.normal(0, 1, 500)
    labels = np.r_[np.ones(300), np.zeros(500)]
    fpr, tpr, thresholds = roc_curve(labels, np.r_[genuine, impostor], drop_intermediate=False)
    curve = metrics.roc(genuine, impostor)
    np.testing.assert_allclose(curve.thresholds, thresholds)
    np.testing.assert_allclose(curve.fmr, fpr)
    np.testing.assert_allclose(1 - curve.fnmr, tpr)


def test_a_tail_of_impostor_scores_gives_the_upper_part_of_the_same_curve():
    rng = np.random.default_rng(1)
    genuine, impostor = rng.normal(2, 1, 200), rng.normal(0, 1, 1000)
    whole = metrics.roc(genuine, impostor)
    part = metrics.roc(genuine, np.sort(impostor)[-100:], n_impostor=1000)
    count = len(part.thresholds)
    for a, b in zip(part, whole, strict=True):
        np.testing.assert_allclose(a, b[:count])
    assert part.fmr[-1] == pytest.approx(0.1)


@calm
@given(sides, sides)
def test_eer_lies_between_the_rates_on_both_sides_of_the_crossing(genuine, impostor):
    value, threshold = metrics.eer(genuine, impostor)
    above = [t for t in np.r_[genuine, impostor, 9.0] if t > threshold + 1e-9]
    below = [t for t in np.r_[genuine, impostor] if t < threshold - 1e-9]
    for t in above:  # stricter: fewer false matches, more false non-matches
        assert metrics.fmr_at(impostor, t) <= value + 1e-9
        assert metrics.fnmr_at(genuine, t) >= value - 1e-9
    for t in below:
        assert metrics.fmr_at(impostor, t) >= value - 1e-9
        assert metrics.fnmr_at(genuine, t) <= value + 1e-9


def test_eer_by_hand():
    # t=0.6: FMR 1/4, FNMR 1/4
    found = metrics.eer(np.array([0.9, 0.8, 0.7, 0.3]), np.array([0.6, 0.5, 0.2, 0.1]))
    assert found.value == pytest.approx(0.25)
    assert found.threshold == pytest.approx(0.6)
    # between t=0.5 (FMR 0, FNMR 1/2) and t=0.4 (FMR 1, FNMR 1/2): half way
    found = metrics.eer(np.array([0.5, 0.3]), np.array([0.4]))
    assert found.value == pytest.approx(0.5)
    assert found.threshold == pytest.approx(0.45)
    assert metrics.eer(np.array([0.9]), np.array([0.1])).value == 0


@calm
@given(sides, sides, st.sampled_from([0.01, 0.1, 0.2, 0.25, 0.5, 0.9]))
def test_the_threshold_is_the_smallest_that_keeps_the_fmr(genuine, impostor, target):
    threshold = metrics.threshold_at_fmr(impostor, target)
    assert metrics.fmr_at(impostor, threshold) <= target
    lower = float(np.nextafter(np.float32(threshold), np.float32(-9)))
    assert metrics.fmr_at(impostor, lower) > target
    rates = [  # the best genuine rate over all thresholds that keep the FMR
        metrics.fnmr_at(genuine, t)
        for t in [*np.r_[genuine, impostor], 9.0]
        if metrics.fmr_at(impostor, t) <= target
    ]
    assert metrics.fnmr_at_fmr(genuine, impostor, target) == pytest.approx(min(rates))
    assert metrics.tar_at_fmr(genuine, impostor, target) == pytest.approx(1 - min(rates))


def test_a_target_that_falls_on_a_whole_number_of_false_matches_allows_that_many():
    impostor = np.arange(1000) / 1000
    for count in (1, 3, 7, 29):
        threshold = metrics.threshold_at_fmr(impostor, count / 1000)
        assert np.sum(impostor >= threshold) == count


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1])
def test_a_target_outside_zero_and_one_is_refused(target):
    with pytest.raises(ValueError, match="between 0 and 1"):
        metrics.threshold_at_fmr(np.array([0.5]), target)


def slow_accuracy(scores, same, folds):
    values = []
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        ranked = np.unique(scores[train])
        edges = [ranked[0] - 1, *((ranked[1:] + ranked[:-1]) / 2), ranked[-1] + 1]
        correct = [int(np.sum((scores[train] >= t) == same[train])) for t in edges]
        best = [t for t, c in zip(edges, correct, strict=True) if c == max(correct)]
        threshold = best[(len(best) - 1) // 2]
        values.append(np.mean((scores[test] >= threshold) == same[test]))
    return np.array(values)


@calm
@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([5, 50, 5000]))
def test_kfold_accuracy_is_the_loop_from_its_definition(seed, count, levels):
    rng = np.random.default_rng(seed)
    same = rng.random(60) < 0.5
    scores = np.round((rng.normal(size=60) + same) * levels) / levels
    folds = rng.permutation(60) % count
    found = metrics.kfold_accuracy(scores, same, folds)
    np.testing.assert_allclose(found.by_fold, slow_accuracy(scores, same, folds))
    assert found.value == pytest.approx(found.by_fold.mean())


def test_kfold_accuracy_by_hand_on_four_pairs():
    scores = np.array([0.9, 0.1, 0.4, 0.6])
    same = np.array([True, False, True, False])
    found = metrics.kfold_accuracy(scores, same, np.array([0, 0, 1, 1]))
    # fold 1 is judged midway between 0.1 and 0.9, which gets both of its pairs wrong
    assert found.thresholds[1] == pytest.approx(0.5)
    assert found.by_fold[1] == 0.0
    # fold 0: accepting both or neither of 0.4 and 0.6 is equally good, the lower is taken
    assert found.thresholds[0] == pytest.approx(-0.6)
    assert found.by_fold[0] == 0.5
    with pytest.raises(ValueError, match="at least two folds"):
        metrics.kfold_accuracy(scores, same, np.zeros(4, dtype=int))


@pytest.mark.parametrize("bad", [np.array([]), np.array([0.1, np.nan]), np.zeros((2, 2))])
def test_scores_that_are_empty_or_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="genuine scores must be"):
        metrics.auc(bad, np.array([0.1]))
    with pytest.raises(ValueError, match="impostor scores must be"):
        metrics.auc(np.array([0.1]), bad)
