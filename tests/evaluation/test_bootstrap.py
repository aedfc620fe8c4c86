"""Weights of identities, and the statistics of a pair list under them."""

import numpy as np
import pytest
from simulate import World, pair_list

from crossface.evaluation import bootstrap as room
from crossface.evaluation import metrics
from crossface.evaluation.bootstrap import (
    genuine_rate_interval,
    identity_weights,
    product_weights,
    rate_replicates,
)
from crossface.evaluation.intervals import group_jackknife
from crossface.evaluation.pair_bootstrap import WeightedPairStatistics, product_bootstrap
from crossface.evaluation.pair_scores import PairScores, PairStatistics


def test_weights_have_mean_one_and_do_not_depend_on_the_blocks(monkeypatch):
    for kind in ("bayesian", "multinomial"):
        whole = identity_weights(50, 400, kind=kind)
        assert whole.shape == (400, 50)
        assert whole.mean() == pytest.approx(1, abs=0.03)
        assert whole.var() == pytest.approx(1, abs=0.15)
        with monkeypatch.context() as patch:
            patch.setattr(room, "_BLOCK_CELLS", 333)
            np.testing.assert_array_equal(identity_weights(50, 400, kind=kind), whole)
    assert not np.array_equal(identity_weights(5, 3), identity_weights(5, 3, seed=1))
    np.testing.assert_array_equal(identity_weights(9, 20, kind="multinomial").sum(axis=1), 9)
    with pytest.raises(ValueError, match="got 0 and 3"):
        identity_weights(0, 3)


def test_an_impostor_pair_weighs_the_product():
    weights = np.array([[2.0, 3.0, 5.0]])
    found = product_weights(weights, np.array([0, 0, 2]), np.array([0, 1, 1]))
    assert found.tolist() == [[2.0, 6.0, 15.0]]


@pytest.mark.parametrize("kind", ["bayesian", "multinomial"])
def test_a_replicate_of_a_rate_is_the_weighted_rate(kind):
    rng = np.random.default_rng(0)
    trials = rng.integers(1, 9, 20)
    errors = rng.binomial(trials, 0.3)
    found = rate_replicates(errors, trials, replicates=5, kind=kind)
    for value, row in zip(found, identity_weights(20, 5, kind=kind), strict=True):
        pooled = sum(w * e for w, e in zip(row, errors, strict=True))
        assert value == pytest.approx(pooled / sum(w * t for w, t in zip(row, trials, strict=True)))


@pytest.mark.parametrize("kind", ["bayesian", "multinomial"])
def test_the_variance_of_a_mean_is_the_textbook_one(kind):
    # one comparison each: the limits are those of s^2 / n on the logit scale
    errors = np.r_[np.ones(120), np.zeros(280)]
    found = genuine_rate_interval(errors, np.ones(400), kind=kind, replicates=4000)
    se = np.sqrt(0.3 * 0.7 / 399) / (0.3 * 0.7)
    logit = np.log(found.high / (1 - found.high)) - np.log(0.3 / 0.7)
    assert logit == pytest.approx(1.96 * se, rel=0.05)


def test_clustered_errors_widen_the_interval():
    trials = np.full(40, 10)
    spread_out = genuine_rate_interval(np.full(40, 2), trials)
    clustered = genuine_rate_interval(np.where(np.arange(40) < 8, 10, 0), trials)
    assert spread_out.value == clustered.value == 0.2
    assert clustered.high - clustered.low > 2 * (spread_out.high - spread_out.low)


def test_rates_without_errors_and_with_few_people():
    none = genuine_rate_interval(np.zeros(30), np.full(30, 4))
    assert (none.value, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 30))
    few = genuine_rate_interval(np.r_[np.ones(5), np.zeros(9)], np.r_[np.full(9, 2), np.zeros(5)])
    assert few.low is None
    assert "there are 9" in few.reason
    with pytest.raises(ValueError, match="at least one trial"):
        genuine_rate_interval(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="between 0 and its trials"):
        genuine_rate_interval(np.full(3, 2), np.ones(3))


@pytest.fixture(scope="module")
def small():
    return pair_list(World(), np.random.default_rng(0), folds=5, people=12, per_fold=12)


def repeated(pairs, times):
    index = np.repeat(np.arange(len(times)), times)
    return PairScores(
        pairs.scores[index],
        pairs.same[index],
        pairs.folds[index],
        pairs.a[index],
        pairs.b[index],
        0,
    )


def test_whole_weights_are_repeated_pairs(small):
    times = np.random.default_rng(1).integers(1, 4, len(small.scores))
    targets = (0.1, 0.25)
    found = WeightedPairStatistics(small, targets)(times[None].astype(float))[0]
    want = PairStatistics(repeated(small, times), targets).of_all()
    # the accuracy's rule for equally good thresholds is not the same: see below
    np.testing.assert_allclose(found[1:], want[1:], atol=1e-12)


def test_the_weighted_accuracy_is_the_loop_from_its_definition(small):
    weights = np.random.default_rng(2).exponential(size=(3, len(small.scores)))
    found = WeightedPairStatistics(small, ())(weights)[:, 0]
    for value, row in zip(found, weights, strict=True):
        shares = []
        for fold in np.unique(small.folds):
            train, test = small.folds != fold, small.folds == fold
            ranked = np.unique(small.scores[train].astype(np.float64))
            edges = [ranked[0] - 1, *((ranked[1:] + ranked[:-1]) / 2), ranked[-1] + 1]
            gains = [
                np.sum(row[train] * ((small.scores[train] >= t) == small.same[train]))
                for t in edges
            ]
            best = edges[int(np.argmax(gains))]
            right = (small.scores[test].astype(np.float64) >= best) == small.same[test]
            shares.append(np.average(right, weights=row[test]))
        assert value == pytest.approx(np.mean(shares))


def test_ties_are_counted_half_and_rejected_together():
    scores = np.array([0.5, 0.5, 0.5, 0.2], dtype=np.float32)
    same = np.array([True, False, True, False])
    pairs = PairScores(scores, same, np.zeros(4, dtype=int), np.arange(4), np.arange(4), 0)
    found = WeightedPairStatistics(pairs, (0.9,))(np.ones((1, 4)))[0]
    assert np.isnan(found[0])  # a single fold
    assert found[1] == pytest.approx(metrics.auc(scores[same], scores[~same])) == 0.75
    assert found[2] == pytest.approx(metrics.eer(scores[same], scores[~same]).value)
    assert found[3] == 1.0


def test_the_product_bootstrap_is_seeded_and_wider_than_the_jackknife(small):
    one = product_bootstrap(small, (0.25,), replicates=300)
    np.testing.assert_array_equal(one, product_bootstrap(small, (0.25,), replicates=300))
    assert one.shape == (300, 4)
    world = pair_list(World(lamb=0.0, dyad=0.0), np.random.default_rng(4), folds=4, people=15)
    auc = product_bootstrap(world, (), replicates=300).var(axis=0)[1]
    assert auc > group_jackknife(PairStatistics(world, ()), world.a, world.b)[1]
