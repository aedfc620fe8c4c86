"""``evaluate ... liveness``: photographs by kind, a detector, and a network that likes green."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from crossface.app.cli import main
from pipeline.onnx_files import channel_means, one_face

GREEN, GREY, RED = (60, 200, 60), (120, 120, 120), (200, 40, 40)
PICTURES = {
    "live/a/1.png": GREEN,
    "live/a/2.png": GREEN,
    "live/b.png": GREY,
    "print/1.png": RED,
    "print/2.png": GREEN,
    "replay/x.png": RED,
}


def encoded(colour):
    stream = io.BytesIO()
    Image.fromarray(np.full((96, 96, 3), colour, dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def networks(tmp_path):
    live = channel_means(tmp_path / "1.0_80x80_green.onnx", (1, 3, 80, 80), scale=0.1)
    return str(live), str(one_face(tmp_path / "det.onnx"))


def call(*words):
    """Exit code of one command."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code or 0


def write(folder):
    for name, colour in PICTURES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(colour))
    return folder


def run(networks, data, out, *more):
    live, detector = networks
    words = ["evaluate", live, "liveness", "--data", data, "--detector", detector, "--json", out]
    assert call("--quiet", *words, *more) == 0
    return json.loads(out.read_text())


def as_folder(tmp_path):
    return write(tmp_path / "set")


def as_nested_zip(tmp_path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, colour in PICTURES.items():
            archive.writestr(f"around/{name}", encoded(colour))
    return path


def as_table(tmp_path):
    folder = write(tmp_path / "files")
    rows = [f"{name},{name.split('/')[0]}" for name in PICTURES]
    (folder / "list.csv").write_text("\n".join(["file,kind", *rows]))
    return folder / "list.csv"


@pytest.mark.parametrize("layout", [as_folder, as_nested_zip, as_table])
def test_every_layout_gives_the_rates_of_the_pictures(networks, tmp_path, layout):
    report = run(networks, layout(tmp_path), tmp_path / "r.json", "--threshold", "0.5")
    rates = report["at_threshold"]
    assert report["model"] == "1.0_80x80_green"
    assert {k: e["value"] for k, e in rates["apcer"].items()} == {"print": 0.5, "replay": 0.0}
    assert rates["bpcer"]["value"] == pytest.approx(1 / 3)  # grey: a third for each class
    assert rates["acer"]["value"] == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_a_broken_picture_is_named_and_in_no_rate(networks, tmp_path):
    folder = as_folder(tmp_path)
    (folder / "print" / "3.png").write_bytes(b"nothing")
    report = run(networks, folder, tmp_path / "r.json")
    assert report["presentations"]["print"] == {"n_scored": 2, "n_without_score": 1}
    assert [f["name"] for f in report["failures"]] == ["print/3"]


def test_a_table_of_scores_stands_in_the_models_place(tmp_path, capsys):
    path, page = tmp_path / "mine.csv", tmp_path / "r.html"
    path.write_text("kind,score\nlive,0.9\nprint,0.2\n")
    words = ["evaluate", path, "liveness", "--threshold", "0.5", "--html", page]
    assert call(*words) == 0
    assert capsys.readouterr().out.startswith("mine  liveness  on mine.csv: 1 live, 1 attacks")
    assert "APCER" in page.read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["s.csv", "liveness", "--data", "x"], "s.csv holds scores: --data and --detector"),
        (["m.onnx", "liveness"], "--data is missing"),
        (["s.csv", "liveness", "--pairs", "p"], "the protocol liveness has no pairs"),
        (["s.csv", "liveness", "--no-flip"], "the protocol liveness has no flip"),
        (["m.onnx", "all-pairs"], "--data is missing"),
        (["m.onnx", "all-pairs", "--data", "x", "--threshold", "1"], "all-pairs has no threshold"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(words, said, capsys):
    assert call("evaluate", *words) == 2
    assert said in capsys.readouterr().err


def test_a_set_without_kinds_is_refused(networks, tmp_path, capsys):
    folder = as_folder(tmp_path)
    (folder / "loose.png").write_bytes(encoded(RED))
    live, detector = networks
    words = ["evaluate", live, "liveness", "--data", folder, "--detector", detector]
    assert call(*words) == 4
    assert "'loose' lies in none" in capsys.readouterr().err
    (folder / "list.csv").write_text("file,kind\nloose.png,live\ngone.png,print\n")
    words[4] = folder / "list.csv"
    assert call(*words) == 4
    assert "line 3: expected a picture and its kind, got no file 'gone.png'" in (
        capsys.readouterr().err
    )
