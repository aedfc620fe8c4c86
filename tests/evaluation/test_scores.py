"""All pairs by blocks against the full matrix."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from fakes import MeanEmbedder, NoiseFaces

from crossface.core.errors import DataError
from crossface.evaluation import metrics, scores
from crossface.evaluation.embed import embed_faces


def faces_of(sizes, **options):
    return embed_faces(MeanEmbedder(), NoiseFaces(sizes, **options), progress=False)


def by_loop(faces):
    genuine, impostor = [], []
    for i, j in itertools.combinations(range(len(faces.keys)), 2):
        s = float(faces.embeddings[i] @ faces.embeddings[j])
        a, b = sorted([faces.identities[i], faces.identities[j]])
        (genuine if a == b else impostor).append((s, a, b))
    return genuine, impostor


@pytest.mark.parametrize("cells", [1, 16_000_000])
def test_the_table_holds_every_comparison_once(monkeypatch, cells):
    monkeypatch.setattr(scores, "_BLOCK_CELLS", cells)
    faces = faces_of((3, 1, 70, 2, 5, 1))
    table = scores.score_all_pairs(faces)
    genuine, impostor = by_loop(faces)
    assert (len(table.genuine), table.n_impostor) == (len(genuine), len(impostor))
    np.testing.assert_allclose(table.genuine, sorted(s for s, _, _ in genuine), atol=1e-5)
    np.testing.assert_allclose(table.tail[::-1], sorted(s for s, _, _ in impostor), atol=1e-5)
    counts = {}
    for _, a, b in impostor:
        counts[a, b] = counts.get((a, b), 0) + 1
    found = {}
    for a, b in zip(table.tail_a, table.tail_b, strict=True):
        key = table.identities[a], table.identities[b]
        found[key] = found.get(key, 0) + 1
    assert found == counts
    assert int(table.impostor_of.sum()) == 2 * len(impostor)
    np.testing.assert_array_equal(
        np.bincount(table.genuine_identity, minlength=6), table.genuine_of
    )


def test_the_auc_sums_add_up_to_the_auc():
    faces = faces_of((4,) * 10, noise=3000.0)
    table = scores.score_all_pairs(faces)
    want = metrics.auc(table.genuine, table.tail)
    assert 0.6 < want < 0.9999
    assert table.auc_genuine.sum() / len(table.genuine) == pytest.approx(want, abs=1e-4)
    assert table.auc_impostor.sum() / 2 / table.n_impostor == pytest.approx(want, abs=1e-4)


def test_a_large_set_keeps_the_complete_upper_tail_only(monkeypatch):
    faces = faces_of((3,) * 60)
    whole = scores.score_all_pairs(faces)
    monkeypatch.setattr(scores, "KEEP_ALL", 1000)
    tail = scores.score_all_pairs(faces)
    assert 0.015 * whole.n_impostor <= len(tail.tail) < 0.1 * whole.n_impostor
    np.testing.assert_allclose(tail.tail, whole.tail[: len(tail.tail)])
    np.testing.assert_array_equal(tail.tail_a, whole.tail_a[: len(tail.tail)])
    np.testing.assert_allclose(tail.auc_impostor, whole.auc_impostor)


def test_a_tail_that_the_sample_misjudged_is_read_again(monkeypatch):
    monkeypatch.setattr(scores, "KEEP_ALL", 1000)
    monkeypatch.setattr(scores, "_tail_bound", lambda *_: 0.99)
    table = scores.score_all_pairs(faces_of((3,) * 40))
    assert len(table.tail) >= 0.015 * table.n_impostor


def test_the_order_of_the_pictures_does_not_matter():
    faces = faces_of((3, 5, 2, 4))
    order = np.random.default_rng(0).permutation(len(faces.keys))
    mixed = replace(
        faces,
        embeddings=faces.embeddings[order],
        identities=tuple(faces.identities[i] for i in order),
    )
    one, two = scores.score_all_pairs(faces), scores.score_all_pairs(mixed)
    np.testing.assert_allclose(one.genuine, two.genuine, atol=1e-6)
    np.testing.assert_allclose(one.tail, two.tail, atol=1e-6)
    np.testing.assert_allclose(one.auc_impostor, two.auc_impostor, atol=1e-3)


def test_sets_without_labels_or_without_one_kind_of_pair_are_refused():
    with pytest.raises(DataError, match="4 of 4 have none"):
        scores.score_all_pairs(faces_of((2, 2), labelled=False))
    with pytest.raises(DataError, match="got 0 and 6"):
        scores.score_all_pairs(faces_of((1, 1, 1, 1)))
    with pytest.raises(DataError, match="got 6 and 0"):
        scores.score_all_pairs(faces_of((4,)))
