"""Every metric on four comparisons, worked out by hand.

Genuine 0.9 and 0.6, impostor 0.7 and 0.1; the first of either kind in fold 0, the rest in fold 1.

    threshold   inf   0.9   0.7   0.6   0.1
    FMR          0     0    1/2   1/2    1
    FNMR         1    1/2   1/2    0     0
"""

import numpy as np
import pytest
from fakes import MeanEmbedder, NoiseFaces, Pair, PairList

from crossface.audit.spread import GroupRate, gap
from crossface.core.card import Interval
from crossface.evaluation import metrics
from crossface.evaluation.attack import attack_rates, bpcer_at_apcer
from crossface.evaluation.bootstrap import rate_replicates
from crossface.evaluation.discard import area_under_discard, fmr_against_discard
from crossface.evaluation.discard import fnmr_against_discard as fnmr_discard
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.identification import (
    cmc,
    collect_searches,
    fnir_at,
    fnir_at_false_candidates,
    fnir_at_fpir,
    fpir_at,
    rank_rate,
    threshold_at_fpir,
)
from crossface.evaluation.influence import FmrAt, FnmrAtFmr, auc_influence, combine
from crossface.evaluation.pair_bootstrap import WeightedPairStatistics
from crossface.evaluation.pair_scores import PairScores, score_pairs
from crossface.evaluation.template_pairs import pair_table

GENUINE = np.array([0.9, 0.6], dtype=np.float32)
IMPOSTOR = np.array([0.7, 0.1], dtype=np.float32)
SCORES = np.array([0.9, 0.6, 0.7, 0.1], dtype=np.float32)
SAME = np.array([True, True, False, False])
FOLDS = np.array([0, 1, 0, 1])


def above(value):
    return pytest.approx(value, abs=1e-6)


def test_fmr_and_fnmr_at_a_threshold():
    assert metrics.fmr_at(IMPOSTOR, 0.65) == 0.5
    assert metrics.fnmr_at(GENUINE, 0.65) == 0.5


def test_roc_and_det():
    curve = metrics.roc(GENUINE, IMPOSTOR)
    assert curve.thresholds == pytest.approx([np.inf, 0.9, 0.7, 0.6, 0.1])
    assert curve.fmr.tolist() == [0, 0, 0.5, 0.5, 1]
    assert curve.fnmr.tolist() == [1, 0.5, 0.5, 0, 0]


def test_auc_counts_three_of_four_ordered_pairs():
    assert metrics.auc(GENUINE, IMPOSTOR) == 0.75


def test_eer():
    found = metrics.eer(GENUINE, IMPOSTOR)
    assert found.value == 0.5
    assert found.threshold == pytest.approx(0.7)


def test_tar_at_fmr():
    # one false match of two is allowed: the threshold lies just above 0.1
    assert metrics.threshold_at_fmr(IMPOSTOR, 0.5) == above(0.1)
    assert metrics.tar_at_fmr(GENUINE, IMPOSTOR, 0.5) == 1.0
    # none is allowed at 0.4, though 0.5 is nearer than 0: just above 0.7
    assert metrics.threshold_at_fmr(IMPOSTOR, 0.4) == above(0.7)
    assert metrics.tar_at_fmr(GENUINE, IMPOSTOR, 0.4) == 0.5


def test_accuracy():
    # fold 0 (0.9 and 0.7) at 0.35, fold 1 (0.6 and 0.1) at 0.8: one of two right in either
    found = metrics.kfold_accuracy(SCORES, SAME, FOLDS)
    assert found.thresholds == pytest.approx([0.35, 0.8])
    assert found.by_fold.tolist() == [0.5, 0.5]


