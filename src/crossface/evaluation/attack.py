"""Presentation attack detection: APCER, BPCER and ACER with exact intervals.

A presentation is taken for bona fide when ``score >= threshold``.

- APCER (attack presentation classification error rate): share of the attacks of *one kind* (one
  species of instrument) that are taken for bona fide. Of several kinds the highest counts: a
  detector is as good as against the attack it does worst on.
- BPCER (bona fide presentation classification error rate): share of bona fide presentations taken
  for attacks.
- ACER: mean of the highest APCER and the BPCER; in older papers and the standard's first edition.

Intervals are Clopper and Pearson's for independent presentations at a threshold that is given.
A threshold chosen on the same attacks carries an uncertainty of its own that they do not show.

Source: ISO/IEC 30107-3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.evaluation.exact import clopper_pearson
from crossface.evaluation.intervals import LEVEL, MIN_FALSE_MATCHES
from crossface.evaluation.metrics import Scores, threshold_at_fmr


@dataclass(frozen=True, slots=True)
class AttackRates:
    """Errors of an attack detector at one threshold.

    Attributes:
        threshold: bona fide when score >= threshold.
        apcer: of each kind of attack.
        worst: the kind with the highest APCER; of equals the first in alphabetical order.
        apcer_max: its rate. The limits hold for the highest of the true rates: each kind's limits
            are taken at a level that holds for all kinds together (Bonferroni).
        bpcer: of the bona fide presentations.
        acer: (apcer_max + bpcer) / 2; its limits are those of both at a joint level.
    """

    threshold: float
    apcer: dict[str, Interval]
    worst: str
    apcer_max: Interval
    bpcer: Interval
    acer: Interval


def attack_rates(attacks: Mapping[str, Scores], bona_fide: Scores, threshold: float) -> AttackRates:
    """All rates at a threshold.

    Args:
        attacks: scores of the attacks by kind, each (N,) with N >= 1; higher is more bona fide.
        bona_fide: (B,) scores.
        threshold: bona fide when score >= threshold.

    Raises:
        ValueError: naming the kind without scores or with one that is not finite.
    """
    _check(attacks, bona_fide)
    counts = {
        kind: (int(np.sum(attacks[kind] >= threshold)), len(attacks[kind]))
        for kind in sorted(attacks)
    }
    rejected = (int(np.sum(bona_fide < threshold)), len(bona_fide))
    apcer = {kind: _interval(*count) for kind, count in counts.items()}
    worst = max(counts, key=lambda kind: counts[kind][0] / counts[kind][1])
    half = 1 - (1 - LEVEL) / 2
    attack, genuine = _highest(counts, half), _limits(*rejected, half)
    bpcer = _interval(*rejected)
    value = (counts[worst][0] / counts[worst][1] + rejected[0] / rejected[1]) / 2
    return AttackRates(
        threshold=threshold,
        apcer=apcer,
        worst=worst,
        apcer_max=_named(counts[worst], _highest(counts, LEVEL)),
        bpcer=bpcer,
        acer=Interval(
            value=value, low=(attack[0] + genuine[0]) / 2, high=(attack[1] + genuine[1]) / 2
        ),
    )


def threshold_at_apcer(attacks: Mapping[str, Scores], target_apcer: float) -> float:
    """The smallest threshold at which no kind's APCER exceeds the target.

    Args:
        attacks: scores of the attacks by kind.
        target_apcer: in (0, 1).
    """
    if not attacks:
        raise ValueError("attack rates need at least one kind of attack")
    return max(threshold_at_fmr(scores, target_apcer) for scores in attacks.values())


def bpcer_at_apcer(
    attacks: Mapping[str, Scores], bona_fide: Scores, target_apcer: float
) -> AttackRates:
    """All rates at the threshold of a target APCER (BPCER20 is the BPCER at 5 %).

    The BPCER carries a reason where some kind has fewer than 30 errors to expect at the target,
    since the threshold is then a guess.

    Args:
        attacks: scores of the attacks by kind.
        bona_fide: (B,) scores.
        target_apcer: in (0, 1).

    Raises:
        ValueError: as ``attack_rates``.
    """
    _check(attacks, bona_fide)
    rates = attack_rates(attacks, bona_fide, threshold_at_apcer(attacks, target_apcer))
    fewest = min(sorted(attacks), key=lambda kind: len(attacks[kind]))
    expected = target_apcer * len(attacks[fewest])
    if expected >= MIN_FALSE_MATCHES * (1 - 1e-9):
        return rates
    reason = (
        f"{expected:.3g} errors are expected among {len(attacks[fewest])} attacks of kind "
        f"{fewest!r}, below {MIN_FALSE_MATCHES} the threshold is a guess"
    )
    flagged = rates.bpcer.model_copy(update={"reason": reason})
    return AttackRates(
        rates.threshold, rates.apcer, rates.worst, rates.apcer_max, flagged, rates.acer
    )


def _check(attacks: Mapping[str, Scores], bona_fide: Scores) -> None:
    if not attacks:
        raise ValueError("attack rates need at least one kind of attack")
    named: list[tuple[str, npt.NDArray[np.floating]]] = [*attacks.items(), ("bona fide", bona_fide)]
    for kind, scores in named:
        if scores.ndim != 1 or not len(scores) or not np.isfinite(scores).all():
            raise ValueError(
                f"{kind} scores must be (N,) finite with N >= 1, got shape {scores.shape}"
            )


def _limits(errors: int, trials: int, level: float) -> tuple[float, float]:
    return clopper_pearson(errors, trials, level=level)


def _interval(errors: int, trials: int) -> Interval:
    return _named((errors, trials), _limits(errors, trials, LEVEL))


def _named(count: tuple[int, int], limits: tuple[float, float]) -> Interval:
    return Interval(value=count[0] / count[1], low=limits[0], high=limits[1])


def _highest(counts: Mapping[str, tuple[int, int]], level: float) -> tuple[float, float]:
    """Limits of the highest true rate of several, at a level that holds for all together."""
    each = 1 - (1 - level) / len(counts)
    limits = [_limits(*count, each) for count in counts.values()]
    return max(low for low, _ in limits), max(high for _, high in limits)
