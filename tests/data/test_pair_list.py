"""Pair lists: LFW's layout and CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossface.core.errors import DataError
from crossface.data.formats.pair_list import Pair, PairList, read_pairs


def _read(tmp_path: Path, text: str) -> PairList:
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    return read_pairs(path)


VIEW_2 = "2\t1\nAnn\t1\t12\nAnn\t1\tBo\t3\nCy\t2\t3\nCy\t1\tDee\t1\n"


def test_view_2_of_lfw_gives_folds_and_keys(tmp_path: Path) -> None:
    assert _read(tmp_path, VIEW_2).pairs == (
        Pair(0, "Ann/Ann_0001", "Ann/Ann_0012", True),
        Pair(0, "Ann/Ann_0001", "Bo/Bo_0003", False),
        Pair(1, "Cy/Cy_0002", "Cy/Cy_0003", True),
        Pair(1, "Cy/Cy_0001", "Dee/Dee_0001", False),
    )


def test_a_bare_header_means_one_fold(tmp_path: Path) -> None:
    pairs = _read(tmp_path, "1\nAnn\t1\t2\nAnn\t1\tBo\t3\n\n")
    assert pairs.folds == (0,)
    assert [pair.same for pair in pairs.pairs] == [True, False]


def test_a_csv_gives_the_same_pairs(tmp_path: Path) -> None:
    pairs = _read(
        tmp_path,
        "fold,a,b,same,note\n0,Ann/Ann_0001,Ann/Ann_0012.webp,1,x\n3,Ann/Ann_0001,Bo/v1.5,False,\n",
    )
    assert pairs.pairs == (
        Pair(0, "Ann/Ann_0001", "Ann/Ann_0012", True),
        Pair(3, "Ann/Ann_0001", "Bo/v1.5", False),
    )
    assert pairs.folds == (0, 3)
    assert len(pairs) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: expected a header, got an empty file"),
        ("ten\t300\n", r"line 1: expected a header .* got 'ten\\t300'"),
        ("0\n", "line 1: expected a header"),
        ("1\t2\t3\n", "line 1: expected a header"),
        ("2\t1\nAnn\t1\t2\n", r"line 2: expected 4 pairs \(2 folds of 1 \+ 1\), got 1"),
        (VIEW_2 + "Ann\t1\t2\n", "line 5: expected 4 pairs .* got 5"),
        ("1\nAnn\t1\nAnn\t1\tBo\t3\n", r"line 2: expected 'name i j' .* got 'Ann\\t1'"),
        ("1\nAnn\t1\t2\nAnn\t1\t3\n", "line 3: expected 'name_1 i name_2 j' of two people"),
        ("1\nAnn\t1\t2\nAnn\t1\tAnn\t3\n", "line 3: expected .* of two people"),
        ("1\nAnn\t1\tx\nAnn\t1\tBo\t3\n", "line 2: expected the number of a picture, got 'x'"),
        ("fold,a,b\n0,x,y\n", "line 1: expected the columns fold,a,b,same"),
        ("fold,a,b,same\n", "line 2: expected a pair"),
        ("fold,a,b,same\n0,x,y,1\n-1,x,y,1\n", "line 3: expected a fold number, got '-1,x,y,1'"),
        ("fold,a,b,same\n0,x,,1\n", "line 2: expected two pictures"),
        ("fold,a,b,same\n0,x,y,maybe\n", "line 2: expected same as 1, 0"),
        ("fold,a,b,same\n0,x\n", "line 2: expected two pictures"),
    ],
)
def test_a_bad_list_names_line_expected_and_got(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"pairs.txt, {problem}"):
        _read(tmp_path, text)


def test_a_list_that_is_not_text_or_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.bin"
    path.write_bytes(b"\xff\xfe\x81")
    with pytest.raises(DataError, match=r"pairs.bin: expected a text file"):
        read_pairs(path)
    with pytest.raises(DataError, match=r"gone.txt: cannot be read"):
        read_pairs(tmp_path / "gone.txt")
