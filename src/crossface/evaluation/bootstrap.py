"""Identity bootstrap: people are drawn anew, with everything that is theirs.

A person's comparisons are not independent, so a replicate gives every person a weight and every
genuine comparison the weight of its person. That is right for genuine rates. An impostor
comparison has two people; giving it the product of their weights (``product_weights``) counts the
noise that is its own up to three times, so intervals made that way are wider than needed. It is
offered as a conservative choice and always labelled; ``influence.spread`` and
``intervals.group_jackknife`` are the default.

Paper: Rubin, "The Bayesian bootstrap", Ann. Statist. 1981; Owen, "The pigeonhole bootstrap", Ann.
Appl. Statist. 2007 (products of weights are conservative).
Deviation: none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.core.seeds import generator
from crossface.evaluation.intervals import MIN_IDENTITIES, rate_interval

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer]
Kind = Literal["bayesian", "multinomial"]

REPLICATES = 2000
CONSERVATIVE = "95 %, product bootstrap over identities (conservative)"
"""What a report says of intervals made with ``product_weights``."""

_BLOCK_CELLS = 8_000_000


def identity_weights(
    n_identities: int, replicates: int = REPLICATES, *, kind: Kind = "bayesian", seed: int = 0
) -> Float64Array:
    """Weights of identities in every replicate.

    Args:
        n_identities: G >= 1.
        replicates: R >= 1.
        kind: "bayesian" draws exponential weights of mean 1, so that nobody ever vanishes;
            "multinomial" draws how often each identity is taken, which sum to G.
        seed: of the draw.

    Returns:
        (R, G) weights >= 0.

    Raises:
        ValueError: if a number is below 1.
    """
    blocks = weight_blocks(n_identities, n_identities, replicates, kind=kind, seed=seed)
    return np.concatenate(list(blocks))


def weight_blocks(
    n_identities: int,
    cells_per_replicate: int,
    replicates: int = REPLICATES,
    *,
    kind: Kind = "bayesian",
    seed: int = 0,
) -> Iterator[Float64Array]:
    """The rows of ``identity_weights`` in blocks, so that what is made of them fits in memory.

    Args:
        n_identities: G >= 1.
        cells_per_replicate: numbers the caller will hold per replicate.
        replicates: R >= 1.
        kind: see ``identity_weights``.
        seed: of the draw; the same rows come whatever the size of the blocks.
    """
    if n_identities < 1 or replicates < 1:
        raise ValueError(
            f"a bootstrap needs identities and replicates, got {n_identities} and {replicates}"
        )
    rng = generator("identity bootstrap", kind, seed, n_identities)
    rows = max(1, _BLOCK_CELLS // max(cells_per_replicate, n_identities))
    for start in range(0, replicates, rows):
        count = min(rows, replicates - start)
        if kind == "bayesian":
            yield rng.standard_exponential((count, n_identities))
        else:
            even = np.full(n_identities, 1 / n_identities)
            yield rng.multinomial(n_identities, even, size=count).astype(np.float64)


def product_weights(weights: Float64Array, a: IntArray, b: IntArray) -> Float64Array:
    """Weights of comparisons: its person's for a genuine one, the product for an impostor one.

    Conservative for impostor rates; see the module.

    Args:
        weights: (R, G) of identities.
        a: (N,) identity of the first picture.
        b: (N,) identity of the second.

    Returns:
        (R, N).
    """
    return np.where(a == b, weights[:, a], weights[:, a] * weights[:, b])


def rate_replicates(
    errors: Float64Array,
    trials: Float64Array,
    *,
    replicates: int = REPLICATES,
    kind: Kind = "bayesian",
    seed: int = 0,
) -> Float64Array:
    """A genuine rate in every replicate.

    Args:
        errors: (G,) errors of each identity.
        trials: (G,) comparisons of each identity, the errors among them.
        replicates: R.
        kind: see ``identity_weights``.
        seed: of the draw.

    Returns:
        (R,) weighted errors over weighted trials; NaN where a replicate drew no trial.
    """
    blocks = weight_blocks(len(trials), len(trials), replicates, kind=kind, seed=seed)
    parts = []
    for weights in blocks:
        drawn = weights @ trials
        parts.append(np.where(drawn > 0, weights @ errors / np.where(drawn > 0, drawn, 1), np.nan))
    return np.concatenate(parts)


def genuine_rate_interval(
    errors: npt.ArrayLike,
    trials: npt.ArrayLike,
    *,
    replicates: int = REPLICATES,
    kind: Kind = "bayesian",
    seed: int = 0,
) -> Interval:
    """A genuine rate (FNMR at a fixed threshold, rank-k) with its interval by identity bootstrap.

    Args:
        errors: (G,) errors of each identity.
        trials: (G,) comparisons of each identity.
        replicates: R.
        kind: see ``identity_weights``.
        seed: of the draw.

    Returns:
        All errors over all trials; no limits, with the reason, below 10 identities with trials.

    Raises:
        ValueError: if shapes differ, a count is impossible or there is no trial.
    """
    wrong, tried = np.asarray(errors, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    if wrong.shape != tried.shape or wrong.ndim != 1 or not tried.sum() > 0:
        raise ValueError(
            f"errors and trials must be (G,) with at least one trial, "
            f"got {wrong.shape} and {tried.shape}"
        )
    if np.any(wrong < 0) or np.any(wrong > tried):
        raise ValueError("an identity's errors must lie between 0 and its trials")
    wrong, tried = wrong[tried > 0], tried[tried > 0]
    values = rate_replicates(wrong, tried, replicates=replicates, kind=kind, seed=seed)
    return replicate_interval(
        float(wrong.sum() / tried.sum()),
        values,
        trials=tried,
        errors=round(float(min(wrong.sum(), (tried - wrong).sum()))),
        kind=kind,
    )


def replicate_interval(
    value: float,
    replicates: Float64Array,
    *,
    trials: Float64Array,
    errors: int | None = None,
    kind: Kind = "bayesian",
) -> Interval:
    """Limits of a rate from its replicates: their variance, on the logit scale.

    The variance is corrected for the few identities behind it, as s^2 / (n - 1) is, and Student's
    quantile has as many degrees of freedom as there are equal identities with the same weight,
    less one. Few errors get exact limits; see ``intervals.rate_interval``.

    Args:
        value: the rate.
        replicates: (R,) its values; NaN ones are left out.
        trials: (G,) comparisons of each identity behind the rate, > 0.
        errors: errors, or successes where these are fewer, if the rate counts them.
        kind: of the weights.
    """
    units = len(trials)
    if units < MIN_IDENTITIES:
        return Interval(value=value, reason=few_identities(units))
    extra = 1 if kind == "bayesian" else 0
    variance = float(np.nanvar(replicates)) * (units + extra) / (units - 1)
    return rate_interval(
        value,
        variance,
        trials=int(trials.sum()),
        units=units,
        errors=errors,
        df=effective_number(trials) - 1,
    )


def effective_number(trials: npt.NDArray[np.number]) -> float:
    """Number of equal identities that weigh as these unequal ones do: (sum n)^2 / sum n^2."""
    counts = trials.astype(np.float64)
    return max(float(counts.sum() ** 2 / np.sum(counts**2)), 1.0 + math.ulp(1.0))


def few_identities(units: int) -> str:
    """Why a figure has no interval."""
    return f"an interval needs {MIN_IDENTITIES} identities, there are {units}"
