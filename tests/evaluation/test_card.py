"""Threshold cards: what the data supports, and the intervals against definitions."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from crossface.core.card import AbsentPoint, operating_point, parse_card
from crossface.core.errors import ContractMismatch, DataError, WeightsError
from crossface.core.vectors import cosine
from crossface.evaluation import dyadic, tail
from crossface.evaluation.card import GroupRates, make_card
from crossface.evaluation.card_check import absent_rows, card_table, check_card
from crossface.evaluation.fpir import Searches, alarm_table
from crossface.evaluation.halves import check_disjoint, disjoint_halves
from crossface.evaluation.influence import FmrAt, spread
from crossface.evaluation.metrics import fmr_at as loop_fmr
from crossface.evaluation.scores import score_all_pairs
from evaluation.card_fakes import CARD, made, pair_scores
from evaluation.simulate import World


def test_a_card_survives_json():
    again = parse_card(CARD.model_dump_json(), source="m.onnx")
    assert again == CARD
    assert set(again.fpir_by_gallery_size) == {100, 1000}


@pytest.mark.parametrize("text", ["", "{}", '{"contract_id": 3}', "[1]"])
def test_a_broken_card_names_its_file(text):
    with pytest.raises(WeightsError, match=r"m\.onnx: bad ThresholdCard"):
        parse_card(text, source="m.onnx")


def test_the_point_to_decide_by_promises_at_least_what_is_asked():
    assert operating_point(None, fmr=1e-3) is None
    assert operating_point(CARD, fmr=1e-2).threshold == 0.2
    assert operating_point(CARD, fmr=1e-3).threshold == 0.4  # 1e-3 is missing, 1e-4 promises more
    assert operating_point(CARD).threshold == 0.4  # the default is 1e-3
    assert operating_point(CARD, fmr=1e-5) is None
    assert operating_point(CARD, gallery_size=7).threshold == 0.3
    assert operating_point(CARD, gallery_size=101, fpir=0.05).threshold == 0.35
    assert operating_point(CARD, gallery_size=5000) is None
    assert operating_point(CARD, gallery_size=50, fpir=1e-3) is None


@pytest.mark.parametrize(
    "wish", [{"fpir": 0.1}, {"fmr": 0.1, "gallery_size": 3}, {"gallery_size": 0}, {"fmr": 1.0}]
)
def test_wishes_that_cannot_be_meant_are_refused(wish):
    with pytest.raises(ValueError):
        operating_point(CARD, **wish)


@given(fmr=st.floats(1e-6, 0.5))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_a_looser_wish_never_gets_a_higher_threshold(fmr):
    strict, loose = operating_point(CARD, fmr=fmr), operating_point(CARD, fmr=min(2 * fmr, 0.9))
    assert strict is None or loose.threshold <= strict.threshold


def test_counted_rows_are_what_two_loops_count():
    faces = made([3] * 60)
    card = make_card(faces, date="2026-01-02")
    genuine, impostor = pair_scores(faces)
    (row,) = [p for p in card.operating_points if p.fmr_target == 1e-2]
    assert row.fmr.value == pytest.approx(loop_fmr(impostor, row.threshold))
    assert row.fmr.value <= 1e-2 < np.mean(impostor >= np.nextafter(np.float32(row.threshold), -2))
    assert row.fnmr.value == pytest.approx(np.mean(genuine < row.threshold))
    assert row.fmr.low < row.fmr.value < row.fmr.high
    assert (card.n_impostor, card.n_genuine, card.n_identities) == (len(impostor), len(genuine), 60)
    assert card.date == "2026-01-02"
    assert parse_card(card.model_dump_json(), source="x") == card


def test_rows_are_counted_then_extrapolated_tenfold_then_absent():
    faces = made([1] * 300, dim=32, labelled=False)  # 44,850 comparisons: 30 are 6.7e-4
    card = make_card(faces, date="2026-01-02")
    rows = {p.fmr_target: p for p in card.operating_points}
    assert sorted(rows) == [1e-4, 1e-3, 1e-2]
    assert not rows[1e-3].extrapolated
    assert rows[1e-4].extrapolated
    assert rows[1e-4].threshold > rows[1e-3].threshold
    assert rows[1e-4].fmr.low < 1e-4 < rows[1e-4].fmr.high
    missing = {p.fmr_target for p in card.absent if p.fmr_target}
    assert missing == {1e-5, 1e-6}
    assert card.n_identities is None
    assert rows[1e-2].fnmr.value is None
    assert "no identities" in rows[1e-2].fnmr.reason


def test_a_constant_embedder_gets_no_threshold_at_all():
    faces = made([2] * 40)
    same = np.zeros_like(faces.embeddings)
    same[:, 0] = 1.0
    card = make_card(dataclasses.replace(faces, embeddings=same))
    assert card.operating_points == ()
    assert card.fpir_by_gallery_size == {}
    assert operating_point(card, fmr=0.5) is None
    assert "similarity 1" in card.absent[0].reason


def test_identities_of_only_some_faces_are_refused():
    faces = made([2] * 10)
    with pytest.raises(DataError, match="every picture or for none"):
        make_card(dataclasses.replace(faces, identities=(None, *faces.identities[1:])))


def test_a_list_of_impostor_pairs_gives_fmr_only():
    faces = made([1] * 200, labelled=False)
    pairs = [(faces.keys[i], faces.keys[j]) for i in range(200) for j in range(i) if (i + j) % 3]
    card = make_card(faces, impostor_pairs=pairs)
    row = card.operating_points[0]
    rows = {key: n for n, key in enumerate(faces.keys)}
    first, second = (faces.embeddings[[rows[pair[side]] for pair in pairs]] for side in (0, 1))
    scores = cosine(first, second)
    assert row.fmr.value == pytest.approx(np.mean(scores >= row.threshold))
    assert row.fnmr.value is None
    assert card.fpir_by_gallery_size == {}
    with pytest.raises(DataError, match="nobody"):
        make_card(faces, impostor_pairs=[("nobody", faces.keys[0])])
    with pytest.raises(DataError, match="twice"):
        make_card(faces, impostor_pairs=[(faces.keys[0], faces.keys[0])])


def test_the_variance_of_an_fmr_is_that_of_the_room_next_door():
    table = World(people=60).draw(np.random.default_rng(1))[0]
    threshold = float(table.tail[200])
    impostors = dyadic.Impostors.of_table(table)
    mine = impostors.variance(dyadic.rate, np.ones((impostors.accepted(threshold), 1)))
    theirs = spread(FmrAt(table, threshold).influence, table.sizes)
    assert mine.variance == pytest.approx(theirs.variance, rel=0.02)
    assert mine.df == pytest.approx(theirs.df, rel=0.02)


def test_the_variance_of_a_list_is_the_definition_by_loops():
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 30, 400), rng.integers(30, 60, 400)
    scores = rng.normal(size=400).astype(np.float32)
    impostors = dyadic.Impostors.of_list(scores, first, second)
    count = 60
    found = impostors.variance(dyadic.rate, np.ones((count, 1)))
    hit = scores >= np.sort(scores)[-count]
    value = hit.mean()
    node = [
        hit[(first != u) & (second != u)].mean() - value
        for u in sorted(set(first.tolist()) | set(second.tolist()))
    ]
    whole = (len(node) - 1) / len(node) * np.sum((np.array(node) - np.mean(node)) ** 2)
    dyads = 0.0
    for pair in set(zip(first.tolist(), second.tolist(), strict=True)):
        out = (first == pair[0]) & (second == pair[1])
        dyads += (hit[~out].mean() - value) ** 2
    assert found.variance == pytest.approx(max(whole - dyads, whole / 2), rel=1e-2)


def test_moments_find_the_exponential_and_scipys_pareto():
    assert tail.pareto_of_moments(0.05, 0.0025).shape == pytest.approx(0.0)
    assert tail.pareto_of_moments(0.05, 0.0025).scale == pytest.approx(0.05)
    mean, variance = stats.genpareto.stats(c=-0.2, scale=0.1, moments="mv")
    found = tail.pareto_of_moments(float(mean), float(variance))
    assert found.shape == pytest.approx(-0.2)
    assert found.scale == pytest.approx(0.1)
    excess = np.linspace(-0.1, 0.7, 30)
    expected = stats.genpareto.sf(excess, c=-0.2, scale=0.1)
    assert found.survival(excess) == pytest.approx(expected)


@given(rate=st.floats(0.02, 0.1), seed=st.integers(0, 5))
@settings(derandomize=True, deadline=None, max_examples=10)
def test_a_tenfold_extrapolation_of_an_exponential_is_its_closed_form(rate, seed):
    rng = np.random.default_rng(seed)
    scores = (rng.exponential(rate, 30_000) - 1.0).astype(np.float32)
    first = rng.integers(0, 500, 30_000)
    impostors = dyadic.Impostors.of_list(scores, first, first + 500)
    found = tail.FittedTail(impostors).point(1e-4)
    truth = rate * math.log(1e4) - 1.0
    assert found.low < found.threshold < found.high
    assert abs(found.threshold - truth) < 1.6 * (found.high - found.low) / 2
    assert found.fmr == pytest.approx(1e-4, rel=1e-6)


def test_a_tail_too_short_or_without_spread_is_refused():
    first = np.arange(1000)
    few = dyadic.Impostors.of_list(np.linspace(0, 0.5, 1000).astype(np.float32), first, first + 1)
    with pytest.raises(ValueError, match="at least 100"):
        tail.FittedTail(few)
    many = np.arange(10_000)
    flat = dyadic.Impostors.of_list(np.full(10_000, 0.3, np.float32), many, many + 1)
    with pytest.raises(ValueError, match="all the same"):
        tail.FittedTail(flat)


def test_alarms_are_the_hypergeometric_distribution():
    for people, size in ((9, 3), (9, 9), (40, 1), (300, 120)):
        expected = [stats.hypergeom.sf(0, people, k, size) for k in range(people + 1)]
        assert alarm_table(people, size) == pytest.approx(np.array(expected), abs=1e-9)


def test_fpir_is_the_mean_over_probes_of_every_random_gallery():
    faces = made([2] * 50, dim=4)
    searches = Searches(faces, unlabelled=False)
    scores = np.concatenate([block.copy() for _, block in searches._blocks()])
    for size, threshold in ((10, 0.8), (49, 0.9)):
        rng = np.random.default_rng(0)
        alarms = []
        for probe, row in enumerate(scores):
            others = np.delete(row, searches._owner[probe])
            draws = [rng.permutation(len(others))[:size] for _ in range(400)]
            alarms.append(np.mean([others[draw].max() >= threshold for draw in draws]))
        counted = searches.rate_at(size, threshold, extrapolated=False)
        assert counted == pytest.approx(np.mean(alarms), abs=0.01)


def test_fpir_is_not_one_minus_the_power_where_false_matches_crowd():
    rng = np.random.default_rng(0)
    faces = made([1] * 1000, dim=64, seed=1)
    vectors = faces.embeddings.copy()
    crowd = vectors[0] + 0.08 * rng.normal(size=(10, 64))
    vectors[:10] = crowd / np.linalg.norm(crowd, axis=1, keepdims=True)
    searches = Searches(dataclasses.replace(faces, embeddings=vectors), unlabelled=True)
    found = searches.rate_at(999, 0.65, extrapolated=False)
    fmr = np.mean(searches._matches(0.65)) / 999
    assert found == pytest.approx(10 / 1000)
    assert 1 - (1 - fmr) ** 999 > 5 * found


def test_the_tail_model_agrees_with_counting_where_both_can_speak():
    searches = Searches(made([1] * 900, dim=16, labelled=False), unlabelled=True)
    found = searches.point(500, 0.1)
    modelled = searches.rate_at(500, found.threshold, extrapolated=True)
    assert modelled == pytest.approx(0.1, rel=0.15)
    assert found.fpir.low < found.fpir.value < found.fpir.high


def test_search_rows_rise_with_the_gallery_and_stop_at_ten_times_the_people():
    card = make_card(made([1] * 700, dim=16, labelled=False))
    rows = card.fpir_by_gallery_size
    assert sorted(rows) == [100, 1000]
    assert all(not p.extrapolated for p in rows[100] if p.fpir_target == 0.1)
    assert all(p.extrapolated for p in rows[1000])
    by_target = {p.fpir_target: p.threshold for p in rows[100]}
    assert by_target[0.1] < by_target[0.01]
    assert all(p.threshold > by_target[p.fpir_target] for p in rows[1000])
    reasons = [p.reason for p in card.absent if p.gallery_size == 10_000]
    assert all("ten times the 699 people" in reason for reason in reasons)
    assert len(reasons) == 3


def test_half_of_the_people_choose_and_the_other_half_tells():
    faces = made([3] * 120)
    halves = disjoint_halves(faces, seed=4)
    ours, theirs = set(halves.calibrate.identities), set(halves.report.identities)
    assert not ours & theirs
    assert len(ours) == len(theirs) == 60
    assert halves.calibrate.source_digest != halves.report.source_digest
    assert disjoint_halves(faces, seed=4).calibrate.keys == halves.calibrate.keys
    card = make_card(halves.calibrate)
    rows = check_card(card, halves.report)
    _, impostor = pair_scores(halves.report)
    assert rows[0]["fmr"]["value"] == pytest.approx(np.mean(impostor >= rows[0]["threshold"]))
    assert rows[0]["agrees"] is True
    assert "1e-2" in card_table(card, rows)
    with pytest.raises(DataError, match="share a picture"):
        check_disjoint(halves.calibrate, faces)
    other = dataclasses.replace(halves.report, flip=False)
    with pytest.raises(ContractMismatch, match="flip"):
        check_card(card, other)


def test_groups_are_measured_at_the_common_threshold():
    faces = made([2] * 60)
    groups = {key: "one" if n < 60 else "two" for n, key in enumerate(faces.keys)}
    groups[faces.keys[-1]] = "lonely"
    card = make_card(faces, groups=groups)
    assert sorted(card.groups) == ["lonely", "one", "two"]
    inside = dataclasses.replace(
        faces,
        embeddings=faces.embeddings[:60],
        keys=faces.keys[:60],
        identities=faces.identities[:60],
    )
    genuine, impostor = pair_scores(inside)
    row = card.groups["one"][0]
    assert row.threshold == card.operating_points[0].threshold
    assert row.fmr.value == pytest.approx(np.mean(impostor >= row.threshold))
    assert row.fnmr.value == pytest.approx(np.mean(genuine < row.threshold))
    assert card.groups["lonely"][0].fmr.value is None
    assert "nobody" in card.groups["lonely"][0].fmr.reason
    with pytest.raises(DataError, match="none of its pictures"):
        make_card(faces, groups={"elsewhere": "x"})


def test_a_group_of_people_with_one_picture_each_has_no_genuine_comparison():
    rates = GroupRates(made([1] * 30), labelled=True, floor=0.0)
    assert rates.fnmr(0.2).value is None
    assert rates.fmr(0.2).value is not None


@given(seed=st.integers(0, 1000))
@settings(derandomize=True, deadline=None, max_examples=8)
def test_picture_order_changes_no_row(seed):
    faces = made([2] * 30, seed=5)
    order = np.random.default_rng(seed).permutation(60)
    mixed = dataclasses.replace(
        faces,
        embeddings=faces.embeddings[order],
        keys=tuple(faces.keys[i] for i in order),
        identities=tuple(faces.identities[i] for i in order),
    )
    a, b = (make_card(x, date="d", gallery_sizes=(20,)) for x in (faces, mixed))
    assert [p.threshold for p in a.operating_points] == pytest.approx(
        [p.threshold for p in b.operating_points], abs=1e-6
    )
    assert score_all_pairs(faces).n_impostor == a.n_impostor


@pytest.mark.slow
def test_extrapolated_thresholds_cover_the_true_one():
    """Normal scores with people's own effects: the tail's end is known in closed form."""
    world = World(people=120, goat=0.3)
    target, covered, rates = 4e-4, [], []
    for seed in range(150):
        table = world.draw(np.random.default_rng(seed))[0]
        found = tail.FittedTail(dyadic.Impostors.of_table(table)).point(target)
        truth = world.imp_sd * stats.norm.isf(target) / 20
        covered.append(found.low <= truth <= found.high)
        rates.append(world.fmr_at(found.threshold * 20))
    assert 0.9 <= np.mean(covered) <= 0.99
    assert np.median(rates) == pytest.approx(target, rel=0.2)


@pytest.mark.slow
def test_intervals_of_a_given_thresholds_fmr_cover_the_true_rate():
    world, covered = World(people=100), []
    threshold = world.imp_sd * stats.norm.isf(5e-3) / 20
    for seed in range(200):
        table = world.draw(np.random.default_rng(seed))[0]
        found = dyadic.fmr_at(dyadic.Impostors.of_table(table), threshold)
        covered.append(found.low <= 5e-3 <= found.high)
    assert 0.92 <= np.mean(covered) <= 0.985


@pytest.mark.slow
def test_intervals_of_a_counted_fpir_cover_the_true_rate():
    """Random directions: a probe matches a person with a probability known from one long run."""
    threshold, size, covered = 0.62, 20, []
    long = Searches(made([1] * 3000, dim=12, labelled=False, seed=9), unlabelled=True)
    truth = long.rate_at(size, threshold, extrapolated=False)
    for seed in range(120):
        faces = made([1] * 150, dim=12, labelled=False, seed=1000 + seed)
        found = Searches(faces, unlabelled=True)._limits(size, threshold, extrapolated=False)
        covered.append(found.low <= truth <= found.high)
    assert np.mean(covered) >= 0.91


def test_what_is_absent_is_said_once_for_each_reason():
    card = make_card(made([2] * 40), date="d", fmr_targets=(1e-2,), gallery_sizes=(10, 20, 50, 70))
    points = [
        AbsentPoint(gallery_size=size, fpir_target=fpir, reason="small")
        for size in (10, 20, 50)
        for fpir in (1e-1, 1e-2)
    ]
    points += [
        AbsentPoint(fmr_target=1e-5, reason="small"),
        AbsentPoint(gallery_size=70, fpir_target=1e-1, reason="large"),
        AbsentPoint(gallery_size=20, fpir_target=1e-3, reason="other"),
        AbsentPoint(gallery_size=70, fpir_target=1e-3, reason="other"),
    ]
    missing = absent_rows(card.model_copy(update={"absent": tuple(points)}))
    assert missing == [
        ("FMR 1e-5; galleries 10 to 50 at FPIR 1e-1, FPIR 1e-2", "small"),
        ("gallery 70 at FPIR 1e-1", "large"),
        ("galleries 20, 70 at FPIR 1e-3", "other"),
    ]
