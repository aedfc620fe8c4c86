"""Pseudo-identities against clusters whose truth is known."""

import numpy as np
import pytest

from crossface.core.errors import ConfigError
from crossface.training.pseudo import pseudo_identities, spherical_k_means


def clustered(people=12, each=20, dim=16, spread=0.15, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, dim))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rows = np.repeat(centres, each, axis=0) + spread * rng.normal(size=(people * each, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.repeat(np.arange(people), each)


def purity(labels, truth):
    return sum(np.bincount(truth[labels == c]).max() for c in np.unique(labels)) / len(truth)


@pytest.mark.parametrize("seed", range(4))
def test_clusters_find_the_people(seed):
    rows, truth = clustered(seed=seed, spread=0.1)
    labels, _ = spherical_k_means(rows, count=12, seed=seed)
    assert purity(labels, truth) > 0.9
    assert purity(truth, labels) > 0.9  # nobody is torn apart either


def test_the_result_is_a_fixed_point_of_the_definition():
    rows, _ = clustered(people=5, each=10)
    labels, centres = spherical_k_means(rows, count=5, seed=1, iterations=100)
    for row, label in zip(rows, labels, strict=True):
        assert label == max(range(5), key=lambda c: float(row @ centres[c]))
    for cluster in range(5):
        mean = rows[labels == cluster].astype(np.float64).sum(axis=0)
        np.testing.assert_allclose(centres[cluster], mean / np.linalg.norm(mean), atol=1e-5)


def test_same_seed_same_clusters_and_more_clusters_are_purer():
    rows, truth = clustered(spread=0.4)
    first = pseudo_identities(rows, count=6, seed=3)
    assert first == pseudo_identities(rows, count=6, seed=3)
    few, many = (spherical_k_means(rows, count=count, seed=0)[0] for count in (3, 100))
    assert purity(many, truth) > purity(few, truth)


def test_many_clusters_in_rounds_leave_none_empty():
    rows = clustered(people=40, each=10)[0]
    labels, _ = spherical_k_means(rows, count=200, seed=0)
    assert set(labels.tolist()) == set(range(200))


def test_rows_that_coincide_do_not_break_the_first_centres():
    rows = np.tile(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), (5, 1))
    labels, centres = spherical_k_means(rows, count=4, seed=0)
    assert np.isfinite(centres).all()
    assert len(set(labels[::2])) == 1
    assert labels[0] != labels[1]


@pytest.mark.parametrize("count", [0, 11])
def test_a_number_that_does_not_fit_is_refused(count):
    rows = clustered(people=2, each=5)[0]
    with pytest.raises(ConfigError, match=rf"must lie in 1..10, .* got {count}"):
        spherical_k_means(rows, count=count, seed=0)