def test_weighted_statistics_with_the_second_impostor_three_times():
    # FMR at 0.7 is 1/4; AUC (0 + 1) / 2 of it wins against 0.6: 1 - 1/4 x 1/2
    people = np.array([0, 1, 2, 3])
    pairs = PairScores(SCORES, SAME, FOLDS, people, np.array([0, 1, 3, 2]), 0)
    found = WeightedPairStatistics(pairs, (0.25, 0.2))(np.array([[1.0, 1.0, 1.0, 3.0]]))[0]
    # fold 1 at 0.8: 0.6 is wrong, 0.1 right, 3 of 4; fold 0 as before
    assert found[0] == pytest.approx((0.5 + 0.75) / 2)
    assert found[1] == pytest.approx(0.875)
    # between 0.7 (FMR 1/4, FNMR 1/2) and 0.6 (1/4, 0): at 1/4
    assert found[2] == pytest.approx(0.25)
    assert found[3:].tolist() == [1.0, 0.5]


def test_error_against_discard():
    # the quality points at the error: without the worse half nothing is wrong
    curve = fnmr_discard(GENUINE, np.array([1.0, 0.0]), 0.65)
    assert (curve.discarded.tolist(), curve.error.tolist()) == ([0, 0.5], [0.5, 0])
    assert area_under_discard(curve, upto=1.0) == 0.25
    # and away from it: what is left is all wrong
    curve = fmr_against_discard(IMPOSTOR, np.array([1.0, 0.0]), 0.65)
    assert curve.error.tolist() == [0.5, 1.0]
    assert area_under_discard(curve, upto=0.8) == pytest.approx((0.5 * 0.5 + 0.3) / 0.8)


def test_attack_rates():
    attacks = {"print": IMPOSTOR[:1], "replay": IMPOSTOR[1:]}
    found = attack_rates(attacks, GENUINE, 0.65)
    assert {kind: one.value for kind, one in found.apcer.items()} == {"print": 1.0, "replay": 0.0}
    assert (found.worst, found.apcer_max.value) == ("print", 1.0)
    assert (found.bpcer.value, found.acer.value) == (0.5, 0.75)
    # no attack may pass: just above 0.7
    found = bpcer_at_apcer(attacks, GENUINE, 0.2)
    assert found.threshold == above(0.7)
    assert (found.apcer_max.value, found.bpcer.value, found.acer.value) == (0.0, 0.5, 0.25)


def searches():
    """People 0 and 1 enrolled; a search for either, and one for 2 and for 3, who are not."""
    similarity = np.array([[0.9, 0.1], [0.7, 0.6], [0.5, 0.3], [0.2, 0.1]], dtype=np.float32)
    return collect_searches([similarity], np.array([0, 1]), np.array([0, 1, 2, 3]))


def test_ranks():
    found = searches()
    assert found.rank.tolist() == [1, 2]
    assert (rank_rate(found, 1), rank_rate(found, 2)) == (0.5, 1.0)
    assert cmc(found, 3).tolist() == [0.5, 1.0, 1.0]


def test_open_set_rates_at_a_threshold():
    found = searches()
    assert fpir_at(found, 0.35) == 0.5
    assert fnir_at(found, 0.35) == 0.0
    assert fnir_at(found, 0.35, max_rank=1) == 0.5
    assert fnir_at(found, 0.65) == 0.5


def test_the_standard_s_fnir_at_fpir_and_the_other_definition_differ_on_the_same_searches():
    found = searches()
    # the standard: one of the two non-mated searches may return somebody, so just above 0.2
    assert threshold_at_fpir(found, 0.5) == above(0.2)
    assert fnir_at_fpir(found, 0.5) == 0.0
    # the other: one false candidate for two mated searches, the highest is 0.7
    assert fnir_at_false_candidates(found, 0.5) == 0.5
    # the nearest point on the wrong side is never taken: 0.5 is nearer to 0.45 than 0
    assert threshold_at_fpir(found, 0.45) == above(0.5)


def test_a_genuine_rate_in_a_replicate():
    # of two people only the second errs: the rate is the second one's share of the weight
    found = rate_replicates(np.array([0.0, 1.0]), np.array([1.0, 1.0]), replicates=500)
    assert found.min() > 0
    assert found.max() < 1
    assert found.mean() == pytest.approx(0.5, abs=0.05)


