"""RecordIO against a writer made from the definition of the format."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.core.errors import DataError
from crossface.data.formats.recordio import RecordIO
from face_files import MAGIC, insightface_records, pattern, payload_bytes, png, write_records

pieces = st.one_of(st.just(MAGIC), st.binary(min_size=1, max_size=9))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**24), st.lists(pieces, max_size=6).map(b"".join)),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_written_is_read_also_when_it_holds_the_magic(
    tmp_path_factory: pytest.TempPathFactory, pictures: list[tuple[int, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("rec") / "train.rec"
    write_records(path, insightface_records(pictures))
    source = RecordIO(path)
    assert [source.encoded(i) for i in range(len(source))] == [data for _, data in pictures]
    assert [int(source.identity(i) or -1) for i in range(len(source))] == [n for n, _ in pictures]
    assert [source.key(i) for i in range(len(source))] == [
        f"{number:08d}" for number in range(1, len(pictures) + 1)
    ]


def test_a_set_without_a_header_record_holds_pictures_only(tmp_path: Path) -> None:
    payloads = {3: payload_bytes(5.0, png(1)), 7: payload_bytes([6.0, 1.0], png(2))}
    source = RecordIO(write_records(tmp_path / "t.rec", payloads))
    assert [source.key(0), source.key(1)] == ["00000003", "00000007"]
    assert [source.identity(0), source.identity(1)] == ["0000005", "0000006"]
    np.testing.assert_array_equal(source.read(1), pattern(2))


@pytest.fixture
def record_file(tmp_path: Path) -> Path:
    pictures = [(0, png(1)), (0, png(2)), (1, png(3))]
    return write_records(tmp_path / "train.rec", insightface_records(pictures))


def _offsets(path: Path) -> dict[int, int]:
    lines = path.with_suffix(".idx").read_text().splitlines()
    return {int(n): int(o) for n, o in (line.split("\t") for line in lines)}


def test_a_corrupt_record_names_file_and_offset(record_file: Path) -> None:
    offset = _offsets(record_file)[2]
    data = bytearray(record_file.read_bytes())
    data[offset] ^= 0xFF
    record_file.write_bytes(data)
    source = RecordIO(record_file, labels="none")
    source.read(0)
    with pytest.raises(DataError, match=rf"train.rec: corrupt record at byte {offset}: .*magic"):
        source.read(1)


@pytest.mark.parametrize(
    ("word", "problem"),
    [(3 << 29 | 8, "kind 3"), (7 << 29 | 8, "kind 7"), (1 << 29 | 8, "magic|kind"),
     ((1 << 29) - 1, "announced"), (8, "header of 24 bytes")],
)  # fmt: skip
def test_a_wrong_length_word_is_an_error(record_file: Path, word: int, problem: str) -> None:
    offset = _offsets(record_file)[1]
    data = bytearray(record_file.read_bytes())
    struct.pack_into("<I", data, offset + 4, word)
    record_file.write_bytes(data)
    with pytest.raises(DataError, match=problem):
        RecordIO(record_file).encoded(0)


@pytest.mark.parametrize("label", [-1.0, 0.5, float("nan"), float("inf")])
def test_a_label_that_is_no_class_is_an_error(label: float, tmp_path: Path) -> None:
    write_records(tmp_path / "t.rec", {1: payload_bytes(label, png(1))})
    with pytest.raises(DataError, match=r"t.rec: .* expected a class number"):
        RecordIO(tmp_path / "t.rec")


def test_too_many_labels_are_an_error(tmp_path: Path) -> None:
    write_records(tmp_path / "t.rec", {1: struct.pack("<IfQQ", 2**31, 0.0, 0, 0) + b"1234"})
    with pytest.raises(DataError, match="labels"):
        RecordIO(tmp_path / "t.rec")


@pytest.mark.parametrize("line", ["1", "a\tb", "1\t-5", "1\t2\t3", "1\t" + "9" * 40])
def test_a_bad_index_line_is_named(record_file: Path, line: str) -> None:
    index = record_file.with_suffix(".idx")
    index.write_text(index.read_text() + line + "\n")
    lines = len(index.read_text().splitlines())
    with pytest.raises(DataError, match=rf"train.idx, line {lines}: expected 'number<TAB>offset'"):
        RecordIO(record_file)


def test_an_offset_behind_the_end_is_an_error(record_file: Path) -> None:
    record_file.with_suffix(".idx").write_text("1\t999999999\n")
    with pytest.raises(DataError, match="byte 999999999: expected a record"):
        RecordIO(record_file)


def test_a_missing_index_is_named(record_file: Path) -> None:
    record_file.with_suffix(".idx").unlink()
    with pytest.raises(DataError, match=r"train.idx: expected an index beside the .rec"):
        RecordIO(record_file)


def test_an_empty_index_is_an_error(record_file: Path) -> None:
    record_file.with_suffix(".idx").write_text("")
    with pytest.raises(DataError, match="lists none"):
        RecordIO(record_file)


def test_the_digest_follows_the_bytes(record_file: Path) -> None:
    before = RecordIO(record_file).digest()
    data = bytearray(record_file.read_bytes())
    data[-1] ^= 1
    record_file.write_bytes(data)
    assert RecordIO(record_file).digest() != before
