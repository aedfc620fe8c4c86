"""A run that is killed and resumed ends where an uninterrupted one ends, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from crossface.core.errors import Interrupted, TrainingStopped, WeightsError
from crossface.training import loop
from crossface.training.launch import launch
from crossface.training.run import RunFolder
from training.fakes import (
    DIM,
    SMALL_CADFR,
    assert_same_tensors,
    distilled,
    metadata_of,
    people_folder,
    supervised,
    teacher_file,
    tensors_of,
)

# Centres, thresholds, banks and paces that a method remembers must be in the checkpoint.
OPTIONS = {
    "adadistill": {"scale": 16.0},
    "concentration": {},
    "ekd": {"momentum": 0.5},
    "gkd": {"scale": 16.0, "group": 3},
    "iled_rpsd": {"bank": 10, "mined": 4},
    "ofa": {},
}
SWIN = {"name": "swin_micro", "options": {"embedding_dim": DIM, "drop_path": 0.5}}
SUPERVISED = {
    "supervised": {},
    "adaface": {"head": {"name": "adaface"}},
    "drop_path": {"student": SWIN},
    "collaborative": {"head": None, "collaborative": {"hard_classes": 3, "copies": 2}},
    "sam": {"optim": {"sharpness": "sam"}, "head": {"name": "adaface"}},
    "sagm": {"optim": {"sharpness": "sagm", "name": "sgd"}, "student": SWIN},
}
METHODS = [
    *SUPERVISED,
    "clean",
    "same",
    "same_views",
    "cadfr",
    "muon",
    *OPTIONS,
]


class Killed(BaseException):
    """As abrupt as a kill: nothing of the loop catches it."""


def make_config(method, folder, **changes):
    data = folder / "people"
    if not data.exists():
        people_folder(data)
    if method in SUPERVISED:
        return supervised(data, **SUPERVISED[method], **changes)
    teacher = folder / "teacher.safetensors"
    if not teacher.exists():
        teacher_file(teacher)
    if method == "muon":
        return distilled(data, teacher, optim={"name": "muon"}, **changes)
    if method == "clean":
        return distilled(data, teacher, **changes)
    if method == "same":
        return distilled(data, teacher, teacher={"view": "same"}, **changes)
    if method == "same_views":
        mixing = {"view": "same", "views": 1, "mix": 0.5}
        return distilled(data, teacher, teacher=mixing, **changes)
    if method == "cadfr":
        student = {"name": "swin_micro", "options": {"drop_path": 0.5}}
        automatic = {"attention_weight": None, "feature_weight": None}
        options = {**SMALL_CADFR, **automatic, "ramp_fraction": 0.5}
        return distilled(data, teacher, "cadfr", options, student=student, **changes)
    others = [str(teacher)] * (method == "concentration")
    return distilled(data, teacher, method, OPTIONS[method], teacher={"others": others}, **changes)


def kill_at(monkeypatch, step):
    """Raise in the middle of a step, after the gradient was made."""
    original = loop.step_once

    def dying(session, objective, optimizer, batch):
        if session.progressed.step == step:
            raise Killed
        return original(session, objective, optimizer, batch)

    monkeypatch.setattr(loop, "step_once", dying)


def run_with_kills(config, out, steps, monkeypatch):
    resume = False
    for step in steps:
        with monkeypatch.context() as patch:
            kill_at(patch, step)
            with pytest.raises(Killed):
                launch(config, out, resume=resume, show_progress=False)
        torch.manual_seed(random.randrange(1000))  # a new process has another state
        config, resume = RunFolder(out).config(), True
    return launch(config, out, resume=resume, show_progress=False)


@pytest.mark.parametrize("method", METHODS)
def test_killed_and_resumed_run_equals_the_uninterrupted_one(method, tmp_path, monkeypatch):
    config = make_config(method, tmp_path, log_every_steps=1)
    whole = launch(config, tmp_path / "whole", show_progress=False)
    # Before the first checkpoint, right at one, between two.
    pieces = run_with_kills(config, tmp_path / "pieces", (1, 2, 5), monkeypatch)
    assert_same_tensors(whole.best, pieces.best)
    assert_same_tensors(RunFolder(whole.folder).checkpoint, RunFolder(pieces.folder).checkpoint)
    lines = [
        [(line["step"], line["loss"], line["lr"]) for line in RunFolder(run.folder).metrics()]
        for run in (whole, pieces)
    ]
    assert [step for step, _, _ in lines[0]] == [1, 2, 3, 4, 5, 6]
    assert lines[0] == lines[1]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["clean", "cadfr"])
def test_killed_at_twenty_random_steps_equals_the_uninterrupted_run(method, tmp_path, monkeypatch):
    steps = sorted(random.Random(5).sample(range(40), 20))
    config = make_config(method, tmp_path, budget={"steps": 40}, checkpoint_every_steps=3)
    whole = launch(config, tmp_path / "whole", show_progress=False)
    pieces = run_with_kills(config, tmp_path / "pieces", steps, monkeypatch)
    assert_same_tensors(whole.best, pieces.best)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_says_how_to_resume_and_resumes_to_the_same(number, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGINT)  # a shell's background job ignores it
    config = make_config("supervised", tmp_path)
    whole = launch(config, tmp_path / "whole", show_progress=False)
    original = loop.step_once

    def signalled(session, objective, optimizer, batch):
        losses = original(session, objective, optimizer, batch)
        if session.progressed.step == 2:
            os.kill(os.getpid(), number)
        return losses

    out = tmp_path / "pieces"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "step_once", signalled)
        with pytest.raises(Interrupted) as caught:
            launch(config, out, show_progress=False)
    assert caught.value.exit_code == 130
    assert f"{number.name}: saved at step 3" in str(caught.value)
    assert f"crossface train --resume {out}" in str(caught.value)
    assert not (out / "student.safetensors").exists()
    pieces = launch(RunFolder(out).config(), out, resume=True, show_progress=False)
    assert_same_tensors(whole.best, pieces.best)
    assert signal.getsignal(signal.SIGINT) is before


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    config = make_config("supervised", tmp_path)
    done = launch(config, tmp_path / "run", show_progress=False)
    before = tensors_of(done.best)
    again = launch(config, tmp_path / "run", resume=True, show_progress=False)
    assert again.summary["steps"] == 6
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors_of(again.best).items())


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    launch(make_config("supervised", tmp_path), tmp_path / "run", show_progress=False)
    other = make_config("supervised", tmp_path, seed=4)
    with pytest.raises(WeightsError, match="another configuration"):
        launch(other, tmp_path / "run", resume=True, show_progress=False)


def test_the_calibrated_weights_of_cadfr_survive_a_resume(tmp_path, monkeypatch):
    config = make_config("cadfr", tmp_path, log_every_steps=1)
    done = run_with_kills(config, tmp_path / "run", (4,), monkeypatch)
    weights = {line["weight_attention"] for line in RunFolder(done.folder).metrics()}
    assert len(weights) == 1
    assert weights.pop() > 0


def test_the_deployed_file_holds_only_the_student(tmp_path):
    done = launch(make_config("cadfr", tmp_path), tmp_path / "run", show_progress=False)
    names = set(tensors_of(done.best))
    from crossface.nets import create_model

    assert names == set(create_model("swin_micro", embedding_dim=DIM).state_dict())
    checkpoint = set(tensors_of(RunFolder(done.folder).checkpoint))
    assert not any("swin" in name or name.startswith("objective.teacher") for name in checkpoint)
    assert {n for n in checkpoint if n.startswith("objective.prompted")} == {
        "objective.prompted.prompts.0", "objective.prompted.prompts.1"
    }  # fmt: skip


def poison(monkeypatch, step, what):
    original = loop.step_once

    def poisoned(session, objective, optimizer, batch):
        if session.progressed.step == step:
            what(session, batch)
        return original(session, objective, optimizer, batch)

    monkeypatch.setattr(loop, "step_once", poisoned)


def _nan_weight(session, batch):
    del batch
    with torch.no_grad():
        next(session.objective.student.parameters())[0] = float("nan")


def _nan_gradient(session, batch):
    del batch
    weight = next(session.objective.student.parameters())
    weight.register_hook(lambda gradient: gradient * float("inf"))


@pytest.mark.parametrize("clip", [5.0, None])
@pytest.mark.parametrize(
    ("what", "sentence"), [(_nan_weight, "the loss is not a number at step 3"),
                           (_nan_gradient, "the gradient is not a number at step 3")]
)  # fmt: skip
def test_a_poisoned_step_stops_and_leaves_the_last_checkpoint(
    what, sentence, clip, tmp_path, monkeypatch
):
    config = make_config("supervised", tmp_path, optim={"clip_norm": clip})
    poison(monkeypatch, 3, what)
    with pytest.raises(TrainingStopped, match=sentence) as caught:
        launch(config, tmp_path / "run", show_progress=False)
    assert caught.value.exit_code == 6
    assert "last checkpoint is untouched" in str(caught.value)
    folder = RunFolder(tmp_path / "run")
    assert '"step": 2' in metadata_of(folder.checkpoint)["progressed"]
    assert all(t.isfinite().all() for t in tensors_of(folder.checkpoint).values())
    assert not folder.best.exists()


def test_weights_ruined_by_the_last_step_are_never_saved(tmp_path, monkeypatch):
    original = loop.step_once

    def ruined(session, objective, optimizer, batch):
        losses = original(session, objective, optimizer, batch)
        if session.progressed.step == 3:
            next(session.average.net.parameters())[0] = float("nan")
        return losses

    monkeypatch.setattr(loop, "step_once", ruined)
    config = make_config("supervised", tmp_path)
    with pytest.raises(TrainingStopped, match=r"weights .* are not numbers after step 3"):
        launch(config, tmp_path / "run", show_progress=False)
    checkpoint = RunFolder(tmp_path / "run").checkpoint
    assert '"step": 2' in metadata_of(checkpoint)["progressed"]
    assert not RunFolder(tmp_path / "run").best.exists()


SCRIPT = """
import json, sys, torch
from crossface.training import loop
torch.set_num_threads(1)
from crossface.app.cli import main
original = loop.step_once
def announced(session, *rest):
    print("step", session.progressed.step, flush=True)
    return original(session, *rest)
