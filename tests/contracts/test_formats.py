"""What every face set format must do, run over the table."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossface.core.errors import DataError, InputError
from crossface.core.protocols import FaceSource
from crossface.data import FORMATS, open_faces
from face_files import (
    insightface_records,
    pattern,
    people,
    png,
    write_folder,
    write_records,
    write_zip,
)


def _zip(folder: Path) -> Path:
    return write_zip(folder / "set.zip", people())


def _folder(folder: Path) -> Path:
    return write_folder(folder / "set", people())


def _rec(folder: Path) -> Path:
    pictures = [(who, png(10 * who + n)) for who in range(3) for n in (1, 2)]
    return write_records(folder / "set.rec", insightface_records(pictures))


def _bin(folder: Path) -> Path:
    pictures = [png(10 * who + n) for who in range(3) for n in (1, 2)]
    path = folder / "set.bin"
    path.write_bytes(pickle.dumps((pictures, [True, True, True])))
    return path


SAMPLES: dict[str, Callable[[Path], Path]] = {
    "bin": _bin,
    "folder": _folder,
    "rec": _rec,
    "zip": _zip,
}
LABELLED = {"folder", "rec", "zip"}


def _read_all(path: Path) -> None:
    source = open_faces(path)
    for index in range(len(source)):
        source.read(index)


def test_every_format_has_a_sample() -> None:
    assert set(SAMPLES) == set(FORMATS.names())


@pytest.fixture(params=sorted(SAMPLES))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _open(kind: str, folder: Path, **options: str) -> FaceSource:
    folder.mkdir(exist_ok=True)
    return open_faces(SAMPLES[kind](folder), **options)  # type: ignore[arg-type]


def test_a_set_gives_its_pictures_bit_for_bit(kind: str, tmp_path: Path) -> None:
    source = _open(kind, tmp_path)
    assert isinstance(source, FaceSource)
    assert len(source) == 6
    for index, seed in enumerate([1, 2, 11, 12, 21, 22]):
        crop = source.read(index)
        assert crop.dtype == np.uint8
        np.testing.assert_array_equal(crop, pattern(seed))


def test_keys_are_unique_and_sorted(kind: str, tmp_path: Path) -> None:
    source = _open(kind, tmp_path)
    keys = [source.key(index) for index in range(len(source))]
    assert keys == sorted(set(keys))


def test_identities_group_the_pictures_where_the_format_has_them(kind: str, tmp_path: Path) -> None:
    source = _open(kind, tmp_path)
    names = [source.identity(index) for index in range(len(source))]
    if kind not in LABELLED:
        assert names == [None] * 6
        return
    assert [names.index(name) for name in names] == [0, 0, 2, 2, 4, 4]
    assert None not in names


def test_labels_none_hides_every_identity(kind: str, tmp_path: Path) -> None:
    source = _open(kind, tmp_path, labels="none")
    assert {source.identity(index) for index in range(len(source))} == {None}


def test_a_set_travels_to_a_worker(kind: str, tmp_path: Path) -> None:
    source = _open(kind, tmp_path)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.digest() == source.digest()
    np.testing.assert_array_equal(copy.read(5), source.read(5))


def test_the_digest_is_stable_and_ignores_where_the_set_lies(kind: str, tmp_path: Path) -> None:
    first, second = _open(kind, tmp_path / "a"), _open(kind, tmp_path / "b")
    assert first.digest() == second.digest()
    assert len(first.digest()) == 64
    int(first.digest(), 16)


def test_names_do_not_give_the_place_away(kind: str, tmp_path: Path) -> None:
    assert "/" not in _open(kind, tmp_path).name


@pytest.mark.parametrize("cut", [0.0, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_an_error_that_names_it(kind: str, cut: float, tmp_path: Path) -> None:
    path = SAMPLES[kind](tmp_path)
    victim = sorted(path.rglob("*.png"))[0] if path.is_dir() else path
    victim.write_bytes(victim.read_bytes()[: int(victim.stat().st_size * cut)])
    with pytest.raises(InputError, match=victim.stem):
        _read_all(path)


def test_flipped_bytes_never_raise_anything_unexpected(kind: str, tmp_path: Path) -> None:
    path = SAMPLES[kind](tmp_path)
    victim = sorted(path.rglob("*.png"))[0] if path.is_dir() else path
    whole = victim.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        broken = bytearray(whole)
        for position in rng.integers(0, len(whole), size=3):
            broken[position] = rng.integers(0, 256)
        victim.write_bytes(broken)
        with contextlib.suppress(InputError):
            _read_all(path)


def test_a_missing_set_is_an_error_that_names_it(kind: str, tmp_path: Path) -> None:
    suffix = "" if kind == "folder" else f".{kind}"
    with pytest.raises(DataError, match=f"nowhere{suffix}"):
        open_faces(tmp_path / f"nowhere{suffix}")
    with pytest.raises(InputError):
        FORMATS.resolve(kind)(tmp_path / f"nowhere{suffix}", labels="auto")
