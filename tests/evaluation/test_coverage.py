"""Do 95 % intervals of the newer figures cover a known truth on correlated comparisons?

``test_intervals`` asks it of all pairs and of pair lists.
"""

import numpy as np
import pytest
from coverage_rows import SEARCHES, chosen_pairs, discarded, searches, shares_of
from simulate import World, pair_list

from crossface.evaluation.attack import attack_rates
from crossface.evaluation.intervals import rate_interval
from crossface.evaluation.pair_bootstrap import product_bootstrap
from crossface.evaluation.pair_scores import PairStatistics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def covers(interval, truth):
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize("world", SEARCHES)
def test_open_set_and_genuine_rates(world):
    shares = shares_of([searches(seed, *world) for seed in range(600)])
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


def test_a_list_of_some_of_all_pairs():
    """AUC and EER cover 93 to 94 % here, not 95: with about 100 people who have mates the sample
    tends to look better than the truth, and the limits follow it; the variance itself is right.
    """
    shares = shares_of([chosen_pairs(seed) for seed in range(3000)])
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares  # +- 0.8 % is chance


def test_errors_of_what_is_left_after_a_discard():
    shares = shares_of([discarded(seed) for seed in range(1000)])
    loose = {name: share for name, share in shares.items() if name.endswith("as of the share")}
    assert len(loose) == 2
    assert min(loose.values()) >= 0.9, loose  # not what the interval promises, see ``discarded``
    kept = {name: share for name, share in shares.items() if name not in loose}
    assert all(0.93 <= share <= 0.97 for share in kept.values()), kept


def test_the_product_bootstrap_is_conservative():
    world, hits = World(), []
    values, variances = [], []
    for seed in range(120):
        pairs = pair_list(world, np.random.default_rng(seed))
        values.append(PairStatistics(pairs, (5e-2,)).of_all())
        variances.append(product_bootstrap(pairs, (5e-2,), replicates=300).var(axis=0))
    truths = [np.mean(values, axis=0)[0], world.auc(), world.eer(), 1 - world.fnmr_at_fmr(5e-2)]
    for value, variance in zip(values, variances, strict=True):
        limits = [
            rate_interval(v, s, trials=1200, units=397)
            for v, s in zip(value, variance, strict=True)
        ]
        hits.append([covers(one, truth) for one, truth in zip(limits, truths, strict=True)])
    shares = np.mean(hits, axis=0)
    assert shares.min() >= 0.94, shares


def test_the_limits_of_the_highest_attack_rate():
    rng = np.random.default_rng(0)
    truths, hits = (0.05, 0.05, 0.04), []
    for _ in range(300):
        kinds = {str(k): (rng.random(200) < t).astype(float) for k, t in enumerate(truths)}
        found = attack_rates(kinds, np.ones(5), 0.5).apcer_max
        hits.append(found.low <= 0.05 <= found.high)
    assert np.mean(hits) >= 0.94  # exact limits of several kinds together: above 0.95