loop.step_once = announced
main(json.loads(sys.argv[1]))
"""


def start(arguments, cache):
    import json

    environment = {**os.environ, "CROSSFACE_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps([str(a) for a in arguments])],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def wait_for(process, line):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        text = process.stdout.readline()
        if not text or text.strip() == line:
            return
    raise TimeoutError(line)


def test_processes_killed_by_sigterm_and_sigkill_resume_to_the_same_weights(tmp_path):
    config = make_config("supervised", tmp_path, budget={"steps": 40}, checkpoint_every_steps=1)
    whole = launch(config, tmp_path / "whole", show_progress=False)
    from crossface.core.files import write_json
    from crossface.training.config import config_json

    out = tmp_path / "pieces"
    out.mkdir()
    write_json(out / "config.json", config_json(config))
    resume = ["--quiet", "train", "--resume", out]

    first = start(resume, tmp_path / "cache")
    wait_for(first, "step 5")
    first.send_signal(signal.SIGTERM)
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 130, errors
    assert f"--resume {out}" in errors
    assert "Traceback" not in errors
    saved = metadata_of(out / "checkpoint.safetensors")
    assert saved["format"] == "crossface-checkpoint-1"

    second = start(resume, tmp_path / "cache")
    wait_for(second, "step 20")
    second.kill()
    second.communicate(timeout=120)
    assert second.returncode == -signal.SIGKILL
    assert '"step": ' in metadata_of(out / "checkpoint.safetensors")["progressed"]
    (out / ".checkpoint.safetensors.abc.part").write_bytes(b"half")

    pieces = launch(RunFolder(out).config(), out, resume=True, show_progress=False)
    assert_same_tensors(whole.best, pieces.best)
    assert not list(out.glob(".*.part"))
