"""``evaluate`` and ``compare`` with ``--html``, with an embedder that needs no weights."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from crossface import api
from crossface.app.commands import compare, evaluate
from crossface.core.contract import EmbeddingContract, InputSpec
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
