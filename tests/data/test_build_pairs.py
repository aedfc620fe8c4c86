"""Lists of pairs made from a labelled set."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from crossface.app.commands import protocol
from crossface.core.errors import DataError, ImageError, UsageError
from crossface.core.images import decode_image
from crossface.data import open_faces
from crossface.data.build_pairs import build_pairs, write_list
from crossface.data.formats.pair_list import read_pairs
from face_files import encode, pattern, people, write_folder


class Named:
    """A labelled source of small pictures that are never needed."""

    name = "named"

    def __init__(self, sizes: list[int]) -> None:
        self.rows = [(f"p{p:02d}/{n}", f"p{p:02d}") for p, size in enumerate(sizes)
                     for n in range(size)]  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    def key(self, index: int) -> str:
        return self.rows[index][0]

    def identity(self, index: int) -> str:
        return self.rows[index][1]

    def read(self, index: int) -> np.ndarray:
        return np.full((112, 112, 3), index, dtype=np.uint8)

    def digest(self) -> str:
        return "0" * 64


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 6), min_size=12, max_size=30), st.integers(1, 3), st.integers(0, 9))
def test_folds_share_nobody_and_no_pair_stands_twice(
    sizes: list[int], folds: int, seed: int
) -> None:
    sizes = [4] * 3 * folds + sizes
    source = Named(sizes)
    pairs = build_pairs(source, pairs_per_fold=8, folds=folds, seed=seed).pairs
    who = {source.key(i): source.identity(i) for i in range(len(source))}
    assert Counter((p.fold, p.same) for p in pairs) == {
        (fold, same): 8 for fold in range(folds) for same in (True, False)
    }
    assert all((who[p.a] == who[p.b]) == p.same and p.a != p.b for p in pairs)
    assert len({frozenset((p.a, p.b)) for p in pairs}) == len(pairs)
    fold_of: dict[str, set[int]] = {}
    for pair in pairs:
        for key in (pair.a, pair.b):
            fold_of.setdefault(who[key], set()).add(pair.fold)
    assert all(len(of) == 1 for of in fold_of.values())


def test_one_person_with_many_pictures_does_not_fill_a_fold() -> None:
    pairs = build_pairs(Named([40] + [2] * 19), pairs_per_fold=20, folds=1, seed=0).pairs
    assert Counter(p.a.split("/")[0] for p in pairs if p.same).most_common(1)[0][1] == 1


def test_the_seed_decides_the_list() -> None:
    source = Named([3] * 30)
    lists = [build_pairs(source, pairs_per_fold=9, folds=3, seed=s).pairs for s in (1, 1, 2)]
    assert lists[0] == lists[1] != lists[2]


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ([1] * 30, "fold 0 of 2 can give 0 genuine pairs of 15 people, 5 are asked for"),
        ([9, 9], "fold 0 of 2 can give 0 impostor pairs of 1 people"),
    ],
)
def test_a_set_that_is_too_small_is_told_how_far_it_reaches(sizes: list[int], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        build_pairs(Named(sizes), pairs_per_fold=5, folds=2)


def test_a_list_needs_a_fold_and_a_pair() -> None:
    with pytest.raises(UsageError, match="got 0 and 5"):
        build_pairs(Named([3] * 9), pairs_per_fold=5, folds=0)


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "set", people(identities=20, each=2))


def test_a_csv_is_read_back_and_its_record_lies_beside_it(crops: Path, tmp_path: Path) -> None:
    source = open_faces(crops)
    pairs = build_pairs(source, pairs_per_fold=2, folds=5)
    record = write_list(source, pairs, tmp_path / "pairs.csv", progress=False)
    assert read_pairs(tmp_path / "pairs.csv").pairs == pairs.pairs
    assert json.loads((tmp_path / "pairs.csv.json").read_text()) == record
    assert (record["folds"], record["n_pairs"], record["data_digest"]) == (5, 20, source.digest())


def test_a_bin_is_read_by_us_and_by_everybody(crops: Path, tmp_path: Path) -> None:
    source = open_faces(crops)
    pairs = build_pairs(source, pairs_per_fold=1, folds=10)
    write_list(source, pairs, tmp_path / "set.bin", progress=False)
    ours = open_faces(tmp_path / "set.bin")
    assert [p.same for p in ours.pairs.pairs] == [p.same for p in pairs.pairs]
    assert [p.fold for p in ours.pairs.pairs] == [p.fold for p in pairs.pairs]
    place = {source.key(i): i for i in range(len(source))}
    for row, pair in enumerate(pairs.pairs):
        np.testing.assert_array_equal(ours.read(2 * row), source.read(place[pair.a]))
        np.testing.assert_array_equal(ours.read(2 * row + 1), source.read(place[pair.b]))
    pictures, same = pickle.loads((tmp_path / "set.bin").read_bytes(), encoding="bytes")
    assert pictures[0] == source.encoded(place[pairs.pairs[0].a])
    assert same == [p.same for p in pairs.pairs]


def test_pictures_of_a_rare_kind_become_png(tmp_path: Path) -> None:
    files = {name[:-4] + ".webp": encode(pattern(n), "WEBP", lossless=True)
             for n, name in enumerate(people(identities=20, each=2))}  # fmt: skip
    source = open_faces(write_folder(tmp_path / "set", files))
    pairs = build_pairs(source, pairs_per_fold=1, folds=10)
    write_list(source, pairs, tmp_path / "set.bin", progress=False)
    ours = open_faces(tmp_path / "set.bin")
    assert ours.encoded(0).startswith(b"\x89PNG")


def test_the_alignment_hash_follows_the_pixels_only(crops: Path, tmp_path: Path) -> None:
    def record(folder: Path) -> dict[str, str]:
        source = open_faces(folder)
        pairs = build_pairs(source, pairs_per_fold=2, folds=2)
        return write_list(source, pairs, tmp_path / "p.csv", progress=False)["alignment"]

    first = record(crops)
    copy = write_folder(tmp_path / "copy", people(identities=20, each=2))
    for file in copy.rglob("*.png"):  # other bytes, the same pixels
        file.write_bytes(encode(decode_image(file), "BMP"))
    assert record(copy) == first
    for file in crops.rglob("*.png"):
        file.write_bytes(encode(np.roll(pattern(1), 1, axis=0)))
    assert record(crops)["crops"] != first["crops"]
    assert record(crops)["template"] == first["template"]


def test_a_bin_of_other_than_ten_folds_and_other_suffixes_are_refused(
    crops: Path, tmp_path: Path
) -> None:
    source = open_faces(crops)
    pairs = build_pairs(source, pairs_per_fold=2, folds=5)
    with pytest.raises(UsageError, match=r"set.bin: a .bin has ten folds of one size"):
        write_list(source, pairs, tmp_path / "set.bin", progress=False)
    with pytest.raises(UsageError, match=r"pairs.txt: a list of pairs is written as .csv or .bin"):
        write_list(source, pairs, tmp_path / "pairs.txt", progress=False)


def test_nothing_is_written_when_a_picture_is_not_aligned(crops: Path, tmp_path: Path) -> None:
    for file in crops.rglob("*.png"):
        file.write_bytes(encode(pattern(1, (90, 90))))
    source = open_faces(crops)
    out = tmp_path / "out" / "set.bin"
    with pytest.raises(ImageError, match="expected an aligned 112x112 crop, got 90x90"):
        write_list(source, build_pairs(source, pairs_per_fold=1), out, progress=False)
    assert not out.parent.exists()


def test_the_verb_writes_and_says_what_it_wrote(crops: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(protocol.command)
    out = tmp_path / "pairs.csv"
    done = CliRunner().invoke(
        app,
        ["build", str(crops), "--out", str(out), "--pairs-per-fold", "2",
         "--folds", "5", "--json", str(tmp_path / "r.json")],
        obj={"quiet": True},
        catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0
    assert "20 pairs in 5 folds" in done.stdout
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["alignment"]["crops"].startswith(
        done.stdout.split("alignment ")[1].split(" in")[0].replace("\n", "")
    )
