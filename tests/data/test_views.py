"""Subsets, sets in memory, class numbers and splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.core.errors import ConfigError, DataError, ImageError
from crossface.core.protocols import FaceSource
from crossface.data import open_faces
from crossface.data.dataset import LabelledView, MemoryFaces, Subset, Unlabelled, identities_of
from crossface.data.splits import split_by_identity, split_by_key, without
from face_files import encode, pattern, people, write_zip


class Names:
    """A source of names only."""

    name = "names"

    def __init__(self, keys: list[str], identities: list[str | None] | None = None) -> None:
        self.keys = keys
        self.identities = identities or [None] * len(keys)

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, index: int) -> str:
        return self.keys[index]

    def identity(self, index: int) -> str | None:
        return self.identities[index]

    def read(self, index: int) -> np.ndarray:
        return pattern(index)

    def digest(self) -> str:
        return "0" * 64


@pytest.fixture
def source(tmp_path: Path) -> FaceSource:
    return open_faces(write_zip(tmp_path / "s.zip", people()))


def test_a_subset_reads_the_pictures_it_names(source: FaceSource) -> None:
    part = Subset(source, [4, 0])
    assert isinstance(part, FaceSource)
    assert [part.key(0), part.identity(1), len(part)] == [source.key(4), source.identity(0), 2]
    np.testing.assert_array_equal(part.read(0), source.read(4))
    assert part.digest() not in (source.digest(), Subset(source, [0, 4]).digest())


@pytest.mark.parametrize("index", [-1, 6])
def test_a_subset_refuses_an_index_outside(source: FaceSource, index: int) -> None:
    with pytest.raises(DataError, match=rf"s.zip: subset index must lie in 0..5, got {index}"):
        Subset(source, [0, index])


def test_a_set_in_memory_is_the_same_set(source: FaceSource) -> None:
    memory = MemoryFaces(source, progress=False)
    assert memory.crops.shape == (6, 112, 112, 3)
    for index in range(6):
        np.testing.assert_array_equal(memory.read(index), source.read(index))
    assert memory.digest() == source.digest()
    assert identities_of(memory) == identities_of(source)
    with pytest.raises(ValueError, match="read-only"):
        memory.read(0)[0, 0, 0] = 1


def test_a_set_in_memory_names_the_picture_that_cannot_be_read(tmp_path: Path) -> None:
    members = {**people(), "person_9/bad.png": encode(pattern(0))[:500]}
    source = open_faces(write_zip(tmp_path / "s.zip", members))
    with pytest.raises(ImageError, match=r"s.zip: person_9/bad: broken"):
        MemoryFaces(source, progress=False)


def test_labels_are_positions_among_the_sorted_identities() -> None:
    view = LabelledView(Names(["1", "2", "3", "4"], ["bo", "ann", None, "bo"]))
    assert view.classes == ("ann", "bo")
    assert view.labels.tolist() == [1, 0, -1, 1]
    assert view.labels.dtype == np.int64


def test_labels_follow_given_identities_and_classes() -> None:
    names = Names(["1", "2", "3"])
    view = LabelledView(names, identities=["c2", "c1", "c2"])
    assert (view.labels.tolist(), view.identity(1)) == ([1, 0, 1], "c1")
    fixed = LabelledView(names, identities=["c2", "c1", "c3"], classes=["c3", "c2"])
    assert fixed.labels.tolist() == [1, -1, 0]
    with pytest.raises(DataError, match="expected 3 identities, got 1"):
        LabelledView(names, identities=["x"])


def test_an_unlabelled_view_has_no_identities(source: FaceSource) -> None:
    view = Unlabelled(source)
    assert identities_of(view) == [None] * 6
    np.testing.assert_array_equal(view.read(3), source.read(3))


keys = st.lists(st.text(min_size=1, max_size=5), unique=True, min_size=4, max_size=60)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(keys, keys, st.floats(0.05, 0.95), st.integers(0, 99))
def test_a_picture_keeps_its_side_when_others_are_added(
    first: list[str], more: list[str], fraction: float, seed: int
) -> None:
    def held_out(names: list[str]) -> set[str]:
        part = split_by_key(Names(names), fraction=fraction, seed=seed).held_out
        return {part.key(index) for index in range(len(part))}

    both = list(dict.fromkeys(first + more))
    assert held_out(first) == held_out(both) & set(first)
    assert held_out(list(reversed(first))) == held_out(first)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(keys, st.integers(0, 99))
def test_a_split_by_count_is_exact_and_complete(names: list[str], seed: int) -> None:
    rest, held_out = split_by_key(Names(names), count=3, seed=seed)
    assert len(held_out) == 3
    assert sorted([*rest.indices, *held_out.indices]) == list(range(len(names)))


def test_a_fraction_is_met_on_average_and_the_seed_matters() -> None:
    source = Names([f"{n}" for n in range(4000)])
    first = split_by_key(source, fraction=0.25, seed=0).held_out
    second = split_by_key(source, fraction=0.25, seed=1).held_out
    assert abs(len(first) - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75)
    assert set(first.indices.tolist()) != set(second.indices.tolist())


def test_a_split_by_identity_keeps_people_together() -> None:
    source = Names([f"{n}" for n in range(60)], [f"p{n % 20}" for n in range(60)])
    rest, held_out = split_by_identity(source, count=5, seed=0)
    assert len(held_out) == 15
    assert not set(identities_of(rest)) & set(identities_of(held_out))
    rest, held_out = split_by_identity(source, fraction=0.5, seed=0)
    assert not set(identities_of(rest)) & set(identities_of(held_out))


def test_a_split_by_identity_wants_identities() -> None:
    with pytest.raises(DataError, match=r"names: expected an identity .* two has none"):
        split_by_identity(Names(["one", "two"], ["p", None]), count=1, seed=0)


@pytest.mark.parametrize(
    "options", [{}, {"fraction": 0.5, "count": 1}, {"fraction": 0.0}, {"fraction": 1.0},
                {"count": 0}, {"count": 4}]
)  # fmt: skip
def test_a_split_takes_one_sensible_size(options: dict) -> None:
    with pytest.raises(ConfigError, match="split"):
        split_by_key(Names(["1", "2", "3", "4"]), seed=0, **options)


def test_listed_pictures_are_left_out_and_no_others(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("# made by hand\n\nb  # somebody known\nd\n", encoding="utf-8")
    rest = without(Names(["a", "b", "c", "d", "bb"]), listed)
    assert [rest.key(index) for index in range(len(rest))] == ["a", "c", "bb"]


def test_a_list_of_another_set_is_refused(tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("a\nzebra\nyak\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"list\.txt: .* has no picture 'yak'"):
        without(Names(["a", "b"]), listed)
    with pytest.raises(DataError, match=r"nowhere\.txt: cannot be read as a list of pictures"):
        without(Names(["a"]), tmp_path / "nowhere.txt")
