"""Limits from variances, and whether they cover a known truth."""

import numpy as np
import pytest
from coverage_rows import all_pairs, listed_pairs, pair_rows, shares_of
from scipy import special, stats
from simulate import World, pair_list

from crossface.evaluation.intervals import (
    difference_interval,
    group_jackknife,
    rate_interval,
    too_few_false_matches,
)
from crossface.evaluation.pair_scores import PairStatistics


def test_a_rate_s_limits_are_symmetric_on_the_logit_scale():
    found = rate_interval(0.02, 0.005**2, trials=10_000, units=500)
    reach = 1.959964 * 0.005 / (0.02 * 0.98)
    want = special.expit(special.logit(0.02) + np.array([-reach, reach]))
    assert (found.low, found.high) == pytest.approx(tuple(want), rel=1e-6)


def test_few_degrees_of_freedom_widen_the_limits():
    wide = rate_interval(0.02, 0.005**2, trials=10_000, units=500, df=4)
    reach = stats.t.ppf(0.975, 4) * 0.005 / (0.02 * 0.98)
    assert wide.high == pytest.approx(special.expit(special.logit(0.02) + reach), rel=1e-6)
    assert difference_interval(0.1, 0.04, df=4).high == pytest.approx(
        0.1 + stats.t.ppf(0.975, 4) * 0.2
    )


def test_a_handful_of_errors_gets_exact_limits_for_the_effective_sample():
    # the variance is twice the binomial one: half as many trials
    value, trials = 4 / 1000, 1000
    found = rate_interval(
        value, 2 * value * (1 - value) / trials, trials=trials, units=50, errors=4
    )
    exact = (stats.beta.ppf(0.025, 2, 499), stats.beta.ppf(0.975, 3, 498))
    assert (found.low, found.high) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_error_at_all_counts_identities_as_trials(value):
    found = rate_interval(value, 0.0, trials=100_000, units=200, errors=0)
    far = 1 - 0.025 ** (1 / 200)
    want = (0.0, far) if value == 0 else (1 - far, 1.0)
    assert (found.low, found.high) == pytest.approx(want, abs=1e-9)


def test_thirty_expected_false_matches_are_enough_and_fewer_are_not():
    assert too_few_false_matches(1e-2, 3000) is None
    reason = too_few_false_matches(1e-3, 3000)
    assert "3 false matches are expected among 3000" in reason


def test_the_group_jackknife_of_a_mean_is_the_textbook_variance():
    # one genuine pair per identity, no impostor: the mean's variance is s^2 / n
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    people = np.arange(400)
    found = group_jackknife(lambda mask: np.array([values[mask].mean()]), people, people)
    assert found[0] == pytest.approx(values.var() / 400, rel=0.25)


def test_the_group_jackknife_does_not_count_an_impostor_pair_twice():
    rng = np.random.default_rng(1)
    a, b = np.triu_indices(60, 1)
    values = rng.normal(size=len(a))
    found = group_jackknife(lambda mask: np.array([values[mask].mean()]), a, b)
    assert found[0] == pytest.approx(values.var() / len(a), rel=0.45)


def test_the_group_jackknife_gives_the_same_every_time():
    pairs = pair_list(World(), np.random.default_rng(0), people=10, per_fold=10)
    statistics = PairStatistics(pairs, (1e-1,))
    one = group_jackknife(statistics, pairs.a, pairs.b)
    np.testing.assert_array_equal(one, group_jackknife(statistics, pairs.a, pairs.b))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_pairs_intervals_cover_the_truth():
    shares = shares_of([all_pairs(seed) for seed in range(1000)])
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_pair_list_intervals_cover_the_truth():
    found = [listed_pairs(seed) for seed in range(400)]
    values, variances = (np.array(column) for column in zip(*found, strict=True))
    shares = shares_of(pair_rows(values, variances))
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares
