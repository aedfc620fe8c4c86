"""The command line end to end, in this process: exit codes, sentences, JSON."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from crossface.app.cli import COMMANDS, main
from crossface.core.contract import InputSpec
from crossface.training.config import load_config
from face_files import encode, huge_png_header, pattern, people, write_folder, write_zip
from training.fakes import people_folder, run_tables, teacher_file

CONFIGS = Path(__file__).parents[2] / "configs"


def call(capsys, *arguments):
    """Exit code, stdout, stderr of one command."""
    try:
        main([str(a) for a in arguments])
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys, *arguments, code):
    found, out, err = call(capsys, *arguments)
    lines = [line for line in err.splitlines() if line.startswith("crossface: ")]
    assert found == code, err
    assert "Traceback" not in err
    assert out == ""
    return lines[-1]


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A tiny trained teacher, exported, and labelled pictures."""
    folder = tmp_path_factory.mktemp("room")
    people_folder(folder / "people", people=4)
    teacher_file(folder / "teacher.safetensors", "mobilefacenet", width=0.1, last_channels=32)
    files = [folder / "teacher.safetensors", folder / "teacher.onnx"]
    drawn = ["--data", "drawn:ids=16,per_id=1,seed=1"]
    arguments = ["--quiet", "export", *files, *drawn, "--json", folder / "export.json"]
    with contextlib.suppress(SystemExit):
        main([str(a) for a in arguments])
    return folder


def config_file(path, tables):
    lines = []

    def write(table, prefix):
        inner = {k: v for k, v in table.items() if isinstance(v, dict)}
        lines.extend(f"{k} = {json.dumps(v)}" for k, v in table.items() if k not in inner)
        for key, value in inner.items():
            lines.append(f"[{prefix}{key}]")
            write(value, f"{prefix}{key}.")

    write(tables, "")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def small_config(room, tmp_path, **changes):
    head = {"name": "cosface", "options": {"scale": 16.0}}
    tables = run_tables(room / "people", head=head, budget={"steps": 2}, **changes)
    tables = dict(sorted(tables.items(), key=lambda entry: isinstance(entry[1], dict)))
    return config_file(tmp_path / "run.toml", tables)


@pytest.mark.parametrize("verb", [[], *[[name] for name in COMMANDS]])
def test_help_is_there_for_every_verb(verb, capsys):
    code, out, _ = call(capsys, *verb, "--help")
    assert code == 0
    assert "Usage:" in out


def test_version_and_lists(capsys):
    from crossface import __version__
    from crossface.evaluation.protocols import PROTOCOLS
    from crossface.nets import list_models

    assert call(capsys, "--version")[1].strip() == __version__
    assert json.loads(call(capsys, "models", "swin*", "--json")[1]) == list_models("swin*")
    assert call(capsys, "models")[1].split() == list_models()
    names = sorted([*PROTOCOLS.names(), "liveness"])
    assert json.loads(call(capsys, "protocols", "--json")[1]) == names
    assert call(capsys, "protocols")[1].split() == names


def test_doctor_names_versions_and_nobody(capsys):
    import getpass
    import socket

    code, out, _ = call(capsys, "doctor", "--json")
    report = json.loads(out)
    assert code == 0
    assert {"crossface", "python", "versions", "machine", "traps"} <= report.keys()
    assert socket.gethostname() not in json.dumps(report["machine"])
    assert f"/home/{getpass.getuser()}" not in out
    assert "numpy" in call(capsys, "doctor")[1]


def test_an_unknown_verb_and_an_unknown_option_are_usage(capsys):
    assert call(capsys, "trane")[0] == 2
    assert call(capsys, "train", "--learning-rate", "3")[0] == 2
    assert call(capsys, "train", "--steps", "many")[0] == 2
    assert call(capsys, "evaluate", "m.onnx", "pairs", "--data", "x", "--threads", "0")[0] == 2


def test_train_prints_json_on_stdout_and_nothing_else(room, tmp_path, capsys):
    config = small_config(room, tmp_path)
    code, out, err = call(capsys, "train", config, "--out", tmp_path / "run", "--json", "-")
    assert code == 0, err
    result = json.loads(out)
    assert result["steps"] == 2
    assert (tmp_path / "run" / "student.safetensors").exists()
    code, out, _ = call(capsys, "--quiet", "train", "--resume", tmp_path / "run")
    assert code == 0
    assert "images_per_s" in out


