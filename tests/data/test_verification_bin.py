"""The opcode reader against CPython's pickler, and against pickles that would do harm."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.core.errors import DataError
from crossface.data import open_faces
from crossface.data.formats.opcodes import read_plain
from crossface.data.formats.verification_bin import VerificationBin
from face_files import pattern, png

integers = st.integers(-(2**63), 2**63 - 1)
plain = st.recursive(
    st.one_of(st.booleans(), integers, st.text(), st.binary(max_size=300)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.lists(inner, max_size=5).map(tuple)),
    max_leaves=20,
)
plain_without_bytes = st.recursive(
    st.one_of(st.booleans(), integers, st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.lists(inner, max_size=5).map(tuple)),
    max_leaves=20,
)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(plain, st.sampled_from([3, 4, 5]))
def test_what_pickle_writes_is_read(value: object, protocol: int) -> None:
    read = read_plain(pickle.dumps(value, protocol), place="x.bin")
    assert read == value
    assert type(read) is type(value)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(plain_without_bytes, st.sampled_from([0, 1, 2]))
def test_what_old_protocols_write_is_read(value: object, protocol: int) -> None:
    assert read_plain(pickle.dumps(value, protocol), place="x.bin") == value


@pytest.mark.parametrize(
    ("stream", "value"),
    [
        (b"S'a\\x00\\'\\n\\101'\np0\n.", b"a\0'\nA"),  # Python 2, protocol 0
        (b'S"it\'s"\n.', b"it's"),
        (b"T\x03\x00\x00\x00\xff\xd8\xff.", b"\xff\xd8\xff"),
        (b"\x80\x02U\x02\xffAq\x00.", b"\xffA"),
        (b"(lp0\nI01\naI00\naI7\na.", [True, False, 7]),
        (b"(I1\nL5L\nt.", (1, 5)),
        (b"]q\x00(K\x01h\x00h\x00e0]2\x86.", ([], [])),
        (b"((1K\x01.", 1),
    ],
)
def test_streams_of_python_2_and_odd_ones_are_read(stream: bytes, value: object) -> None:
    assert read_plain(stream, place="x.bin") == value


def test_shared_objects_stay_shared() -> None:
    inner = [1]
    read = read_plain(pickle.dumps([inner, inner]), place="x.bin")
    assert read[0] is read[1]


class _Harm:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("protocol", range(6))
def test_a_stream_that_would_call_something_is_refused_and_nothing_runs(
    protocol: int, tmp_path: Path
) -> None:
    target = tmp_path / "touched"
    path = tmp_path / "evil.bin"
    path.write_bytes(pickle.dumps(([png(1), _Harm(target)], [True]), protocol))
    with pytest.raises(DataError, match=r"evil.bin: byte \d+: opcode (STACK_)?GLOBAL refused"):
        open_faces(path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("stream", "name"),
    [
        (b"cos\nsystem\n(S'ls'\ntR.", "GLOBAL"),
        (b"(S'ls'\nios\nsystem\n.", "INST"),
        (b"(K\x01o.", "OBJ"),
        (b")R.", "REDUCE"),
        (b")b.", "BUILD"),
        (b")\x81.", "NEWOBJ"),
        (b"\x82\x01.", "EXT1"),
        (b"P1\n.", "PERSID"),
        (b"K\x01Q.", "BINPERSID"),
        (b"}.", "EMPTY_DICT"),
        (b"N.", "NONE"),
        (b"G\0\0\0\0\0\0\0\0.", "BINFLOAT"),
    ],
)
def test_every_other_opcode_is_refused_by_name(stream: bytes, name: str) -> None:
    with pytest.raises(DataError, match=rf"x.bin: byte \d+: opcode {name} refused"):
        read_plain(stream, place="x.bin")


@pytest.mark.parametrize(
    "stream",
    [
        b"", b".", b"K", b"a.", b"K\x01a.", b"K\x01K\x02a.", b"e.", b"t.", b"\x86.", b"h\x05.",
        b"g1\n.", b"T\xff\xff\xff\xff.", b"B\xff\xff\xff\xff.", b"\x8e" + b"\xff" * 8 + b".",
        b"I1", b"Ix\n.", b"S'a\n.", b"Sa\n.", b"L" + b"9" * 5000 + b"L\n.", b"\x8a\xff.",
        b"X\x01\x00\x00\x00\xff.", b"V\\u12\n.", b"(.", b"1.", b"\xee", b"K\x01(a.",
        b"\x8b\xff\xff\xff\xff.", b"q\x00.",
    ],
)  # fmt: skip
def test_a_broken_stream_is_an_error_that_names_file_and_byte(stream: bytes) -> None:
    with pytest.raises(DataError, match=r"x.bin: byte \d+: "):
        read_plain(stream, place="x.bin")


def test_a_negative_length_does_not_read_backwards() -> None:
    loop = b"T\xfb\xff\xff\xff."  # five bytes back: the same opcode again, for ever
    with pytest.raises(DataError, match=r"x.bin: byte 0: truncated: -5 bytes are announced"):
        read_plain(loop, place="x.bin")


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_else(stream: bytes) -> None:
    with contextlib.suppress(DataError):
        read_plain(stream, place="x.bin")


def _python2(value: tuple[list[bytes], list[bool]]) -> bytes:
    """What ``cPickle.dump(value, f, 2)`` wrote."""
    pictures, same = value
    body = b"".join(b"T" + struct.pack("<i", len(p)) + p for p in pictures)
    flags = b"".join(b"\x88" if s else b"\x89" for s in same)
    return b"\x80\x02]q\x01(" + body + b"e]q\x02(" + flags + b"e\x86q\x03."


@pytest.mark.parametrize("write", [pickle.dumps, _python2])
def test_a_verification_set_gives_pictures_and_folds(write, tmp_path: Path) -> None:
    same = [True, False] * 6
    path = tmp_path / "lfw.bin"
    path.write_bytes(write(([png(n) for n in range(24)], same)))
    source = VerificationBin(path)
    assert len(source) == 24
    assert source.key(23) == "000023"
    np.testing.assert_array_equal(source.read(23), pattern(23))
    assert [pair.same for pair in source.pairs.pairs] == same
    assert [(pair.a, pair.b) for pair in source.pairs.pairs][5] == ("000010", "000011")
    # sklearn's KFold(10) without shuffling: the first folds take the odd ones.
    assert [pair.fold for pair in source.pairs.pairs] == [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (7, "expected a pair"),
        (([], []), "two pictures for each of 0 pairs"),
        (([b"a"], [True]), "two pictures for each of 1 pairs, got 1"),
        (([b"a", "b"], [True]), "picture 1: expected an encoded picture, got str"),
        (([b"a", b"b"], [2]), "pair 0: expected True or False, got int"),
        ((b"ab", [True]), "expected two lists"),
        (([b"a", b"b"], ["yes"]), "pair 0: expected True or False, got str"),
    ],
)
def test_a_stream_of_another_shape_is_refused(value: object, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(DataError, match=rf"x.bin: .*{problem}"):
        VerificationBin(path)


def test_the_package_never_imports_pickle() -> None:
    import crossface

    root = Path(crossface.__file__).parent
    for file in root.rglob("*.py"):
        for line in file.read_text().splitlines():
            assert not line.strip().startswith(("import pickle", "from pickle")), file.name
