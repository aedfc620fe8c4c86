"""detect, embed, verify and models: exit codes, JSON, drawings, archives."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from crossface.app.commands import detect, embed, models, verify
from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import CrossfaceError, UsageError, WeightsError
from crossface.core.weights import known_weights
from crossface.pipeline.analysis import FaceAnalysis
from face_files import encode, pattern
from pipeline.onnx_files import channel_means, constants, embedder, one_face, random_outputs


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSFACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    props = {"crossface.input_spec": InputSpec().model_dump_json()}
    embedder(folder / "m.onnx", props=props)
    one_face(folder / "d.onnx")
    nothing = random_outputs("retinaface", (64, 64))
    nothing["conf"][..., 1] = 0
    constants(folder / "nobody.onnx", nothing, shape=(1, 3, 64, 64))
    for number in range(3):
        (folder / f"p{number}.png").write_bytes(encode(pattern(number, (64, 64))))
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


def call(verb, *arguments):
    """The verb in an application of its own: exit code, stdout, stderr or the error."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.callback()
    def _options(context: typer.Context) -> None:
        context.obj = {"quiet": True}

    app.command("verb")(verb.command)
    done = CliRunner().invoke(app, ["verb", *map(str, arguments)])
    if isinstance(done.exception, CrossfaceError):
        raise done.exception
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


def test_detect_prints_a_line_a_face_and_draws(room, tmp_path):
    code, out, _ = call(
        detect, room / "p0.png", room / "p1.png", "--detector", room / "d.onnx", "--draw", tmp_path
    )
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("p0.png  face 1  box 20,20,52,52  score 0.900  quality ")
    assert len(lines) == 2
    drawn = np.asarray(Image.open(tmp_path / "0001_p0.png"))
    plain = pattern(0, (64, 64))
    assert drawn.shape == plain.shape
    assert tuple(drawn[20, 30]) == (0, 200, 0)
    np.testing.assert_array_equal(drawn[60:], plain[60:])
    assert (tmp_path / "0002_p1.png").is_file()


def test_detect_gives_json_on_stdout_and_nothing_else(room):
    code, out, _ = call(detect, room / "p0.png", "--detector", room / "d.onnx", "--json", "-")
    assert code == 0
    (picture,) = json.loads(out)
    assert picture["image"] == "p0.png"
    (face,) = picture["faces"]
    assert face["bbox_xyxy_px"] == [20, 20, 52, 52]
    assert face["kps_px"][1] == [40, 24]
    assert set(face["quality_parts"]) >= {"size", "sharpness", "pose", "light"}
    assert str(room) not in out


def test_exit_codes_tell_a_bad_picture_from_no_face(room, tmp_path):
    code, out, err = call(detect, room / "p0.png", "--detector", room / "nobody.onnx")
    assert (code, out) == (3, "")
    assert "p0.png: no face was found" in err
    code, out, err = call(detect, room / "p0.png", room / "bad.png", "--detector", room / "d.onnx")
    assert code == 4
    assert out.startswith("p0.png")
    assert "bad.png: expected an image" in err
    with pytest.raises(WeightsError, match="there is no such file"):
        call(detect, room / "p0.png", "--detector", tmp_path / "absent.onnx")


def test_detect_takes_thresholds(room):
    arguments = [room / "p0.png", "--detector", room / "d.onnx", "--min-score"]
    assert call(detect, *arguments, "0.85")[0] == 0
    assert call(detect, *arguments, "0.95")[0] == 3
    assert call(detect, *arguments, "1.5")[0] == 2


def test_detect_takes_quality_networks(room, tmp_path):
    """LightQNet's part is its score over what it gives to a good face; pose is FSA-Net's."""
    light = channel_means(tmp_path / "l.onnx", (1, 96, 96, 3))
    with pytest.raises(WeightsError, match=r"l\.onnx"):
        call(detect, room / "p0.png", "--detector", room / "d.onnx", "--lightqnet", light)
    pose = channel_means(tmp_path / "p.onnx", (1, 3, 64, 64), scale=10.0)
    words = [detect, room / "p0.png", "--detector", room / "d.onnx", "--json", "-"]
    (plain,) = json.loads(call(*words)[1])[0]["faces"]
    (posed,) = json.loads(call(*words, "--fsanet", pose)[1])[0]["faces"]
    assert plain["pose_deg"] != posed["pose_deg"]