def test_a_distilled_run_is_evaluated_by_its_folder(room, tmp_path, capsys):
    code, out, err = call(
        capsys, "--quiet", "distill", "--data", room / "people", "--teacher",
        room / "teacher.onnx", "--student", "mobilefacenet", "--steps", 2, "--seed", 1,
        "--set", "batch_size=8", "--set", "student.options.width=0.1", "--set", "threads=1",
        "--set", "student.options.last_channels=32", "--out", tmp_path / "run", "--json", "-",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["steps"] == 2
    code, _, err = call(capsys, "--quiet", "distill", "--resume", tmp_path / "run")
    assert code == 0, err  # the verb's own default distiller is no contradiction
    code, out, err = call(capsys, "--quiet", "evaluate", tmp_path / "run", "all-pairs",
                          "--data", room / "people", "--json", "-")  # fmt: skip
    assert code == 0, err
    report = json.loads(out)
    assert {"model", "contract_id", "protocol", "n_pairs", "fta", "auc", "eer"} <= report.keys()


def test_an_exported_model_is_evaluated_and_shown_as_a_table(room, capsys):
    report = json.loads((room / "export.json").read_text())
    assert report["file"] == "teacher.onnx"
    assert report["parity"]
    code, out, err = call(capsys, "--quiet", "evaluate", room / "teacher.onnx", "all-pairs",
                          "--data", room / "people")  # fmt: skip
    assert code == 0, err
    assert "EER" in out or "eer" in out


def test_dry_run_shows_the_resolved_configuration_and_writes_nothing(room, tmp_path, capsys):
    config = small_config(room, tmp_path)
    code, out, _ = call(capsys, "train", config, "--dry-run", "--set", "optim.lr=0.5",
                        "--steps", 9, "--out", tmp_path / "run")  # fmt: skip
    assert code == 0
    resolved = json.loads(out)
    assert resolved["optim"]["lr"] == 0.5
    assert resolved["budget"] == {"steps": 9, "epochs": None, "minutes": None}
    assert not (tmp_path / "run").exists()


def test_without_a_method_the_ladder_s_choice_distils(room, capsys):
    """``benchmarks/results/ladder-real.json`` says which; a file's own choice stays."""
    given = ["--teacher", room / "teacher.onnx", "--data", room / "people", "--dry-run"]
    code, out, err = call(capsys, "distill", *given)
    assert code == 0, err
    assert json.loads(out)["distiller"]["name"] == "sp"
    assert load_config(CONFIGS / "distill.toml", [], {}).distiller.name == "sp"
    code, out, err = call(capsys, "distill", CONFIGS / "default_student.toml", *given)
    assert code == 0, err
    assert json.loads(out)["distiller"]["name"] == "embedding"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--set", "optim.learningrate=1"], "unknown key 'optim.learningrate'"),
        (["--set", "batchsize=4"], "did you mean 'batch_size'?"),
        (["--student", "mobilfacenet"], "did you mean mobilefacenet"),
        (["--head", "arcfac"], "did you mean arcface"),
        (["--steps", "3", "--epochs", "2"], "one budget is enough, got --steps and --epochs"),
        (["--device", "cuda:9"], "device 'cuda:9' is not available here"),
        (["--seed", "-1"], "seed: expected greater than or equal to 0"),
        (["--resume", "x"], "--resume goes on with the run's own configuration"),
    ],
)
def test_train_says_what_cannot_be_meant(arguments, sentence, room, tmp_path, capsys):
    config = small_config(room, tmp_path)
    out = tmp_path / "run"
    assert sentence in refused(capsys, "train", config, "--out", out, *arguments, code=2)
    assert not out.exists()


def test_a_configuration_with_an_unknown_key_is_named(room, tmp_path, capsys):
    config = small_config(room, tmp_path, holdout=4)
    text = refused(capsys, "train", config, "--out", tmp_path / "run", code=2)
    assert text.startswith("crossface: run.toml: unknown key 'holdout'")
    assert not (tmp_path / "run").exists()


def test_resuming_what_is_no_run_is_bad_input(tmp_path, capsys):
    assert "holds no run" in refused(capsys, "train", "--resume", tmp_path / "gone", code=4)


HARMFUL = b"\x80\x04cos\nsystem\n(S'touch %b'\ntR."


def bad_folder(picture):
    def make(folder):
        members = people() | {"person_0/person_0_0009.jpg": picture}
        return write_folder(folder / "faces", members)

    return make


def bad_zip(folder):
    return write_zip(folder / "faces.zip", people() | {"../escaped/x.png": encode(pattern(1))})


def bad_bin(folder):
    path = folder / "faces.bin"
    path.write_bytes(HARMFUL % str(folder / "harm").encode())
    return path


