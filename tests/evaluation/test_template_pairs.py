"""Index pairs: their scores, and their table against the table of all pairs."""

import itertools

import numpy as np
import pytest
from fakes import flat
from simulate import World

from crossface.core.errors import DataError
from crossface.evaluation import metrics
from crossface.evaluation import template_pairs as room
from crossface.evaluation.influence import (
    EqualError,
    FmrAt,
    FnmrAtFmr,
    auc_influence,
    spread,
    table_spread,
)
from crossface.evaluation.protocols.all_pairs import table_figures
from crossface.evaluation.template_pairs import pair_table, score_index_pairs


def as_list(table):
    """The comparisons of a complete table."""
    scores = np.concatenate([table.genuine, table.tail])
    first = np.concatenate([table.genuine_identity, table.tail_a])
    return scores, first, np.concatenate([table.genuine_identity, table.tail_b])


def test_scores_are_cosines_whatever_the_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = rng.integers(0, 20, (2, 77))
    whole = score_index_pairs(vectors, first, second)
    want = [float(vectors[i] @ vectors[j]) for i, j in zip(first, second, strict=True)]
    np.testing.assert_allclose(whole, want, atol=1e-6)
    monkeypatch.setattr(room, "_BLOCK_BYTES", 1)
    np.testing.assert_array_equal(score_index_pairs(vectors, first, second), whole)
    order = rng.permutation(77)
    np.testing.assert_array_equal(
        score_index_pairs(vectors, first[order], second[order]), whole[order]
    )


def test_wrong_indices_are_refused():
    vectors = np.eye(3, dtype=np.float32)
    with pytest.raises(DataError, match="templates 0 to 3, expected 0 to 2"):
        score_index_pairs(vectors, np.array([0]), np.array([0, 3]))
    with pytest.raises(DataError, match="two"):
        score_index_pairs(vectors, np.array([0]), np.array([0, 1]))
    with pytest.raises(DataError, match="got 1 and 0"):
        pair_table(np.ones(1, dtype=np.float32), np.array([0]), np.array([0]), ("a",))


def test_a_list_of_all_pairs_gives_the_figures_of_all_pairs():
    table = World(people=30).draw(np.random.default_rng(1))[0]
    listed = pair_table(*as_list(table), table.identities)
    np.testing.assert_array_equal(listed.impostor_of, table.impostor_of)
    np.testing.assert_array_equal(listed.genuine_of, table.genuine_of)
    assert listed.squared_comparisons == pytest.approx(table.squared_comparisons)
    for make in (
        lambda t: FnmrAtFmr(t, 2e-2).influence,
        lambda t: FmrAt(t, 0.2).influence,
        lambda t: EqualError.of(t).influence,
        auc_influence,
    ):
        one, two = make(table), make(listed)
        assert one.value == pytest.approx(two.value)
        assert table_spread(two, listed) == pytest.approx(spread(one, table.sizes))
    one, two = (flat(table_figures(t, (1e-2,))) for t in (table, listed))
    assert one == pytest.approx(two)


def test_the_variance_of_a_list_s_fmr_is_the_sum_over_pairs_that_share_an_identity():
    # every identity in as many comparisons as any other, so that the jackknife is linear
    count, copies = 12, 3
    rng = np.random.default_rng(2)
    ring = [(i, (i + step) % count) for i in range(count) for step in (1, 2) for _ in range(copies)]
    first, second = np.array([*ring, *((i, i) for i in range(count))]).T
    bad = 0.3 * rng.normal(size=count)
    scores = (0.1 * rng.normal(size=len(first)) + bad[first] + bad[second]).astype(np.float32)
    names = tuple(str(i) for i in range(count))
    listed = pair_table(scores, first, second, names)
    found = FmrAt(listed, 0.1).influence
    wrong, total = {}, len(ring)
    for i, j, s in zip(first, second, scores, strict=True):
        if i != j:
            key = (min(i, j), max(i, j))
            wrong[key] = wrong.get(key, 0.0) + (float(s) >= np.float32(0.1)) - found.value
    linear = sum(wrong[d] * wrong[e] for d, e in itertools.product(wrong, wrong) if {*d} & {*e})
    own = sum(value**2 for value in wrong.values())
    left = total - listed.impostor_of[0]
    scale = (count - 1) / count * (total / left) ** 2
    want = ((linear + own) * scale - own) / total**2
    assert linear > 0
    assert table_spread(found, listed).variance == pytest.approx(want, rel=1e-6)


def test_a_long_list_keeps_the_complete_upper_tail_only(monkeypatch):
    table = World(people=30).draw(np.random.default_rng(1))[0]
    monkeypatch.setattr(room, "KEEP", 100)
    monkeypatch.setattr(room, "_CHUNK", 500)
    listed = pair_table(*as_list(table), table.identities)
    assert len(listed.tail) == int(0.3 * table.n_impostor)
    np.testing.assert_array_equal(listed.tail, table.tail[: len(listed.tail)])
    assert listed.auc_genuine.sum() == pytest.approx(table.auc_genuine.sum())
    want = metrics.fnmr_at_fmr(table.genuine, table.tail, 0.1)
    assert FnmrAtFmr(listed, 0.1).influence.value == pytest.approx(want)
