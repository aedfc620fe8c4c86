"""What identities and pairs of identities contribute, against deletion by hand."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from simulate import World, table

from crossface.evaluation import metrics
from crossface.evaluation.influence import (
    EqualError,
    FmrAt,
    FnmrAtFmr,
    Influence,
    _rank_without,
    auc_influence,
    combine,
    spread,
)

WORLD = World(people=25)


@pytest.fixture(scope="module")
def drawn():
    return WORLD.draw(np.random.default_rng(3))[0]


@pytest.fixture(scope="module")
def large():
    world = World(people=120, lamb=0.6, goat=0.2, coupling=0.0)
    return world.draw(np.random.default_rng(3))[0]


def impostors_without(scores, person):
    keep = (scores.tail_a != person) & (scores.tail_b != person)
    return scores.tail[keep]


def genuine_without(scores, person):
    return scores.genuine[scores.genuine_identity != person]


def people(scores):
    return range(len(scores.sizes))


@pytest.mark.parametrize("target", [1e-2, 5e-2])
def test_the_values_are_those_of_the_metrics(drawn, target):
    found = FnmrAtFmr(drawn, target)
    assert found.threshold == metrics.threshold_at_fmr(drawn.tail, target)
    assert found.influence.value == pytest.approx(
        metrics.fnmr_at_fmr(drawn.genuine, drawn.tail, target)
    )
    assert found.n_false_matches == np.sum(drawn.tail >= found.threshold)
    assert found.n_false_non_matches == np.sum(drawn.genuine < found.threshold)
    assert auc_influence(drawn).value == pytest.approx(
        metrics.auc(drawn.genuine, drawn.tail), abs=1e-4
    )
    crossing = metrics.eer(drawn.genuine, drawn.tail)
    assert EqualError.of(drawn).influence.value == pytest.approx(crossing.value)


def test_by_identity_is_the_mean_of_the_identities_rates(drawn):
    found = FnmrAtFmr(drawn, 1e-2, by_identity=True)
    rates = [
        np.mean(drawn.genuine[drawn.genuine_identity == g] < found.threshold)
        for g in people(drawn)
        if drawn.sizes[g] > 1
    ]
    assert found.influence.value == pytest.approx(np.mean(rates))


def test_the_rank_chosen_anew_is_the_one_found_by_deleting(drawn):
    target = 2e-2
    rank = target * drawn.n_impostor
    found = _rank_without(drawn, rank, target)
    for g in people(drawn):
        left = impostors_without(drawn, g)
        threshold = metrics.threshold_at_fmr(left, target)
        accepted = int(np.sum(drawn.tail >= threshold))
        assert abs(found[g] - accepted) < 1 + np.sum(drawn.tail == drawn.tail[accepted - 1])


def test_deviations_at_a_fixed_threshold_are_those_of_deleting(drawn):
    threshold = float(drawn.tail[200])
    found = FmrAt(drawn, threshold)
    value = metrics.fmr_at(drawn.tail, threshold)
    assert found.influence.value == pytest.approx(value)
    want = [metrics.fmr_at(impostors_without(drawn, g), threshold) - value for g in people(drawn)]
    np.testing.assert_allclose(found.influence.node, want, atol=1e-12)


@pytest.mark.parametrize("by_identity", [False, True])
def test_deviations_of_the_fnmr_follow_full_recomputation(large, by_identity):
    # full recomputation jumps from score to score, the straight line does not: close, not equal
    target = 2e-2
    found = FnmrAtFmr(large, target, by_identity=by_identity).influence
    full = []
    for g in people(large):
        threshold = metrics.threshold_at_fmr(impostors_without(large, g), target)
        left = genuine_without(large, g)
        owners = large.genuine_identity[large.genuine_identity != g]
        weights = 1 / large.genuine_of[owners] if by_identity else np.ones(len(left))
        full.append(np.average(left < threshold, weights=weights) - found.value)
    assert np.corrcoef(found.node, full)[0, 1] > 0.9
    assert 0.7 < np.std(found.node) / np.std(full) < 1.3


def test_deviations_of_auc_and_eer_follow_full_recomputation(large):
    for found, statistic, least in (
        (auc_influence(large), metrics.auc, 0.999),
        (EqualError.of(large).influence, lambda g, i: metrics.eer(g, i).value, 0.9),
    ):
        full = [
            statistic(genuine_without(large, g), impostors_without(large, g)) - found.value
            for g in people(large)
        ]
        assert np.corrcoef(found.node, full)[0, 1] > least
        assert 0.8 < np.std(found.node) / np.std(full) < 1.2


def test_the_variance_of_an_fmr_is_the_sum_over_pairs_that_share_an_identity():
    # equal sizes, so that the jackknife is the linear estimator up to (G-1) G / (G-2)^2
    count = 14
    sizes = np.full(count, 2)
    owner = np.repeat(np.arange(count), 2)
    i, j = np.triu_indices(2 * count, 1)
    rng = np.random.default_rng(5)
    bad = rng.normal(size=count) * 0.2
    score = rng.normal(size=len(i)) * 0.1 + bad[owner[i]] + bad[owner[j]]
    scores = table(sizes, score, owner[i], owner[j])
    threshold = 0.3
    found = FmrAt(scores, threshold).influence
    dyads = list(itertools.combinations(range(count), 2))
    residual = {}
    for a, b in dyads:
        mine = scores.tail[(scores.tail_a == a) & (scores.tail_b == b)]
        residual[a, b] = np.sum((mine >= threshold) - found.value) / scores.n_impostor
    linear = sum(residual[d] * residual[e] for d in dyads for e in dyads if set(d) & set(e))
    own = sum(residual[d] ** 2 for d in dyads)
    node = linear + own  # every pair's square is met once from either side
    want = node * (count - 1) / count * (count / (count - 2)) ** 2 - own
    assert linear > 0
    assert spread(found, sizes).variance == pytest.approx(want, rel=1e-9)


def test_independent_comparisons_are_not_overstated():
    # no identity effect at all: the variance is the binomial one, not twice it
    ratios = []
    for seed in range(10):
        scores = World(people=60, lamb=0.0, dyad=0.0).draw(np.random.default_rng(seed))[0]
        found = FmrAt(scores, 1.5 / 20).influence
        binomial = found.value * (1 - found.value) / scores.n_impostor
        ratios.append(spread(found, scores.sizes).variance / binomial)
    assert 0.7 < np.mean(ratios) < 1.4  # without the correction it is above 2


def test_few_identities_that_carry_everything_leave_few_degrees_of_freedom():
    even = Influence(0.5, np.tile([1.0, -1.0], 50), np.empty(0, dtype=np.int64), np.empty(0), 0.0)
    one = np.zeros(100)
    one[3] = 1.0
    heavy = Influence(0.5, one, np.empty(0, dtype=np.int64), np.empty(0), 0.0)
    sizes = np.ones(100, dtype=np.int64)
    assert spread(even, sizes).df > 1000
    assert spread(heavy, sizes).df == 4


def test_combining_a_model_with_itself_leaves_nothing(drawn):
    found = FnmrAtFmr(drawn, 1e-2).influence
    nothing = combine([(1.0, found), (-1.0, found)])
    assert nothing.value == 0
    assert spread(nothing, drawn.sizes).variance == pytest.approx(0, abs=1e-18)
    half = combine([(0.5, found), (0.5, found)])
    assert spread(half, drawn.sizes).variance == pytest.approx(spread(found, drawn.sizes).variance)


def test_targets_beyond_the_kept_tail_are_refused(drawn):
    short = replace(drawn, tail=drawn.tail[:50], tail_a=drawn.tail_a[:50], tail_b=drawn.tail_b[:50])
    with pytest.raises(ValueError, match="kept impostor scores end"):
        FnmrAtFmr(short, 0.2)
    with pytest.raises(ValueError, match="kept impostor scores end"):
        FmrAt(short, -0.9)
    assert EqualError.of(short) is None
