"""Quantiles and exact intervals against scipy."""

import numpy as np
import pytest
from scipy import stats

from crossface.evaluation.exact import (
    beta_cdf,
    beta_quantile,
    clopper_pearson,
    student_quantile,
)


@pytest.mark.parametrize("a", [0.5, 1.0, 3.7, 40.0, 5000.0])
@pytest.mark.parametrize("b", [0.5, 2.0, 900.0])
def test_beta_agrees_with_scipy(a, b):
    for x in (1e-6, 0.01, 0.3, 0.5, 0.9, 0.999):
        assert beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), rel=1e-8, abs=1e-13)
    for share in (0.025, 0.5, 0.975):
        assert beta_quantile(share, a, b) == pytest.approx(stats.beta.ppf(share, a, b), rel=1e-7)


@pytest.mark.parametrize(("x", "n"), [(0, 10), (10, 10), (1, 30), (7, 3000), (2.5, 41.3)])
def test_clopper_pearson_is_scipy_s_and_takes_fractions(x, n):
    low, high = clopper_pearson(x, n)
    assert low == pytest.approx(stats.beta.ppf(0.025, x, n - x + 1) if x else 0.0, abs=1e-9)
    assert high == pytest.approx(stats.beta.ppf(0.975, x + 1, n - x) if x < n else 1.0, abs=1e-9)
    if x == int(x) and n == int(n):
        exact = stats.binomtest(int(x), int(n)).proportion_ci(method="exact")
        assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_the_rule_of_three():
    assert clopper_pearson(0, 1000)[1] == pytest.approx(1 - 0.025 ** (1 / 1000), rel=1e-9)


def test_student_quantiles():
    for df in (1, 2.5, 4, 30, 500):
        assert student_quantile(0.975, df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-8)
    assert student_quantile(0.975, np.inf) == pytest.approx(1.959964, rel=1e-6)


def test_nonsense_counts_are_refused():
    with pytest.raises(ValueError, match="successes"):
        clopper_pearson(3, 2)
