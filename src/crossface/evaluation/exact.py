"""Quantiles and exact binomial intervals without scipy."""

from __future__ import annotations

import math
from statistics import NormalDist

_TINY = 1e-300
_STEPS = 200


def clopper_pearson(successes: float, trials: float, *, level: float = 0.95) -> tuple[float, float]:
    """The interval of a binomial share that covers at least ``level``, whatever the truth.

    Args:
        successes: x in [0, trials]; a fraction is allowed, for an effective sample size.
        trials: n > 0; a fraction is allowed.
        level: coverage, 0.95 by default.

    Returns:
        Lower and upper limit in [0, 1].

    Paper: Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 1934.
    Deviation: fractions are read into the beta quantiles, as Korn and Graubard (Survey
    Methodology 1998) do for correlated data.
    """
    if not (trials > 0 and 0 <= successes <= trials):
        raise ValueError(f"expected 0 <= successes <= trials, got {successes} of {trials}")
    alpha = 1.0 - level
    missed = trials - successes
    low = 0.0 if successes <= 0 else beta_quantile(alpha / 2, successes, missed + 1)
    high = 1.0 if missed <= 0 else beta_quantile(1 - alpha / 2, successes + 1, missed)
    return low, high


def beta_quantile(share: float, a: float, b: float) -> float:
    """The x in [0, 1] with I_x(a, b) = share, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if beta_cdf(middle, a, b) < share:
            low = middle
        else:
            high = middle
        if high - low <= 1e-15 * high:
            break
    return (low + high) / 2


def student_quantile(share: float, df: float) -> float:
    """Quantile above 0.5 of Student's t with ``df`` degrees of freedom.

    Args:
        share: in (0.5, 1).
        df: > 0; infinity gives the normal quantile.
    """
    if df > 1e6:
        return NormalDist().inv_cdf(share)
    x = beta_quantile(2 * (1 - share), df / 2, 0.5)
    return math.sqrt(df * (1 - x) / x)


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b).

    Paper: DLMF 8.17.22, the continued fraction, evaluated by Lentz's method.
    Deviation: none.
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side only
        return 1.0 - beta_cdf(1.0 - x, b, a)
    log_front = (
        math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
        + a * math.log(x)
        + b * math.log1p(-x)
        - math.log(a)
    )
    return math.exp(log_front) * _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1.0 / _away(1.0 + term * d)
            c = _away(1.0 + term / c)
            step = c * d
            value *= step
        if abs(step - 1.0) < 1e-15:
            break
    return value


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
