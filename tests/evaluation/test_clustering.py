"""Cluster scores against loops over pairs and faces."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pair_confusion_matrix

from crossface.core.errors import DataError
from crossface.evaluation.clustering import b_cubed, pairwise_agreement

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12)


@given(LABELS)
@settings(derandomize=True, deadline=None, max_examples=25)
def test_both_scores_are_their_definitions_written_as_loops(pairs):
    found, truth = map(np.array, zip(*pairs, strict=True))
    put = belong = both = 0
    for i, j in itertools.combinations(range(len(found)), 2):
        together, same = found[i] == found[j], truth[i] == truth[j]
        put, belong, both = put + together, belong + same, both + (together and same)
    pairwise = pairwise_agreement(found, truth)
    assert pairwise.precision == pytest.approx(both / put if put else 1.0)
    assert pairwise.recall == pytest.approx(both / belong if belong else 1.0)
    purity, share = [], []
    for i in range(len(found)):
        mates = (found == found[i]) & (truth == truth[i])
        purity.append(mates.sum() / (found == found[i]).sum())
        share.append(mates.sum() / (truth == truth[i]).sum())
    cubed = b_cubed(found, truth)
    assert cubed.precision == pytest.approx(np.mean(purity))
    assert cubed.recall == pytest.approx(np.mean(share))


def test_pairwise_counts_agree_with_scikit_learn():
    rng = np.random.default_rng(0)
    found, truth = rng.integers(0, 5, (2, 60))
    (_, wrong), (missed, right) = pair_confusion_matrix(truth, found)
    pairwise = pairwise_agreement(found, truth)
    assert pairwise.precision == pytest.approx(right / (right + wrong))
    assert pairwise.recall == pytest.approx(right / (right + missed))


def test_perfect_groups_score_one_and_one_group_of_all_has_full_recall():
    truth = np.array([0, 0, 1, 2, 2, 2])
    assert pairwise_agreement(truth + 7, truth) == (1.0, 1.0, 1.0)
    assert b_cubed(truth + 7, truth) == (1.0, 1.0, 1.0)
    lumped = b_cubed(np.zeros(6), truth)
    assert lumped.recall == 1.0
    assert lumped.precision == pytest.approx((4 + 1 + 9) / 36)


def test_lists_of_different_length_are_refused():
    with pytest.raises(DataError, match="one length"):
        b_cubed([0, 1], [0])
