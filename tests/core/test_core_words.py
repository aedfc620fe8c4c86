"""Vectors, registry, files, contracts, seeds, progress, errors."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from crossface.core import errors
from crossface.core.contract import EmbeddingContract, InputSpec, parse_model
from crossface.core.errors import CrossfaceError, UnknownName, WeightsError
from crossface.core.files import atomic_path, sha256_file, write_json
from crossface.core.progress import Progress, track
from crossface.core.registry import Registry
from crossface.core.seeds import derive_seed, generator
from crossface.core.vectors import check_unit, cosine, unit

rows = st.lists(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=1, max_size=6
).map(lambda values: np.array(values, dtype=np.float32))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(rows)
def test_unit_keeps_the_direction_and_makes_the_length_one(vectors: np.ndarray) -> None:
    vectors = vectors + np.array([2e3, 0, 0], np.float32)  # no row is zero
    result = unit(vectors)
    lengths = [sum(float(x) ** 2 for x in row) ** 0.5 for row in vectors]
    np.testing.assert_allclose(result, vectors / np.array(lengths)[:, None], rtol=1e-5, atol=1e-7)
    assert check_unit(result, dim=3) is not None
    np.testing.assert_allclose(cosine(result, result), 1, atol=1e-6)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_unit_names_the_row_that_has_no_direction(bad: float) -> None:
    vectors = np.ones((4, 3), np.float32)
    vectors[2] = bad
    with pytest.raises(
        ValueError, match="1 of 4 vectors are zero or not finite, the first is row 2"
    ):
        unit(vectors)


def test_unit_wants_a_matrix() -> None:
    with pytest.raises(ValueError, match=r"must be \(N, D\), got shape \(3,\)"):
        unit(np.ones(3))


@pytest.mark.parametrize(
    ("vectors", "problem"),
    [
        (np.ones((2, 4)), r"\(N, 3\) float32, got \(2, 4\) float64"),
        (np.ones((2, 4), np.float32), r"\(N, 3\) float32, got \(2, 4\)"),
        (np.eye(3, dtype=np.float32)[0], r"\(N, 3\)"),
        (np.ones((2, 3), np.float32), "row 0 has length 1.732"),
        (np.full((1, 3), np.nan, np.float32), "row 0 has length nan"),
    ],
)
def test_check_unit_says_expected_and_got(vectors: np.ndarray, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_unit(vectors, dim=3)


def test_cosine_is_the_row_by_row_product() -> None:
    a = unit(np.random.default_rng(0).normal(size=(5, 8)))
    b = unit(np.random.default_rng(1).normal(size=(5, 8)))
    np.testing.assert_allclose(cosine(a, b), [float(x @ y) for x, y in zip(a, b, strict=True)],
                               rtol=1e-5)  # fmt: skip


TABLE = {"sha": "hashlib:sha256", "json": "json:dumps", "absent": "no_such_module_at_all:x"}


def test_a_registry_lists_without_importing_and_resolves_one() -> None:
    registry = Registry("tool", TABLE)
    assert registry.names() == ["absent", "json", "sha"]
    assert registry.names("s*") == ["sha"]
    assert "sha" in registry
    assert "md5" not in registry
    assert registry.resolve("sha") is hashlib.sha256
    assert registry.resolve("json") is json.dumps
    assert "no_such_module_at_all" not in sys.modules


def test_a_registry_offers_near_names_or_all() -> None:
    registry = Registry("backbone", {"iresnet50": "x:y", "swin_nano": "x:y"})
    with pytest.raises(
        UnknownName, match="no backbone is named 'iresnet5O'; did you mean iresnet50"
    ):
        registry.resolve("iresnet5O")
    with pytest.raises(UnknownName, match="known: iresnet50, swin_nano"):
        registry.resolve("qqqq")


def test_a_registry_takes_names_of_other_packages_but_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from importlib.metadata import EntryPoint

    points = [EntryPoint("sha", "json:loads", "g"), EntryPoint("new", "json:loads", "g")]
    monkeypatch.setattr("crossface.core.registry.entry_points", lambda group: points)
    registry = Registry("tool", TABLE, "crossface.tools")
    assert registry.resolve("new") is json.loads
    assert registry.resolve("sha") is hashlib.sha256


def test_an_atomic_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["file.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail_half_way() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail_half_way()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_json_with_a_number_that_is_none_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert list(tmp_path.iterdir()) == []
    write_json(tmp_path / "x.json", {"ä": [1, None]})
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == {"ä": [1, None]}


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # more than one block
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_an_input_spec_survives_json_and_its_digest_follows_each_field() -> None:
    spec = InputSpec(size_hw=(128, 96), mean=(1, 2, 3), channel_order="bgr")
    again = parse_model(InputSpec, spec.model_dump_json(), source="x")
    assert again == spec
    assert again.digest == spec.digest
    assert InputSpec().is_arcface_112
    assert not spec.is_arcface_112
    changes = {"size_hw": (64, 64), "mean": (0, 0, 0), "std": (1, 1, 1), "channel_order": "bgr",
               "layout": "nhwc"}  # fmt: skip
    digests = {InputSpec(**{name: value}).digest for name, value in changes.items()}
    assert len(digests | {InputSpec().digest}) == 6


@pytest.mark.parametrize(
    "fields", [{"size_hw": (4, 112)}, {"std": (1, 0, 1)}, {"channel_order": "gbr"}, {"sizes": 1}]
)
def test_an_input_spec_that_makes_no_sense_is_refused(fields: dict) -> None:
    with pytest.raises(ValidationError):
        InputSpec(**fields)


def _contract(**changes: object) -> EmbeddingContract:
    fields = {
        "model_id": "m",
        "digest": "0" * 64,
        "dim": 512,
        "space_id": "s",
        "input_digest": "1" * 64,
    }
    return EmbeddingContract(**(fields | changes))


def test_a_contract_survives_json_and_its_id_follows_each_field() -> None:
    contract = _contract()
    again = parse_model(EmbeddingContract, contract.model_dump_json(), source="x")
    assert again.contract_id == contract.contract_id
    assert len(contract.contract_id) == 16
    others = [_contract(model_id="n"), _contract(digest="2" * 64), _contract(dim=256),
              _contract(space_id="t"), _contract(input_digest="3" * 64)]  # fmt: skip
    assert len({c.contract_id for c in [contract, *others]}) == 6


def test_contracts_compare_by_space_and_dimension_only() -> None:
    assert _contract().comparable_with(_contract(model_id="n", digest="2" * 64))
    assert not _contract().comparable_with(_contract(space_id="t"))
    assert not _contract().comparable_with(_contract(dim=256))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model_id": "m"}', '{"model_id": 1}'])
def test_a_bad_contract_names_the_file(text: str) -> None:
    with pytest.raises(WeightsError, match=r"m.onnx: bad EmbeddingContract: "):
        parse_model(EmbeddingContract, text, source="m.onnx")


def test_seeds_depend_on_every_part_and_on_its_type() -> None:
    parts = [(0, "a"), (0, "b"), (1, "a"), ("0", "a"), (0, "a", 0), ("0\x1fa",)]
    assert len({derive_seed(*part) for part in parts}) == len(parts)
    assert 0 <= derive_seed(0) < 2**63
    by_hand = hashlib.sha256(b"int:7\x1fstr:x").digest()[:8]
    assert derive_seed(7, "x") == int.from_bytes(by_hand, "big") // 2
    assert generator(1, "x").random() == generator(1, "x").random()


def test_progress_is_silent_at_first_and_then_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("crossface.core.progress.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress("reading", 100, stream=stream) as progress:
        progress.advance()
        assert not stream.getvalue()
        now[0] = 10.0
        progress.advance(24, note="fast")
        assert stream.getvalue() == "reading  25/100 (25 %)  0:30 left  fast\n"
        now[0] = 12.0
        progress.advance()  # not again within 15 seconds
        assert stream.getvalue().count("\n") == 1
    assert list(track([1, 2], "x")) == [1, 2]


def test_every_error_has_an_exit_code_of_the_table_and_a_parent() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    table = {name.lstrip("│├└─ "): int(code) for name, code in _table_rows()}
    for kind in classes:
        assert issubclass(kind, CrossfaceError)
        assert table[kind.__name__] == kind.exit_code
    assert set(table) == {kind.__name__ for kind in classes}


def _table_rows() -> list[tuple[str, str]]:
    rows = []
    for line in (errors.__doc__ or "").splitlines():
        fields = line.lstrip("│├└─ ").split()
        if fields and fields[0][0].isupper() and len(fields) > 1 and fields[1].isdecimal():
            rows.append((fields[0], fields[1]))
    return [*rows, ("CrossfaceError", str(CrossfaceError.exit_code))]
