"""Clustering against a loop of average linkage, and the rule that a photo holds one of each."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.core.errors import DataError, UsageError
from crossface.core.vectors import unit
from crossface.search.cluster import by_size, cluster_faces


def people(count, each, *, spread, seed=0, dim=32):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, dim))
    faces = np.repeat(centres, each, axis=0) + spread * rng.normal(size=(count * each, dim))
    return unit(faces), np.repeat(np.arange(count), each)


def by_loop(vectors, threshold, photos=None):
    """Average linkage from the definition: join the most similar groups while above threshold."""
    groups = [[n] for n in range(len(vectors))]
    similarity = vectors.astype(float) @ vectors.astype(float).T

    def allowed(a, b):
        return photos is None or not {photos[i] for i in a} & {photos[j] for j in b}

    while True:
        best = None
        for a, b in itertools.combinations(range(len(groups)), 2):
            if allowed(groups[a], groups[b]):
                mean = similarity[np.ix_(groups[a], groups[b])].mean()
                if mean >= threshold and (best is None or mean > best[0]):
                    best = (mean, a, b)
        if best is None:
            return {frozenset(group) for group in groups}
        _, a, b = best
        groups[a] += groups.pop(b)


def as_sets(labels):
    return {frozenset(np.flatnonzero(labels == group)) for group in np.unique(labels)}


@given(st.integers(0, 10_000), st.floats(-0.3, 0.8), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=25)
def test_groups_are_those_of_average_linkage_written_as_a_loop(seed, threshold, with_photos):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(14, 4)))
    photos = [f"photo {n}" for n in rng.integers(0, 9, 14)] if with_photos else None
    labels = cluster_faces(vectors, threshold=threshold, photos=photos)
    assert as_sets(labels) == by_loop(vectors, threshold, photos)


def test_well_separated_people_are_found_whatever_the_block_size(monkeypatch):
    from crossface.search import cluster

    vectors, truth = people(12, 7, spread=0.3)
    for cells in (1, 500, 16_000_000):
        monkeypatch.setattr(cluster, "_BLOCK_CELLS", cells)
        labels = cluster_faces(vectors, threshold=0.5)
        assert as_sets(labels) == as_sets(truth)


def test_two_faces_of_one_photo_are_never_one_person():
    vectors = unit(np.ones((3, 8)))  # twins: all three look the same
    labels = cluster_faces(vectors, threshold=0.5, photos=["a", "a", "b"])
    assert labels[0] != labels[1]
    assert len(set(labels.tolist())) == 2


def test_groups_are_numbered_by_size_then_by_their_first_face():
    assert by_size(np.array([5, 5, 2, 9, 9, 9, 7])).tolist() == [1, 1, 2, 0, 0, 0, 3]


def test_no_face_gives_no_label():
    assert cluster_faces(np.empty((0, 8), dtype=np.float32), threshold=0.5).shape == (0,)


@pytest.mark.parametrize("threshold", [-1.0, 1.0, float("nan")])
def test_a_threshold_outside_the_cosines_is_refused(threshold):
    with pytest.raises(UsageError, match="between -1 and 1"):
        cluster_faces(unit(np.eye(3)), threshold=threshold)


def test_photos_of_another_length_and_a_giant_component_are_refused():
    vectors = unit(np.ones((5, 4)))
    with pytest.raises(UsageError, match="5 faces need as many photos, got 2"):
        cluster_faces(vectors, threshold=0.5, photos=["a", "b"])
    with pytest.raises(DataError, match="higher threshold"):
        cluster_faces(vectors, threshold=0.5, most_in_component=4)
