"""``crossface train-detector`` from settings to a file that ``crossface detect`` opens."""

from __future__ import annotations

import json

import pytest

from crossface.core.files import sha256_file
from face_files import encode, pattern

TINY = {
    "steps": 3,
    "batch_size": 2,
    "drawn.identities": 2,
    "drawn.per_identity": 1,
    "drawn.holdout": 1,
    "scenes.side_px": 64,
    "scenes.validation": 2,
    "landmarks.steps": 2,
    "landmarks.scenes_a_step": 2,
    "net.stem": 4,
    "net.stages": [4, 4, 4, 4],
    "net.depths": [1, 1, 1, 1],
    "net.neck": 4,
    "net.head_depth": 1,
}


def settings(**changes):
    for name, value in (TINY | changes).items():
        yield "--set"
        yield f"{name}={value}"


@pytest.fixture
def trained(call, tmp_path):
    run = tmp_path / "run"
    code, out, err = call("train-detector", *settings(), "--out", run, "--json", "-")
    assert code == 0, err
    return run, json.loads(out)


def test_from_settings_to_faces(trained, call, tmp_path):
    run, told = trained
    file = run / "detector.onnx"
    assert told["sha256"] == sha256_file(file)
    card = json.loads((run / "detector.json").read_text())
    assert (card["file"], card["sha256"]) == ("detector.onnx", told["sha256"])
    assert card["kind"] == "crossface detector"
    beside = run / card["landmarks"]["file"]
    assert sha256_file(beside) == card["landmarks"]["sha256"]
    assert told["size_bytes"] == file.stat().st_size + beside.stat().st_size
    assert card["data"][0]["identities"] == 2
    assert card["teachers"] == []
    assert card["config"]["steps"] == 3
    assert str(tmp_path) not in json.dumps(card)
    picture = tmp_path / "p.png"
    picture.write_bytes(encode(pattern(0, (64, 96))))
    code, _, err = call("detect", picture, "--detector", file, "--min-score", "0.01")
    assert code in {0, 3}, err
    code, _, err = call("train-detector", "--out", run)
    assert code == 2
    assert "already holds a run" in err
    code, out, _ = call("train-detector", "--resume", run, "--json", "-")
    again = json.loads(out)
    assert code == 0
    assert {k: again[k] for k in card["validation"]} == {k: told[k] for k in card["validation"]}
    code, out, _ = call("train-detector", "--resume", run, "--steps", "4", "--json", "-")
    assert code == 0
    card = json.loads((run / "detector.json").read_text())
    assert (card["steps"], card["config"]["steps"], card["landmarks_steps"]) == (4, 4, 2)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "step=3"], "unknown key 'step'; did you mean 'steps'?"),
        (["--set", "batch_size=1"], "batch_size: "),
        (["--set", "scenes.side_px=100", "--set", "steps=1"], "multiple of 32"),
        (["--crops", "no/such.zip"], "there is no such file"),
        (["--resume", "runs/none", "--seed", "3"], "only --steps may be another"),
        (["--finish"], "--finish belongs to --resume"),
        (["--resume", "runs/none"], "holds no run"),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(call, tmp_path, arguments, sentence):
    out = [] if "--resume" in arguments else ["--out", tmp_path / "run"]
    code, _, err = call("train-detector", *arguments, *out)
    assert code in {2, 4}
    assert sentence in err
