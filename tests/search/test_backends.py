"""What every index backend of the table must do, with a loop over numpy rows as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.core.errors import GalleryError
from crossface.search.backends import BACKENDS
from crossface.search.backends.code_scan import numpy_scan, scan
from crossface.search.backends.codes import CodesBackend, QueryCode, _codes
from crossface.search.index import TOP_K, PersonIndex
from search.galleries import near, vectors

DIM = 128
TOLERANCE = {"faiss-fp16": 2e-3}


class Rows(dict):
    """Vectors by number, as the record would read them."""

    def __call__(self, ids):
        return np.stack([self[i] for i in ids.tolist()])


def made(name, rows, dim=DIM):
    if name.startswith("faiss"):
        pytest.importorskip("faiss")
    return BACKENDS.resolve(name)(dim, rows)


def filled(name, count, seed=0):
    rows = Rows(enumerate(vectors(count, seed, DIM), start=1))
    backend = made(name, rows)
    ids = np.array(list(rows), dtype=np.int64)
    backend.add(ids, rows(ids))
    return backend, rows


def by_loop(rows, query, k):
    """(number, cosine) of the k most similar rows, from the definition."""
    scored = sorted(((-float(np.dot(v, query)), number) for number, v in rows.items()))
    return [(number, -score) for score, number in scored[:k]]


every_backend = pytest.mark.parametrize("name", BACKENDS.names())


@every_backend
def test_search_agrees_with_a_loop(name):
    backend, rows = filled(name, 300)
    queries = vectors(7, seed=1, dim=DIM)
    hits = backend.search(queries, 5)
    assert hits.ids.dtype == np.int64
    assert hits.scores.dtype == np.float32
    for query, ids, scores in zip(queries, hits.ids, hits.scores, strict=True):
        expected = by_loop(rows, query, 5)
        tolerance = TOLERANCE.get(name, 1e-5)
        assert scores == pytest.approx([score for _, score in expected], abs=tolerance)
        if name not in TOLERANCE:
            assert ids.tolist() == [number for number, _ in expected]


@every_backend
def test_search_of_an_empty_index_finds_nothing(name):
    backend = made(name, Rows())
    hits = backend.search(vectors(3, dim=DIM), 4)
    assert hits.ids.shape == hits.scores.shape == (3, 0)
    assert len(backend) == 0


@every_backend
def test_more_neighbours_than_templates_gives_them_all(name):
    backend, rows = filled(name, 4)
    hits = backend.search(vectors(2, dim=DIM), 9)
    assert hits.ids.shape == (2, 4)
    assert set(hits.ids[0].tolist()) == set(rows)


@every_backend
def test_no_query_gives_no_answer(name):
    backend, _ = filled(name, 4)
    assert backend.search(vectors(4, dim=DIM)[:0], 2).ids.shape == (0, 2)


@every_backend
def test_removed_templates_are_not_found_and_others_keep_their_numbers(name):
    backend, rows = filled(name, 60)
    gone = np.array([1, 60, 17, 18], dtype=np.int64)
    backend.remove(gone)
    assert len(backend) == 56
    for number, vector in rows.items():
        best = backend.search(vector[None], 1).ids[0, 0]
        assert (best == number) != (number in gone)
    with pytest.raises(GalleryError, match="template 17 is not in the index"):
        backend.remove(np.array([17]))
    back = np.array([17], dtype=np.int64)
    backend.add(back, rows(back))
    assert backend.search(rows[17][None], 1).ids[0, 0] == 17


@every_backend
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0, 2.0])
def test_what_is_no_unit_vector_is_refused_and_nothing_is_added(name, bad):
    backend, _ = filled(name, 3)
    rows = vectors(2, seed=5, dim=DIM)
    rows[1] = bad
    with pytest.raises(GalleryError, match="unit length"):
        backend.add(np.array([8, 9]), rows)
    with pytest.raises(GalleryError, match="unit length"):
        backend.search(rows[1:], 1)
    assert len(backend) == 3


@every_backend
def test_wrong_length_and_known_or_repeated_numbers_are_refused(name):
    backend, _ = filled(name, 3)
    with pytest.raises(GalleryError, match=r"\(N, 128\) float32"):
        backend.add(np.array([9]), vectors(1, dim=DIM + 1))
    with pytest.raises(GalleryError, match="template 2 is already"):
        backend.add(np.array([2]), vectors(1, dim=DIM))
    with pytest.raises(GalleryError, match="given twice"):
        backend.add(np.array([8, 8]), vectors(2, dim=DIM))
    assert len(backend) == 3


@every_backend
def test_scores_are_exact_cosines_in_the_order_asked(name):
    backend, rows = filled(name, 30)
    query = vectors(1, seed=2, dim=DIM)[0]
    ids = np.array([9, 3, 30], dtype=np.int64)
    expected = [float(np.dot(rows[i], query)) for i in ids.tolist()]
    assert backend.score(query, ids) == pytest.approx(expected, abs=TOLERANCE.get(name, 1e-6))


@every_backend
def test_equal_scores_come_by_ascending_number(name):
    vector = vectors(1, dim=DIM)
    rows = Rows(dict.fromkeys((5, 2, 9), vector[0]))
    backend = made(name, rows)
    ids = np.array([5, 2, 9], dtype=np.int64)
    backend.add(ids, rows(ids))
    assert backend.search(vector, 3).ids.tolist() == [[2, 5, 9]]


@every_backend
def test_recall_is_what_the_backend_states(name):
    """Probes at the genuine cosine of ``peers.md``: mean 0.61, deviation 0.09."""
    count = 1500
    backend, rows = filled(name, count)
    rng = np.random.default_rng(3)
    wanted = rng.integers(1, count + 1, size=100)
    cosines = rng.normal(0.61, 0.09, size=100).clip(0.35, 0.95)
    probes = np.stack(
        [near(rows[i], c, seed=i) for i, c in zip(wanted.tolist(), cosines, strict=True)]
    )
    exact = np.argmax(probes @ np.stack(list(rows.values())).T, axis=1) + 1
    found = backend.search(probes, 1).ids[:, 0]
    assert np.mean(found == exact) >= backend.recall


@every_backend
@settings(derandomize=True, deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_any_order_of_adding_and_removing_ends_in_the_same_answers(name, seed):
    rng = np.random.default_rng(seed)
    everything = Rows(enumerate(vectors(80, seed, DIM), start=1))
    backend, there = made(name, everything), set()
    for _ in range(12):
        number = int(rng.integers(1, 60))
        batch = np.arange(number, number + int(rng.integers(1, 20)), dtype=np.int64)
        new = np.array([i for i in batch.tolist() if i not in there], dtype=np.int64)
        if len(new):
            backend.add(new, everything(new))
            there |= set(new.tolist())
        gone = rng.permutation(sorted(there))[: int(rng.integers(0, 8))].astype(np.int64)
        backend.remove(gone)
        there -= set(gone.tolist())
    assert len(backend) == len(there)
    query = vectors(1, seed + 1, DIM)
    expected = by_loop({i: everything[i] for i in there}, query[0], 3)
    assert backend.search(query, 3).scores[0] == pytest.approx(
        [score for _, score in expected], abs=TOLERANCE.get(name, 1e-5)
    )


def weighted_distances(rows, query):
    """The docstring's sum, dimension by dimension."""
    step = 0.586 * np.sqrt(np.mean(query**2))
    weights = 1 + 2 * np.minimum(np.abs(query) // step, 3)
    return ((rows > 0) != (query > 0)) @ weights


@pytest.mark.parametrize("dim", [100, 128, 512, 700])  # whole words and fours of words, or not
@pytest.mark.parametrize("measure", [numpy_scan, scan()])
def test_code_distance_is_the_weighted_count_of_the_docstring(dim, measure):
    rows = vectors(50, dim=dim)
    query = vectors(1, seed=1, dim=dim)[0]
    codes = _codes(rows > 0)
    assert codes.shape == (-(-dim // 64), 50)
    found = np.full(50, 9, dtype=np.uint16)
    measure(codes, QueryCode.of(query).planes, found)
    assert found.tolist() == weighted_distances(rows, query).tolist()


def test_the_bound_of_a_code_holds_for_all_but_one_in_a_thousand_and_is_not_idle():
    rng = np.random.default_rng(0)
    query = vectors(1, dim=512)[0]
    code = QueryCode.of(query)
    noise = vectors(4000, seed=1, dim=512)
    noise -= (noise @ query)[:, None] * query
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    for cosine in (0.0, 0.2, 0.4, 0.6, 0.9):
        rows = cosine * query + np.sqrt(1 - cosine**2) * noise
        distance = weighted_distances(rows, query)
        assert np.mean(distance > code.farthest(cosine)) <= 1e-3
    strangers = vectors(4000, seed=int(rng.integers(2, 99)), dim=512)
    assert np.mean(weighted_distances(strangers, query) <= code.farthest(0.6)) < 1e-3


def test_a_probe_that_resembles_nobody_is_read_further_than_one_with_a_match():
    rows = vectors(30_000, dim=512)
    read = []

    def reader(ids):
        read.append(len(ids))
        return rows[ids]

    backend = CodesBackend(512, reader)
    backend.add(np.arange(30_000), rows)
    strangers = vectors(40, seed=7, dim=512)
    found = backend.search(strangers, 1).ids[:, 0]
    assert np.mean(found == np.argmax(strangers @ rows.T, axis=1)) == 1
    assert sum(read) > 40 * 1500
    read.clear()
    matches = np.stack([near(rows[i], 0.6, seed=1000 + i) for i in range(40)])
    assert backend.search(matches, 1).ids[:, 0].tolist() == list(range(40))
    assert sum(read) < 40 * 1100


def test_the_best_mean_is_found_where_a_lone_good_template_would_end_the_reading():
    """Its person is nobody's answer, yet at 0.5 it leaves no code that could hide a better one."""
    rows, query = vectors(9_999, dim=512), vectors(1, seed=7, dim=512)[0]
    persons = np.arange(9_999) // 3
    rows[:3] = [near(query, c, seed=i) for i, c in enumerate((0.5, -0.4, -0.4))]
    hidden = np.stack([near(query, 0.12, seed=i) for i in range(10, 210)])
    crowd = np.sort(weighted_distances(rows, query))
    distance = weighted_distances(hidden, query)
    rows[3:6] = hidden[(distance > crowd[1050]) & (distance < crowd[1500])][:3]
    means = (rows @ query).reshape(-1, 3).mean(axis=1)
    assert means.argmax() == 1
    index = PersonIndex("codes", 512, lambda ids: rows[ids])
    index.add(np.arange(9_999), persons, rows)
    found = index.nearest(query[None], 1, "mean-top-k")[0][0]
    assert found.person == 1
    assert found.similarity == pytest.approx(means[1], abs=1e-6)
    assert index.nearest(query[None], 1, "max")[0][0].person == 0


def test_a_person_is_not_passed_over_whose_best_template_the_codes_hide():
    """Its other two stand behind those of 80 people, where a rival's mean would end the look."""
    rows, query = vectors(9_999, dim=512), vectors(1, seed=7, dim=512)[0]
    hidden = -1e-3 * np.sign(query)
    hidden[np.argsort(-np.abs(query))[:3]] *= -1000
    rows[0] = hidden / np.linalg.norm(hidden)
    others = np.stack([near(query, 0.15, seed=i) for i in range(20)])
    distance, crowd = weighted_distances(others, query), weighted_distances(rows, query)
    rows[1:3] = others[distance < np.sort(crowd)[900]][:2]
    rows[3:6] = [near(query, 0.17, seed=i) for i in range(20, 23)]
    rows[6:9] = [near(query, c, seed=i) for i, c in enumerate((0.3, -0.3, -0.3), start=23)]
    rows[9:249:3] = [near(query, 0.165, seed=i) for i in range(30, 110)]
    means = (rows @ query).reshape(-1, 3).mean(axis=1)
    assert means.argsort()[::-1][:2].tolist() == [0, 1]
    read = set()

    def reader(ids):
        read.update(ids.tolist())
        return rows[ids]

    index = PersonIndex("codes", 512, reader)
    index.add(np.arange(9_999), np.arange(9_999) // 3, rows)
    index.backend.search(query[None], 1024)
    assert 0 not in read
    assert {1, 2} < read
    assert index.nearest(query[None], 1, "mean-top-k")[0][0].person == 0


def test_codes_take_one_bit_a_dimension_and_less_than_a_hundred_bytes_at_512():
    rows = Rows(enumerate(vectors(3000, dim=512), start=1))
    index = PersonIndex("codes", 512, rows)
    ids = np.array(list(rows), dtype=np.int64)
    index.add(ids, ids, rows(ids))
    assert index.memory_bytes / len(ids) <= 100


def test_codes_of_many_blocks_find_the_nearest_codes():
    rng = np.random.default_rng(0)
    rows = vectors(40_000, dim=DIM)
    backend = CodesBackend(DIM, lambda ids: rows[ids], candidates=50)
    for part in np.array_split(np.arange(40_000), 7):
        backend.add(part, rows[part])
    backend.remove(rng.permutation(40_000)[:5000])
    kept = backend._ids
    query = vectors(1, seed=9, dim=DIM)[0]
    distance = weighted_distances(rows[kept], query)
    found = backend.nearest_codes(query, 50)
    assert sorted(distance[found]) == sorted(distance)[:50]


@pytest.mark.parametrize("group", ["max", "mean-top-k"])
@pytest.mark.parametrize("name", BACKENDS.names())
@settings(derandomize=True, deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6), top=st.integers(1, 12))
def test_people_are_ranked_as_the_definition_says(name, group, seed, top):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 400))
    rows = Rows(enumerate(vectors(count, seed, DIM), start=1))
    persons = rng.integers(1, 60, size=count)
    if name.startswith("faiss"):
        pytest.importorskip("faiss")
    index = PersonIndex(name, DIM, rows)
    ids = np.array(list(rows), dtype=np.int64)
    order = rng.permutation(count)
    index.add(ids[order], persons[order], rows(ids[order]))
    query = vectors(1, seed + 1, DIM)
    expected = {}
    for person in set(persons.tolist()):
        own = sorted(float(np.dot(rows[i], query[0])) for i in ids[persons == person])[::-1]
        expected[person] = own[0] if group == "max" else float(np.mean(own[:TOP_K]))
    best = sorted(expected.items(), key=lambda item: -item[1])[:top]
    found = index.nearest(query, top, group)[0]
    tolerance = TOLERANCE.get(name, 1e-5)
    assert [s.similarity for s in found] == pytest.approx([s for _, s in best], abs=tolerance)
    if name not in TOLERANCE:
        assert [s.person for s in found] == [p for p, _ in best]


@every_backend
def test_a_person_with_several_good_templates_is_found_behind_many_with_one_better(name):
    """Their mean leads, but a hundred single templates stand before their maximum."""
    query = vectors(1, dim=DIM)[0]
    cosines, persons = [0.5, 0.5, 0.5], [1000, 1000, 1000]
    for person in range(100):
        cosines += [0.6, -0.5]
        persons += [person, person]
    rows = Rows((i, near(query, c, seed=i)) for i, c in enumerate(cosines, start=1))
    index = PersonIndex(name, DIM, rows)
    ids = np.array(list(rows), dtype=np.int64)
    index.add(ids, np.array(persons), rows(ids))
    found = index.nearest(query[None], 1, "mean-top-k")[0][0]
    assert found.person == 1000
    assert found.similarity == pytest.approx(0.5, abs=2e-3)
    assert index.nearest(query[None], 1, "max")[0][0].person < 100