def test_embed_writes_an_archive_without_pickles(room, tmp_path):
    out = tmp_path / "faces.npz"
    pictures = [room / f"p{number}.png" for number in range(3)]
    files = ["--model", room / "m.onnx", "--detector", room / "d.onnx"]
    code, _, _ = call(embed, *pictures, *files, "--out", out, "--json", tmp_path / "f.json")
    assert code == 0
    analysis = FaceAnalysis(room / "m.onnx", room / "d.onnx", threads=1)
    with np.load(out, allow_pickle=False) as archive:
        assert archive["image"].tolist() == ["p0.png", "p1.png", "p2.png"]
        assert archive["kps_px"].shape == (3, 5, 2)
        assert archive["bbox_xyxy_px"].shape == (3, 4)
        for picture, vector in zip(pictures, archive["embeddings"], strict=True):
            np.testing.assert_allclose(vector, analysis.get(picture)[0].embedding, atol=1e-6)
        contract = EmbeddingContract.model_validate_json(str(archive["contract"]))
    assert contract == analysis.contract
    assert len(json.loads((tmp_path / "f.json").read_text())) == 3


def test_embed_without_a_face_writes_an_empty_archive_and_says_3(room, tmp_path):
    files = ["--model", room / "m.onnx", "--detector", room / "nobody.onnx"]
    code, _, err = call(embed, room / "p0.png", *files, "--out", tmp_path / "f.npz")
    assert code == 3
    assert "no face was found" in err
    with np.load(tmp_path / "f.npz", allow_pickle=False) as archive:
        assert archive["embeddings"].shape == (0, 5)


def test_verify_answers_by_its_exit_code(room):
    files = ["--model", room / "m.onnx", "--detector", room / "d.onnx"]
    same = [room / "p0.png", room / "p0.png", *files]
    code, out, _ = call(verify, *same, "--threshold", "0.9")
    assert code == 0
    assert out.startswith("same  similarity 1.0000  threshold 0.9000")
    other = [room / "p0.png", room / "p1.png", *files]
    code, out, _ = call(verify, *other, "--threshold", "0.9999")
    assert code == 1
    assert out.startswith("different")
    code, out, err = call(verify, *same)
    assert code == 2
    assert out.startswith("uncalibrated  similarity 1.0000")
    assert "pass a threshold" in err
    code, out, _ = call(verify, *same, "--threshold", "0.9", "--json", "-")
    answer = json.loads(out)
    assert (answer["same"], answer["threshold"], answer["fmr"]) == (True, 0.9, None)
    with pytest.raises(CrossfaceError) as caught:
        call(verify, *same[:2], *files[:2], "--detector", room / "nobody.onnx")
    assert caught.value.exit_code == 3
    with pytest.raises(UsageError, match="--fmr lies between 0 and 1"):
        call(verify, *same, "--fmr", "2")


def test_models_still_lists_the_networks(room):
    from crossface.nets import list_models

    assert call(models)[1].split() == list_models()
    assert json.loads(call(models, "swin*", "--json")[1]) == list_models("swin*")


def test_models_lists_shows_and_verifies_files(room, tmp_path):
    rows = json.loads(call(models, "list", "--json")[1])
    assert {"name", "task", "here", "licence", "non_commercial"} == set(rows[0])
    assert any(row["name"] == "yunet_n" and not row["here"] for row in rows)
    folder = tmp_path / "user" / ".insightface" / "models" / "buffalo_t"
    folder.mkdir(parents=True)
    one_face(folder / "det_500m.onnx")
    code, out, _ = call(models, "list")
    assert code == 0
    assert any(line.split()[:3] == ["buffalo_t", "detection", "here"] for line in out.splitlines())
    shown = json.loads(call(models, "show", "scrfd_500m_kps", "--json")[1])
    assert shown["detector"] == "scrfd"
    assert shown["url"].startswith("https://")
    assert shown["path"] is None
    assert "sha256" in call(models, "show", "scrfd_500m_kps")[1]
    code, out, _ = call(models, "verify", "--json")
    assert code == 0
    assert {(row["name"], row["ok"]) for row in json.loads(out)} == {
        (row.name, True) for row in known_weights() if row.packaged is not None
    }
    card = json.loads(call(models, "show", "default", "--json")[1])["card"]
    assert card["teacher"] == "reidentification_retail_0095.onnx"
    assert "accuracy: 0.9" in call(models, "show", "default")[1]
    damaged = tmp_path / "home" / "models" / "yunet_n.onnx"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"damaged")
    code, out, _ = call(models, "verify")
    assert code == 4
    assert "expected sha256" in out


def test_models_refuses_what_cannot_be_meant(room, tmp_path):
    for arguments, sentence in (
        (["pull"], "pull needs a NAME"),
        (["list", "x"], "takes no NAME"),
        (["list", "--from", tmp_path], "--from belongs to"),
    ):
        with pytest.raises(UsageError, match=sentence):
            call(models, *arguments)
    with pytest.raises(WeightsError, match=r"no \.onnx file in"):
        call(models, "pull", "yunet_n", "--from", tmp_path)