def test_the_table_of_a_pair_list():
    first, second = np.array([0, 1, 2, 2]), np.array([0, 1, 0, 3])
    found = pair_table(SCORES, first, second, ("a", "b", "c", "d"))
    assert found.genuine.tolist() == pytest.approx([0.6, 0.9])
    assert found.genuine_identity.tolist() == [1, 0]
    assert (found.tail_a.tolist(), found.tail_b.tolist()) == ([0, 2], [2, 3])
    assert found.impostor_of.tolist() == [1, 0, 2, 1]
    assert found.genuine_of.tolist() == [1, 1, 0, 0]
    assert found.auc_genuine.sum() / 2 == pytest.approx(0.75)


def test_fnmr_at_fmr_of_a_table_with_comparisons_and_with_people_weighing_the_same():
    # two genuine comparisons of person 0 (0.9, 0.2), one of person 1 (0.6); impostors 0.5 and 0.1
    scores = np.array([0.9, 0.2, 0.6, 0.5, 0.1], dtype=np.float32)
    first, second = np.array([0, 0, 1, 0, 1]), np.array([0, 0, 1, 1, 2])
    table = pair_table(scores, first, second, ("a", "b", "c"))
    # no false match is allowed at 0.4: just above 0.5, where 0.2 alone is missed
    plain = FnmrAtFmr(table, 0.4)
    assert plain.threshold == above(0.5)
    assert (plain.n_false_matches, plain.n_false_non_matches) == (0, 1)
    assert plain.influence.value == pytest.approx(1 / 3)
    # by identity: half of person 0, none of person 1
    assert FnmrAtFmr(table, 0.4, by_identity=True).influence.value == pytest.approx(1 / 4)
    # at a given threshold one of two impostors is accepted
    assert FmrAt(table, 0.3).influence.value == 0.5


def test_a_difference_of_two_models_on_the_same_pairs():
    table = pair_table(SCORES, np.array([0, 1, 0, 1]), np.array([0, 1, 2, 3]), ("a", "b", "c", "d"))
    # the other model ranks the second genuine pair above both impostors
    scores = np.array([0.9, 0.8, 0.7, 0.1], dtype=np.float32)
    other = pair_table(scores, np.array([0, 1, 0, 1]), np.array([0, 1, 2, 3]), tuple("abcd"))
    gap = combine([(1.0, auc_influence(other)), (-1.0, auc_influence(table))])
    assert gap.value == pytest.approx(1.0 - 0.75)


def test_pictures_that_cannot_be_acquired_are_counted_apart_from_the_rates():
    faces = embed_faces(MeanEmbedder(), NoiseFaces((2, 2), broken=(3,)), progress=False)
    assert faces.fta == 0.25
    keys = [NoiseFaces((2, 2)).key(index) for index in range(4)]
    pairs = [
        Pair(0, keys[0], keys[1], True),
        Pair(0, keys[0], keys[2], False),
        Pair(0, keys[1], keys[2], False),
        Pair(0, keys[2], keys[3], True),
    ]
    found = score_pairs(faces, PairList(tuple(pairs)), list_name="l")
    assert (len(found.scores), found.n_lost) == (3, 1)


def test_the_gap_of_two_groups_of_two_comparisons():
    # group x accepts one of two impostors at 0.65, group y both of two at 0.05
    rates = {
        name: GroupRate(
            limits=Interval(value=errors / 2),
            errors=errors,
            trials=2,
            by_unit=np.array([[errors, 2.0]] * 2),
            variance=0.0,
        )
        for name, errors in (("x", 1), ("y", 2))
    }
    found = gap(rates)
    assert (found["worst"], found["best"]) == ("y", "x")
    assert found["ratio"]["value"] == 2.0
    assert found["difference"]["value"] == 0.5
    assert found["ratio"]["low"] is None  # one error: no interval is made up
