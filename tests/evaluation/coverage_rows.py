"""One simulated set at a time: every figure's interval beside the truth it should cover.

Shared by the slow tests, which assert, and ``benchmarks/interval_coverage.py``, which writes the
shares.
"""

from __future__ import annotations

import numpy as np
from simulate import N, World, pair_list, table

from crossface.core.card import Interval
from crossface.evaluation.bootstrap import genuine_rate_interval
from crossface.evaluation.identification import SearchScores
from crossface.evaluation.identification_bootstrap import fnir_interval
from crossface.evaluation.influence import (
    EqualError,
    FmrAt,
    FnmrAtFmr,
    auc_influence,
    combine,
    table_spread,
)
from crossface.evaluation.intervals import difference_interval, group_jackknife, rate_interval
from crossface.evaluation.pair_scores import PairStatistics
from crossface.evaluation.protocols.discard import _Comparisons, _cut, cut_at
from crossface.evaluation.template_pairs import pair_table

PAIR_FMR = 5e-2
PAIR_NAMES = ("accuracy", "auc", "eer", "tar 5e-2")
BAD, LOSS = 0.3, 1.5  # below this quality a genuine comparison loses this much similarity

SEARCHES = ((150, 3.0, 0.6, 0.1), (300, 2.0, 0.8, 0.05))
"""People, mean of the mates, share of a person's own effect, FPIR."""

Row = dict[str, tuple[Interval, float]]


def _limits(found, made):
    error = table_spread(found, made)
    units = int(np.sum(made.genuine_of > 0))
    return rate_interval(
        found.value, error.variance, df=error.df, trials=len(made.genuine), units=units
    )


def all_pairs(seed: int) -> Row:
    """All pairs of 150 people, two models that share four fifths of every effect."""
    world = World()
    strict = world.imp_sd * N.inv_cdf(1 - 3e-3)
    one, two = world.draw(np.random.default_rng(seed), models=2)
    rows = {
        "fmr at a threshold": (_limits(FmrAt(one, strict / 20).influence, one), 3e-3),
        "auc": (_limits(auc_influence(one), one), world.auc()),
        "eer": (_limits(EqualError.of(one).influence, one), world.eer()),
    }
    for target in (1e-2, 1e-3):
        first, second = FnmrAtFmr(one, target), FnmrAtFmr(two, target)
        truth = world.fnmr_at_fmr(target)
        rows[f"fnmr at fmr {target:g}"] = (_limits(first.influence, one), truth)
        equal = FnmrAtFmr(one, target, by_identity=True)
        rows[f"fnmr at fmr {target:g}, by identity"] = (_limits(equal.influence, one), truth)
        gap = combine([(1.0, first.influence), (-1.0, second.influence)])
        error = table_spread(gap, one)
        found = difference_interval(gap.value, error.variance, df=error.df)
        rows[f"difference of two models at {target:g}"] = (found, 0.0)
    return rows


def chosen_pairs(seed: int) -> Row:
    """A list that holds all genuine and three in ten of the impostor comparisons."""
    world, rng = World(), np.random.default_rng(seed)
    fixed = world.imp_sd * N.inv_cdf(1 - 5e-3)
    (made,) = world.draw(rng)
    few = rng.random(made.n_impostor) < 0.3
    own = made.genuine_identity
    listed = pair_table(
        np.concatenate([made.genuine, made.tail[few]]),
        np.concatenate([own, made.tail_a[few]]),
        np.concatenate([own, made.tail_b[few]]),
        made.identities,
    )
    fnmr = FnmrAtFmr(listed, 1e-2).influence
    equal = FnmrAtFmr(listed, 1e-2, by_identity=True).influence
    truth = world.fnmr_at_fmr(1e-2)
    return {
        "fmr at a threshold": (_limits(FmrAt(listed, fixed / 20).influence, listed), 5e-3),
        "fnmr at fmr 0.01": (_limits(fnmr, listed), truth),
        "fnmr at fmr 0.01, by identity": (_limits(equal, listed), truth),
        "auc": (_limits(auc_influence(listed), listed), world.auc()),
        "eer": (_limits(EqualError.of(listed).influence, listed), world.eer()),
    }


