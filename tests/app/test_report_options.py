"""``evaluate`` and ``compare`` with ``--html``, with an embedder that needs no weights."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from crossface import api
from crossface.app.commands import compare, evaluate
from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import UsageError
from face_files import people, write_folder


class AnyEmbedder:
    """Noise that depends on the pixels only."""

    input_spec = InputSpec()
    contract = EmbeddingContract(
        model_id="any", digest="0" * 64, dim=8, space_id="any", input_digest=InputSpec().digest
    )

    def embed(self, crops):
        seeds = [zlib.crc32(crop.tobytes()) for crop in crops]
        rows = [np.random.default_rng(seed).normal(size=8) for seed in seeds]
        return np.stack(rows).astype(np.float32)


@pytest.fixture
def faces(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "load_model", lambda *_, **__: AnyEmbedder())
    return write_folder(tmp_path / "set", people(identities=12, each=2))


def say(module, *arguments):
    app = typer.Typer()
    app.command()(module.command)
    done = CliRunner().invoke(app, [*map(str, arguments)], obj={"quiet": True})
    if isinstance(done.exception, UsageError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize("pictures", [True, False])
def test_evaluate_writes_a_page_beside_its_table(faces, tmp_path, pictures):
    out = tmp_path / "out" / "r.html"
    flags = [] if pictures else ["--no-pictures"]
    text = say(evaluate, "any", "all-pairs", "--data", faces, "--html", out, *flags)
    assert text.startswith("any  all-pairs  on set: 276 pairs")
    page = out.read_text()
    assert page.startswith("<!doctype html>")
    assert ("data:image/jpeg" in page) is pictures


def test_compare_writes_a_page_without_pictures(faces, tmp_path):
    out = tmp_path / "r.html"
    assert "A - B" in say(compare, "a", "b", "--data", faces, "--html", out)
    assert "any against any" in out.read_text()
    assert "<img" not in out.read_text()


def test_discard_takes_its_quality_from_the_runtime_or_a_table(faces, tmp_path):
    text = say(evaluate, "any", "discard", "--data", faces, "--quality", "sharpness")
    assert text.splitlines()[1] == "quality: sharpness"
    table, out = tmp_path / "mine.csv", tmp_path / "r.json"
    keys = sorted(p.relative_to(faces).with_suffix("").as_posix() for p in faces.rglob("*.png"))
    rows = [f"{key},{place}" for place, key in enumerate(keys)]
    table.write_text("\n".join(["key,quality", *rows]))
    text = say(evaluate, "any", "discard", "--data", faces, "--quality", table, "--json", out)
    assert text.splitlines()[1] == "quality: mine.csv"
    assert json.loads(out.read_text())["quality"] == "mine.csv"


@pytest.mark.parametrize(
    ("protocol", "word", "said"),
    [
        ("discard", "beauty", r"--quality: expected norm, sharpness, light, a CSV .* got 'beauty'"),
        ("all-pairs", "norm", "the protocol all-pairs has no quality"),
    ],
)
def test_a_quality_that_cannot_be_meant_is_refused(faces, protocol, word, said):
    with pytest.raises(UsageError, match=said):
        say(evaluate, "any", protocol, "--data", faces, "--quality", word)
