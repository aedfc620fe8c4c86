"""Attack detection rates, against counting and scipy's exact intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crossface.evaluation.attack import attack_rates, bpcer_at_apcer, threshold_at_apcer

calm = settings(derandomize=True, deadline=None, max_examples=25)


def drawn(seed, *, attacks=40, levels=8):
    rng = np.random.default_rng(seed)
    coarse = np.round(rng.random((4, attacks)) * levels) / levels
    kinds = {"mask": coarse[0], "print": coarse[1, :25], "replay": coarse[2] * 0.7}
    return kinds, coarse[3] * 0.5 + 0.5


def exact(errors, trials, level=0.95):
    limits = stats.binomtest(errors, trials).proportion_ci(level, method="exact")
    return pytest.approx((limits.low, limits.high), abs=1e-9)


@calm
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.25, 0.5, 0.8]))
def test_rates_are_counts_with_exact_limits(seed, threshold):
    kinds, real = drawn(seed)
    found = attack_rates(kinds, real, threshold)
    rates = {}
    for kind, scores in kinds.items():
        passed = sum(s >= threshold for s in scores)
        rates[kind] = passed / len(scores)
        one = found.apcer[kind]
        assert one.value == rates[kind]
        assert (one.low, one.high) == exact(passed, len(scores))
    assert found.apcer_max.value == max(rates.values()) == rates[found.worst]
    refused = sum(s < threshold for s in real)
    assert (found.bpcer.low, found.bpcer.high) == exact(refused, len(real))
    assert found.acer.value == pytest.approx((max(rates.values()) + refused / len(real)) / 2)
    assert found.acer.low <= found.acer.value <= found.acer.high


def test_the_limits_of_the_maximum_are_joint():
    kinds, real = {"a": np.r_[np.ones(3), np.zeros(47)], "b": np.zeros(50)}, np.ones(9)
    found = attack_rates(kinds, real, 0.5).apcer_max
    assert found.low == pytest.approx(stats.beta.ppf(0.0125, 3, 48))
    assert found.high == pytest.approx(stats.beta.ppf(0.9875, 4, 47))


@calm
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.2, 0.5]))
def test_the_threshold_is_the_smallest_that_no_kind_passes_too_often(seed, target):
    kinds, real = drawn(seed)
    threshold = threshold_at_apcer(kinds, target)
    assert attack_rates(kinds, real, threshold).apcer_max.value <= target
    lower = float(np.nextafter(threshold, -9))
    assert attack_rates(kinds, real, lower).apcer_max.value > target


def test_a_threshold_from_few_attacks_is_flagged():
    kinds, real = drawn(1)
    reason = bpcer_at_apcer(kinds, real, 0.1).bpcer.reason
    assert "2.5 errors are expected among 25 attacks of kind 'print'" in reason
    many = {"print": np.linspace(0, 1, 600)}
    assert bpcer_at_apcer(many, real, 0.05).bpcer.reason is None


def test_a_perfect_and_a_constant_detector():
    kinds, real = {"print": np.zeros(50)}, np.ones(50)
    found = attack_rates(kinds, real, 0.5)
    assert (found.apcer_max.value, found.bpcer.value, found.acer.value) == (0, 0, 0)
    found = bpcer_at_apcer({"print": np.ones(50)}, real, 0.1)
    assert (found.apcer_max.value, found.bpcer.value) == (0.0, 1.0)


def test_missing_or_broken_scores_are_refused_by_name():
    with pytest.raises(ValueError, match="at least one kind"):
        attack_rates({}, np.ones(3), 0.5)
    with pytest.raises(ValueError, match="at least one kind"):
        threshold_at_apcer({}, 0.1)
    with pytest.raises(ValueError, match="mask scores must be"):
        attack_rates({"mask": np.array([])}, np.ones(3), 0.5)
    with pytest.raises(ValueError, match="bona fide scores must be"):
        attack_rates({"mask": np.ones(2)}, np.array([np.nan]), 0.5)
