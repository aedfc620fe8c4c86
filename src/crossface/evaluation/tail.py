"""A fitted tail of impostor similarities: at most one decade beyond what was counted.

Above a high similarity u the excess follows, nearly whatever the scores are, a generalised Pareto
distribution of scale s and shape x; x = 0 is the exponential, x < 0 ends at a highest similarity.
Scale and shape come from the mean and the variance of the excesses. Moments are sums over
comparisons, so what one person adds can be taken out again exactly, and the interval of the
extrapolated threshold follows from the people behind the tail instead of from a likelihood that
would take comparisons for independent.

Paper: Pickands, Ann. Statist. 1975 (the limit); Hosking and Wallis, Technometrics 1987 (moments).
Deviation: none in the fit; intervals are ``dyadic.Impostors.variance``'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossface.evaluation.dyadic import Float64Array, Impostors, reach_of

DECADE = 10.0
FIT_MOST = 1000  # excesses: enough for a shape to +-0.03, still the far tail of a large set
FIT_SHARE = 0.05  # of all comparisons, beyond which the scores are no longer a tail
FIT_LEAST = 100

_EXPONENTIAL = 1e-9


@dataclass(frozen=True, slots=True)
class Pareto:
    """Generalised Pareto distribution of the excess over a similarity.

    Attributes:
        scale: of the excess, > 0.
        shape: below 0 the excess is bounded, 0 is the exponential.
    """

    scale: float
    shape: float

    def survival(self, excess: npt.NDArray[np.floating]) -> Float64Array:
        """(...) probability of a larger excess; 1 at or below 0."""
        ratio = np.maximum(np.asarray(excess, dtype=np.float64), 0.0) / self.scale
        if abs(self.shape) < _EXPONENTIAL:
            return np.asarray(np.exp(-ratio))
        inside = np.maximum(1.0 + self.shape * ratio, 0.0)
        with np.errstate(divide="ignore"):
            return np.asarray(np.exp(-np.log(inside) / self.shape))


@dataclass(frozen=True, slots=True)
class TailPoint:
    """A threshold read from a fitted tail.

    Attributes:
        threshold: for the target FMR by the fit.
        low: lower end of the threshold's 95 % interval.
        high: upper end.
        fmr: by the fit, at the threshold.
        fmr_low: by the fit, at ``threshold`` plus the interval's half width.
        fmr_high: by the fit, at ``threshold`` less the interval's half width.
    """

    threshold: float
    low: float
    high: float
    fmr: float
    fmr_low: float
    fmr_high: float


def pareto_of_moments(mean: float, variance: float) -> Pareto:
    """The distribution whose excess has this mean and variance, both > 0."""
    ratio = mean * mean / variance
    return Pareto(scale=mean * (1.0 + ratio) / 2, shape=(1.0 - ratio) / 2)


class FittedTail:
    """The highest impostor similarities and the distribution fitted to them.

    Args:
        impostors: the comparisons; at least ``FIT_LEAST`` excesses must be there.

    Attributes:
        start: the similarity above which the tail is fitted.
        count: number of excesses.
        pareto: their distribution.

    Raises:
        ValueError: if there are too few excesses or they do not vary, with the reason.
    """

    def __init__(self, impostors: Impostors) -> None:
        share = int(FIT_SHARE * impostors.total)
        self.count = min(FIT_MOST, share, len(impostors.tail) - 1)
        if self.count < FIT_LEAST:
            raise ValueError(
                f"a tail is fitted to at least {FIT_LEAST} comparisons, the highest "
                f"{100 * FIT_SHARE:.0f} % are {share}"
            )
        self._impostors = impostors
        self.start = float(impostors.tail[self.count])
        excess = impostors.tail[: self.count].astype(np.float64) - self.start
        if float(np.var(excess)) <= (1e-7 * max(abs(self.start), 1e-3)) ** 2:
            raise ValueError(f"the highest {self.count} impostor similarities are all the same")
        self._columns = np.stack([np.ones(self.count), excess, excess**2], axis=1)
        self.pareto = pareto_of_moments(float(excess.mean()), float(excess.var()))

    def fmr(self, threshold: float) -> float:
        """FMR at a threshold above ``start``, by the fit."""
        share = self.count / self._impostors.total
        return share * float(self.pareto.survival(np.array(threshold - self.start)))

    def point(self, target_fmr: float) -> TailPoint:
        """The threshold of a target FMR with its interval."""

        def threshold(sums: Float64Array) -> Float64Array:
            return self.start + _excess_at(sums, target_fmr)

        sums = np.array([*self._columns.sum(axis=0), self._impostors.total])
        centre = float(threshold(sums))
        reach = reach_of(self._impostors.variance(threshold, self._columns))
        return TailPoint(
            threshold=centre,
            low=centre - reach,
            high=centre + reach,
            fmr=self.fmr(centre),
            fmr_low=self.fmr(centre + reach),
            fmr_high=self.fmr(max(centre - reach, self.start)),
        )


def _excess_at(sums: Float64Array, target_fmr: float) -> Float64Array:
    """(..., 4) count, sum and sum of squares of excesses, comparisons: to (...) the quantile."""
    count, first, second, total = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    mean = first / count
    ratio = mean**2 / np.maximum(second / count - mean**2, 1e-300)
    scale, shape = mean * (1 + ratio) / 2, (1 - ratio) / 2
    log = np.log(count / (total * target_fmr))
    flat = np.abs(shape) < _EXPONENTIAL
    safe = np.where(flat, 1.0, shape)
    return np.asarray(scale * np.where(flat, log, np.expm1(safe * log) / safe))


def reachable(target_fmr: float, supported_fmr: float) -> bool:
    """Whether a target lies at most tenfold below the last FMR that was counted."""
    return target_fmr * DECADE >= supported_fmr * (1 - 1e-9) and math.isfinite(supported_fmr)