def discarded(seed: int) -> Row:
    """Pictures with qualities, of which the lowest three tenths cost similarity.

    An interval is that of the error at a cut, so its truth is that of the cut. "as of the share"
    holds it against the truth of the share that was asked for instead, which the cut of one set
    misses; most at ``BAD``, where the error turns.
    """
    world, rng, target = World(), np.random.default_rng(seed), 1e-2
    sizes = world.sizes(rng)
    owner = np.repeat(np.arange(world.people), sizes)
    i, j = np.triu_indices(len(owner), 1)
    a, b = owner[i], owner[j]
    quality = rng.random(len(owner))
    worse = np.minimum(quality[i], quality[j])
    v, u = (scale * rng.normal(size=world.people) for scale in (world.lamb, world.goat))
    dyad = world.dyad * rng.normal(size=(world.people, world.people))
    own = rng.normal(size=len(i))
    genuine = world.mu + u[a] + 2 * world.coupling * v[a] + own - LOSS * (worse < BAD)
    score = (np.where(a == b, genuine, v[a] + v[b] + dyad[a, b] + own) / 20).astype(np.float32)
    made = table(sizes, score, a, b)
    order = np.argsort(score[a == b], kind="stable")
    found = _Comparisons(made, worse[a == b][order], quality)
    fnmr, rows = FnmrAtFmr(made, target), {}

    def truth(share):
        spoilt = 1 - ((1 - BAD) / (1 - share)) ** 2 if share < BAD else 0.0
        rate = World(mu=world.mu - LOSS).fnmr_at_fmr(target)
        return spoilt * rate + (1 - spoilt) * world.fnmr_at_fmr(target)

    for share in (0.0, 0.15, 0.3):
        level = cut_at(quality, share)  # qualities are uniform, so it is the share it leaves out
        cut = _cut(found, fnmr, level)
        rate, change = (Interval(**cut[key]) for key in ("fnmr", "change"))
        rows[f"fnmr, {share:g} left out"] = (rate, truth(level))
        if share:
            rows[f"change, {share:g} left out"] = (change, truth(level) - truth(0.0))
            rows[f"fnmr, {share:g} left out, as of the share"] = (rate, truth(share))
    return rows


def searches(seed: int, people: int, mean: float, own: float, fpir: float) -> Row:
    """Unequally many searches per person: FNIR at an FPIR, and a rate at a given threshold."""
    rng, fixed = np.random.default_rng(seed), 1.8
    mate, who = _side(rng, people, mean, own)
    best, others = _side(rng, people, 0.0, own)
    none = np.empty(0, dtype=np.float32)
    found = SearchScores(mate, np.ones(len(mate), int), who, best, others, none, 99, 99)
    errors, trials = np.bincount(who, weights=mate < fixed), np.bincount(who)
    fnir = fnir_interval(found, fpir, replicates=300)
    rate = genuine_rate_interval(errors, trials, replicates=300)
    return {
        f"fnir at fpir {fpir:g}": (fnir, N.cdf(N.inv_cdf(1 - fpir) - mean)),
        "fnmr at a threshold": (rate, N.cdf(fixed - mean)),
    }


def _side(rng, people, mean, own):
    """Scores of the searches, standard normal about ``mean``, and whose they are."""
    who = np.repeat(np.arange(people), rng.geometric(0.35, people))
    noise = np.sqrt(1 - own**2) * rng.normal(size=len(who))
    return (mean + own * rng.normal(size=people)[who] + noise).astype(np.float32), who


def listed_pairs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and variances of ``PAIR_NAMES`` of a pair list in folds."""
    pairs = pair_list(World(), np.random.default_rng(seed))
    statistics = PairStatistics(pairs, (PAIR_FMR,))
    return statistics.of_all(), group_jackknife(statistics, pairs.a, pairs.b)


def pair_rows(values: np.ndarray, variances: np.ndarray) -> list[Row]:
    """Rows of many lists; the accuracy's truth, which has no closed form, is the lists' mean."""
    world = World()
    truths = (values[:, 0].mean(), world.auc(), world.eer(), 1 - world.fnmr_at_fmr(PAIR_FMR))
    return [
        {
            name: (rate_interval(float(v), float(s), trials=1200, units=397), float(truth))
            for name, v, s, truth in zip(PAIR_NAMES, value, variance, truths, strict=True)
        }
        for value, variance in zip(values, variances, strict=True)
    ]


def side_of(interval: Interval, truth: float) -> int:
    """0 where the interval covers the truth, -1 where the truth lies below it, 1 above."""
    if interval.low <= truth <= interval.high:
        return 0
    return -1 if truth < interval.low else 1


def shares_of(rows: list[Row]) -> dict[str, float]:
    """Share of the sets in which each figure's interval covers its truth."""
    return {name: float(np.mean([side_of(*row[name]) == 0 for row in rows])) for name in rows[0]}
