"""The verbs card and audit end to end: tables, JSON, exit codes and sentences."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from crossface.app import cli
from crossface.core.card import ThresholdCard
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder
from evaluation.fakes import NoiseFaces
from pipeline.test_onnx_runtime import build

DATA = "drawn:ids=2,per_id=1"


@pytest.fixture
def call(capsys, monkeypatch):
    verbs = {name: f"crossface.app.commands.{name}" for name in ("card", "audit")}
    monkeypatch.setattr(cli, "COMMANDS", cli.COMMANDS | verbs)

    def run(*arguments):
        try:
            cli.main(["--quiet", *map(str, arguments)])
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A folder of 40 people with two pictures of coarse noise each."""
    folder = tmp_path_factory.mktemp("faces")
    source = NoiseFaces((2,) * 40, noise=20.0)
    for index in range(len(source)):
        place = folder / f"{source.key(index)}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(source.read(index)).save(place, compress_level=1)
    return folder


@pytest.fixture
def room(tmp_path):
    build(tmp_path / "m.onnx", metadata={})
    source = NoiseFaces((2,) * 40)
    rows = [f"{source.key(index)},{'ab'[index // 2 % 2]}" for index in range(80)]
    (tmp_path / "groups.csv").write_text("\n".join(["key,group", *rows]), encoding="utf-8")
    return tmp_path


def test_a_card_is_measured_checked_and_carried_by_the_model(call, room, faces):
    out_model, out_json = room / "out.onnx", room / "card.json"
    code, out, err = call(
        "card", room / "m.onnx", "--data", faces, "--groups", room / "groups.csv", "--threads", 1,
        "--embed-into", out_model, "--json", out_json, "--all-data",
    )  # fmt: skip
    assert code == 0, err
    assert "FMR wanted" in out
    told = json.loads(out_json.read_text(encoding="utf-8"))
    card = ThresholdCard.model_validate(told["card"])
    assert told["check"] is None
    assert OnnxEmbedder(out_model, threads=1).threshold_card == card
    assert sorted(card.groups) == ["a", "b"]
    code, out, err = call(
        "audit", out_model, "--data", faces, "--groups", room / "groups.csv", "--fmr", "0.01",
        "--threads", 1, "--json", "-", "--against", faces,
    )  # fmt: skip
    assert code == 0, err
    report = json.loads(out)
    assert report["threshold"] == card.operating_points[0].threshold
    assert "the model's card" in report["threshold_source"]
    assert report["leakage"]["names_in_both"] == 40
    assert report["leakage"]["near_duplicates"]["pairs"] >= 80
    groups = report["columns"]["group"]["groups"]
    assert groups["a"]["n_images"] == groups["b"]["n_images"] == 40


def test_half_of_the_people_checks_the_card(call, room, faces):
    code, out, err = call("card", room / "m.onnx", "--data", faces, "--threads", 1, "--json", "-")
    assert code == 0, err
    told = json.loads(out)
    assert told["card"]["n_identities"] == 20
    assert np.isfinite([row["fmr"]["value"] for row in told["check"]]).all()
    assert any("the other half" in note for note in told["card"]["notes"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["audit", "m", "--data", DATA], 2, "an audit needs groups"),
        (["audit", "m", "--data", DATA, "--groups", "g", "--pairs", "p"], 2, "not both"),
        (["audit", "m", "--data", DATA, "--groups", "g", "--threshold", "2"], 2, "a cosine"),
        (["audit", "m", "--data", DATA, "--groups", "g", "--fmr", "2"], 2, "between 0 and 1"),
        (["audit", "m", "--data", DATA, "--groups", "nowhere.csv"], 4, "cannot be read"),
        (["card", "m.pt", "--data", DATA, "--embed-into", "o"], 2, "m.pt is neither"),
        (["card", "m.onnx", "--data", DATA, "--embed-into", "o"], 2, "expected .onnx, got o"),
        (["card", "m.onnx", "--data", DATA, "--by", "x"], 2, "--groups, which is missing"),
    ],
)
def test_wrong_calls_are_one_sentence(call, arguments, code, said):
    found, out, err = call(*arguments)
    assert (found, out) == (code, "")
    assert said in err
    assert "Traceback" not in err


def test_an_audit_without_card_and_threshold_asks_for_one(call, room, faces):
    code, _, err = call(
        "audit", room / "m.onnx", "--data", faces, "--groups", room / "groups.csv", "--threads", 1
    )
    assert code == 2
    assert "give --threshold or --fmr" in err