JPEG = encode(pattern(3), "JPEG")
BAD_SETS = {
    "truncated JPEG": (bad_folder(JPEG[: len(JPEG) // 2]), "person_0_0009"),
    "huge PNG header": (bad_folder(huge_png_header()), "person_0_0009"),
    "text named jpg": (bad_folder(b"hello, I am no picture\n"), "person_0_0009"),
    "zip that escapes": (bad_zip, "../escaped/x.png"),
    "bin that calls": (bad_bin, "faces.bin"),
}


@pytest.mark.parametrize("case", BAD_SETS)
def test_bad_pictures_and_archives_stop_training_and_leave_nothing(case, room, tmp_path, capsys):
    make, name = BAD_SETS[case]
    data = make(tmp_path)
    out = tmp_path / "run"
    for teacher in ([], ["--teacher", room / "teacher.onnx"]):
        verb = "distill" if teacher else "train"
        head = [] if teacher else ["--head", "cosface"]
        text = refused(capsys, verb, "--data", data, *teacher, *head, "--steps", 1, "--set",
                       "batch_size=2", "--set", "threads=1", "--out", out, code=4)  # fmt: skip
        assert name in text
        assert not out.exists()
    assert not (tmp_path / "harm").exists()
    assert not (tmp_path.parent / "escaped").exists()


@pytest.mark.parametrize("case", ["zip that escapes", "bin that calls"])
def test_bad_archives_stop_an_evaluation(case, room, tmp_path, capsys):
    make, name = BAD_SETS[case]
    protocol = "pairs" if case.startswith("bin") else "all-pairs"
    out = tmp_path / "report.json"
    text = refused(capsys, "evaluate", room / "teacher.onnx", protocol, "--data", make(tmp_path),
                   "--json", out, code=4)  # fmt: skip
    assert name in text
    assert not out.exists()
    assert not (tmp_path / "harm").exists()


def test_a_bad_picture_counts_as_a_failure_to_acquire(room, tmp_path, capsys):
    data = bad_folder(JPEG[: len(JPEG) // 2])(tmp_path)
    code, out, err = call(capsys, "--quiet", "evaluate", room / "teacher.onnx", "all-pairs",
                          "--data", data, "--json", "-")  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["fta"] == pytest.approx(1 / 7)


def test_a_teacher_of_another_input_size_is_refused(room, tmp_path, capsys):
    spec = tmp_path / "spec.json"
    spec.write_text(InputSpec(size_hw=(160, 160)).model_dump_json())
    text = refused(capsys, "evaluate", room / "teacher.onnx", "all-pairs", "--data",
                   room / "people", "--input-spec", spec, code=4)  # fmt: skip
    assert "teacher.onnx" in text
    assert "160x160" in text
    out = tmp_path / "run"
    text = refused(capsys, "distill", "--data", room / "people", "--teacher",
                   room / "teacher.onnx", "--set", f"teacher.input_spec={spec}", "--steps", 1,
                   "--out", out, code=4)  # fmt: skip
    assert "160x160" in text
    assert not out.exists()


def test_evaluate_says_what_is_missing(room, tmp_path, capsys):
    base = ["evaluate", room / "teacher.onnx"]
    data = ["--data", room / "people"]
    assert "did you mean" in refused(capsys, *base, "all_pairs", *data, code=2)
    assert "needs a list" in refused(capsys, *base, "pairs", *data, code=2)
    assert "gone.csv" in refused(capsys, *base, "pairs", *data, "--pairs", "gone.csv", code=4)
    assert "gone.onnx" in refused(capsys, "evaluate", "gone.onnx", "all-pairs", *data, code=4)
    assert "no input spec" in refused(capsys, *base, "all-pairs", *data, "--input-spec", "x",
                                      code=2)  # fmt: skip


def test_a_result_that_cannot_be_written_is_one_sentence(room, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    text = refused(capsys, "--quiet", "evaluate", room / "teacher.onnx", "all-pairs", "--data",
                   room / "people", "--json", tmp_path / "file" / "s.json", code=4)  # fmt: skip
    assert text.startswith(f"crossface: {tmp_path / 'file'}: ")


def test_an_interrupted_setup_exits_with_130(room, tmp_path, capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("crossface.training.launch.prepare", interrupt)
    config = small_config(room, tmp_path)
    assert call(capsys, "train", config, "--out", tmp_path / "run")[0] == 130
    assert not (tmp_path / "run").exists()


def test_a_run_that_stops_exits_with_6(room, tmp_path, capsys, monkeypatch):
    import torch

    from crossface.training import loop

    original = loop.step_once

    def poisoned(session, *rest):
        with torch.no_grad():
            next(session.objective.student.parameters())[0] = float("nan")
        return original(session, *rest)

    monkeypatch.setattr(loop, "step_once", poisoned)
    config = small_config(room, tmp_path)
    text = refused(capsys, "train", config, "--out", tmp_path / "run", code=6)
    assert "the loss is not a number at step 0" in text
