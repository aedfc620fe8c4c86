"""Searches by blocks against loops from the definition."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.core.errors import DataError
from crossface.evaluation import identification as room
from crossface.evaluation.bootstrap import identity_weights
from crossface.evaluation.identification import (
    cmc,
    collect_searches,
    fnir_at,
    fnir_at_false_candidates,
    fnir_at_fpir,
    fpir_at,
    rank_rate,
    search_gallery,
    threshold_at_false_candidates,
    threshold_at_fpir,
)
from crossface.evaluation.identification_bootstrap import (
    fnir_interval,
    fnir_replicates,
    rank_interval,
    too_few_false_positives,
)

calm = settings(derandomize=True, deadline=None, max_examples=25)


def drawn(seed, *, levels=6, people=5, probes=14):
    """Coarse similarities, so that ties are the rule; people 0.. are enrolled, 90.. are not."""
    rng = np.random.default_rng(seed)
    gallery = np.append(np.arange(people), rng.integers(0, people, 4))
    who = np.append(
        [0, 90], np.where(rng.random(probes) < 0.5, rng.integers(0, people, probes), 91)
    )
    scores = np.round(rng.normal(size=(len(who), len(gallery))) * levels) / levels
    return scores.astype(np.float32), rng.permutation(gallery), who


def by_loop(scores, gallery, who):
    """Rows of (person, {enrolled person: highest similarity})."""
    rows = []
    for line, person in zip(scores, who, strict=True):
        best = {}
        for score, owner in zip(line.tolist(), gallery.tolist(), strict=True):
            best[owner] = max(score, best.get(owner, -9.0))
        rows.append((int(person), best))
    return rows


def slow_rates(rows, threshold, max_rank):
    """FPIR and FNIR from the definition."""
    mated = [(person, best) for person, best in rows if person in best]
    others = [best for person, best in rows if person not in best]
    fpir = np.mean([any(s >= threshold for s in best.values()) for best in others])
    missed = []
    for person, best in mated:
        place = sum(s >= best[person] for s in best.values())
        missed.append(best[person] < threshold or place > max_rank)
    return fpir, np.mean(missed)


@calm
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 99]), st.sampled_from([1, 3, 100]))
def test_rates_are_those_of_the_definition_in_blocks_of_any_size(seed, max_rank, step):
    scores, gallery, who = drawn(seed)
    blocks = [scores[i : i + step] for i in range(0, len(scores), step)]
    found = collect_searches(blocks, gallery, who)
    rows = by_loop(scores, gallery, who)
    for threshold in np.unique(scores):
        fpir, fnir = slow_rates(rows, threshold, max_rank)
        assert fpir_at(found, float(threshold)) == pytest.approx(fpir)
        assert fnir_at(found, float(threshold), max_rank=max_rank) == pytest.approx(fnir)
    ranks = [sum(s >= best[p] for s in best.values()) for p, best in rows if p in best]
    assert found.rank.tolist() == ranks
    curve = cmc(found, 5)
    assert curve.tolist() == pytest.approx([np.mean(np.array(ranks) <= k) for k in range(1, 6)])
    assert rank_rate(found, 2) == pytest.approx(curve[1])


@calm
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.2, 0.5, 0.75]))
def test_the_threshold_is_the_smallest_that_keeps_the_fpir(seed, target):
    scores, gallery, who = drawn(seed)
    found = collect_searches([scores], gallery, who)
    threshold = threshold_at_fpir(found, target)
    assert fpir_at(found, threshold) <= target
    lower = float(np.nextafter(np.float32(threshold), np.float32(-9)))
    assert fpir_at(found, lower) > target
    rates = [
        fnir_at(found, float(t))
        for t in [*np.unique(scores), 9.0]
        if fpir_at(found, float(t)) <= target
    ]
    assert fnir_at_fpir(found, target) == pytest.approx(min(rates))


@calm
@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.5, 1.0]))
def test_the_other_definition_counts_false_candidates_of_mated_searches(seed, share):
    scores, gallery, who = drawn(seed)
    rows = by_loop(scores, gallery, who)
    mated = [(best[p], [s for q, s in best.items() if q != p]) for p, best in rows if p in best]
    wrong = sorted((s for _, others in mated for s in others), reverse=True)
    bound = wrong[int(np.ceil(share * len(mated))) - 1]
    found = collect_searches([scores[:5], scores[5:]], gallery, who)
    want = np.mean([not mate > bound for mate, _ in mated])
    assert fnir_at_false_candidates(found, share) == pytest.approx(want)


def test_vectors_are_searched_as_their_similarities_are(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(60, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    who = rng.integers(0, 12, 60)
    gallery, probes = np.flatnonzero(who < 6)[:20], np.arange(25, 60)
    arguments = (vectors[gallery], who[gallery], vectors[probes], who[probes])
    monkeypatch.setattr(room, "_BLOCK_CELLS", 70)
    found = search_gallery(*arguments)
    whole = collect_searches([vectors[probes] @ vectors[gallery].T], who[gallery], who[probes])
    np.testing.assert_allclose(found.mate, whole.mate, atol=1e-6)
    np.testing.assert_allclose(found.best, whole.best, atol=1e-6)
    np.testing.assert_allclose(found.false_candidates, whole.false_candidates, atol=1e-6)
    np.testing.assert_array_equal(found.rank, whole.rank)
    assert (found.n_enrolled, found.n_templates) == (len(set(who[gallery])), len(gallery))


def test_equal_similarities_never_flatter():
    same = np.full((3, 4), 0.5, dtype=np.float32)
    found = collect_searches([same], np.arange(4), np.array([0, 1, 9]))
    assert rank_rate(found, 1) == 0.0
    assert fnir_at_fpir(found, 0.5) == 1.0


def test_searches_that_cannot_be_made_are_refused():
    scores = np.zeros((2, 2), dtype=np.float32)
    with pytest.raises(DataError, match="got 0 and 2"):
        collect_searches([scores], np.array([], dtype=int), np.array([0, 1]))
    with pytest.raises(DataError, match="expected similarities of 3 probes, got 2"):
        collect_searches([scores], np.array([0, 1]), np.array([0, 1, 2]))
    closed = collect_searches([scores], np.array([0, 1]), np.array([0, 1]))
    with pytest.raises(ValueError, match="no non-mated search"):
        fnir_at_fpir(closed, 0.1)
    unknown = collect_searches([scores], np.array([0, 1]), np.array([8, 9]))
    with pytest.raises(ValueError, match="no mated search"):
        rank_rate(unknown, 1)
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\]"):
        threshold_at_false_candidates(closed, 1.5)


def crowd(seed, *, people=40, noise=0.3):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(2 * people), 3)
    vectors = rng.normal(size=(2 * people, 12))[who] + noise * rng.normal(size=(len(who), 12))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    first = np.arange(0, 3 * people, 3)
    probes = np.setdiff1d(np.arange(len(who)), first)
    return search_gallery(vectors[first], who[first], vectors[probes], who[probes])


def test_replicates_are_the_weighted_definition():
    found = crowd(1, noise=0.7)  # rounded, so that mates lie on the threshold's score
    found = replace(found, mate=np.round(found.mate, 1), best=np.round(found.best, 1))
    target, rank = 0.2, 2
    mated, mate_of = np.unique(found.mated_identity, return_inverse=True)
    others, other_of = np.unique(found.non_mated_identity, return_inverse=True)
    weights = identity_weights(len(mated) + len(others), 7)
    values = fnir_replicates(found, target, max_rank=rank, replicates=7)
    for value, row in zip(values, weights, strict=True):
        theirs, ours = row[: len(others)][other_of], row[len(others) :][mate_of]
        best = None
        for t in [*np.unique(found.best), np.float32(9)]:
            threshold = np.nextafter(t, np.float32(9))
            if np.average(found.best >= threshold, weights=theirs) <= target:
                missed = (found.mate < threshold) | (found.rank > rank)
                rate = np.average(missed, weights=ours)
                best = rate if best is None else min(best, rate)
        assert value == pytest.approx(best)


def test_intervals_hold_the_rate_and_say_when_they_cannot():
    found = crowd(2, noise=0.7)
    limits = fnir_interval(found, 0.2, replicates=300)
    assert limits.value == pytest.approx(fnir_at_fpir(found, 0.2))
    assert 0 < limits.low < limits.value < limits.high < 1
    rank = rank_interval(found, 1, replicates=300)
    assert rank.value == pytest.approx(rank_rate(found, 1))
    assert rank.low < rank.value < rank.high
    few = crowd(3, people=8)
    assert "10 identities, there are 8" in fnir_interval(few, 0.2).reason
    assert rank_interval(few, 1).low is None


def test_thirty_expected_false_positives_are_enough_and_fewer_are_not():
    assert too_few_false_positives(0.1, 300) is None
    assert "2.9 false positives are expected among 290" in too_few_false_positives(0.01, 290)
