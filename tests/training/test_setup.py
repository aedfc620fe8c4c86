"""What does not fit together is refused in one sentence, before a run folder exists."""

import json

import numpy as np
import pytest
import torch

from crossface.core.contract import InputSpec
from crossface.core.errors import (
    ConfigError,
    ContractMismatch,
    CrossfaceError,
    ImageError,
    UnknownName,
    WeightsError,
)
from crossface.data.dataset import LabelledView
from crossface.training import setup
from crossface.training.config import public_config
from crossface.training.launch import launch
from crossface.training.run import RunFolder, git_commit
from crossface.training.schema import DataConfig
from training.fakes import (
    DIM,
    SMALL_CADFR,
    MeanColours,
    PatternFaces,
    distilled,
    people_folder,
    session,
    supervised,
    teacher_file,
    tensors_of,
)

UNLABELLED = {"labels": "none"}


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    people_folder(folder / "people", people=4)
    teacher_file(folder / "teacher.safetensors")
    teacher_file(folder / "stranger.safetensors", seed=8)
    teacher_file(folder / "cnn.safetensors", "mobilefacenet", width=0.1, last_channels=32)
    teacher_file(folder / "bgr.safetensors", spec=InputSpec(channel_order="bgr"))
    (folder / "text.onnx").write_text("not a model")
    (folder / "text.safetensors").write_text("not a model")
    return folder


def refused(config, tmp_path, kind=CrossfaceError):
    out = tmp_path / "run"
    with pytest.raises(kind) as caught:
        launch(config, out, show_progress=False)
    assert not out.exists()
    text = str(caught.value)
    assert "\n" not in text
    return text, caught.value.exit_code


def over(room, name="embedding", options=None, file="teacher.safetensors", **changes):
    return distilled(room / "people", room / file, name, options, **changes)


CASES = {
    "onnx shows no features": (
        lambda r: over(r, "cadfr", {}, teacher={"features": str(r / "some.onnx")}),
        "an ONNX teacher shows no pixel features", 2),
    "features of another space": (
        lambda r: over(r, "cadfr", {}, teacher={"features": str(r / "stranger.safetensors")}),
        "features and targets must come from one space", 5),
    "features of another crop": (
        lambda r: over(r, "cadfr", {}, "bgr.safetensors"),
        "must see the student's own crop", 5),
    "prompts need a swin": (
        lambda r: over(r, "cadfr", {}, "cnn.safetensors"),
        "the feature teacher is MobileFaceNet", 2),
    "nothing of cadfr left": (
        lambda r: over(r, "cadfr", {"urfm": False, "apt": False}), "is 'embedding'", 2),
    "unknown distiller": (lambda r: over(r, "cadfrr"), "did you mean cadfr?", 2),
    "unknown option": (lambda r: over(r, "cadfr", {"prompt": 3}), "prompt", 2),
    "centres not square": (
        lambda r: over(r, "cadfr", {"centres": 50}), "centres must be a square number, got 50", 2),
    "gkd without labels": (
        lambda r: over(r, "gkd", data=UNLABELLED), "data.pseudo_identities = N", 2),
    "several teachers for one": (
        lambda r: over(r, teacher={"others": [str(r / "stranger.safetensors")]}),
        "distiller 'embedding' has no use for teacher.others", 2),
    "concentration of one": (
        lambda r: over(r, "concentration"), "teacher.others = [...]", 2),
    "another teacher not there": (
        lambda r: over(r, "concentration", teacher={"others": [str(r / "gone.onnx")]}),
        "gone.onnx", 4),
    "stage not there": (
        lambda r: over(r, "ofa", {"stages": "blocks.99"}), "its stages are blocks.4, blocks", 2),
    "no base of that name": (
        lambda r: over(r, "rkd", {"base": "cosface"}), "'embedding', 'ce' or 'none'", 2),
    "unknown option of a grounded one": (lambda r: over(r, "sp", {"gamma": 1}), "gamma", 2),
    "gkd of mixed people": (
        lambda r: over(r, "gkd", teacher={"view": "same", "mix": 0.5}),
        "teacher.mix = 0.5 mixes people", 2),
    "gkd group": (lambda r: over(r, "gkd", {"group": "all"}), "group must be a number", 2),
    "gkd margin": (lambda r: over(r, "gkd", {"margin": 3.0}), "margin must lie in [0, 2)", 2),
    "gkd centres": (lambda r: over(r, "gkd", {"centres": "mine"}), "'own' or 'teacher'", 2),
    "too many pseudo-identities": (
        lambda r: over(r, "gkd", data={**UNLABELLED, "pseudo_identities": 99}),
        "data.pseudo_identities must lie in 1..16", 2),
    "labels and pseudo-identities": (
        lambda r: over(r, "gkd", data={"pseudo_identities": 3}), "identities of its own", 2),
    "no such data": (
        lambda r: supervised(r / "gone.zip"), "there is no such file or folder", 4),
    "batch larger than the set": (
        lambda r: supervised(r / "people", batch_size=64),
        "a batch takes 64 pictures, the set has 16", 2),
    "holdout of everything": (
        lambda r: supervised(r / "people", data={"holdout": 4}), "count of a split", 2),
    "unlabelled training": (
        lambda r: supervised(r / "people", data=UNLABELLED), "at least 2 identities, got 0", 2),
    "unknown preset": (
        lambda r: supervised(r / "people", data={"augment": "heavy"}), "augment must be one of", 2),
    "fp16 on a CPU": (
        lambda r: supervised(r / "people", precision="fp16"), "'fp16' is not trained on a CPU", 2),
    "device not there": (
        lambda r: supervised(r / "people", device="cuda:77"), "device 'cuda:77' is not avail", 2),
    "device of no kind": (
        lambda r: supervised(r / "people", device="cuda:x"), "available: cpu", 2),
    "numbered cpu": (lambda r: supervised(r / "people", device="cpu:1"), "available: cpu", 2),
    "unknown head": (
        lambda r: supervised(r / "people", head={"name": "arcfac"}), "did you mean arcface", 2),
    "margin out of range": (
        lambda r: supervised(r / "people", head={"name": "cosface", "options": {"margin": 2.5}}),
        "head 'cosface': margin must lie in [0, 2), got 2.5", 2),
    "unknown head option": (
        lambda r: supervised(r / "people", head={"name": "cosface", "options": {"m": 1}}),
        "head 'cosface'", 2),
    "unknown metric": (
        lambda r: supervised(r / "people", metric={"name": "tripled"}), "did you mean triplet", 2),
    "metric that wants more": (
        lambda r: supervised(r / "people", metric={"name": "harmonic_triplet"}),
        "metric 'harmonic_triplet'", 2),
    "metric option out of range": (
        lambda r: supervised(r / "people", metric={"options": {"margin": -1.0}}),
        "metric 'triplet': margin must be positive", 2),
    "more hard classes than classes": (
        lambda r: supervised(r / "people", head=None, collaborative={}),
        "collaborative: hard_classes must lie in 1..4, got 30", 2),
    "collaboration without labels": (
        lambda r: supervised(r / "people", head=None, collaborative={}, data=UNLABELLED),
        "collaborative: needs at least 2 identities, got 0", 2),
    "unknown student": (
        lambda r: supervised(r / "people", student={"name": "mobilfacenet", "options": {}}),
        "did you mean mobilefacenet", 2),
    "student of another dimension": (
        lambda r: over(r, student={"options": {"embedding_dim": 7}}),
        "the teacher's embedding has 16", 2),
    "teacher not there": (
        lambda r: over(r, file="gone.safetensors"), "gone.safetensors", 4),
    "teacher a text file": (lambda r: over(r, file="text.onnx"), "text.onnx", 4),
    "teacher a text file too": (
        lambda r: over(r, file="text.safetensors"), "text.safetensors", 4),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_cannot_start_says_why_and_leaves_nothing(case, room, tmp_path):
    make, sentence, code = CASES[case]
    text, exit_code = refused(make(room), tmp_path)
    assert sentence in text
    assert exit_code == code


def test_a_broken_picture_stops_a_run_before_its_folder_exists(tmp_path):
    folder = people_folder(tmp_path / "people", people=4)
    victim = folder / "001" / "002.png"
    victim.write_bytes(victim.read_bytes()[:300])
    text, code = refused(supervised(folder), tmp_path, ImageError)
    assert "people: 001/002: broken or truncated" in text
    assert code == 4


def test_a_folder_with_a_run_is_refused_before_any_work(room, tmp_path, monkeypatch):
    config = supervised(room / "people", budget={"steps": 1})
    launch(config, tmp_path / "run", show_progress=False)
    before = (tmp_path / "run" / "student.safetensors").read_bytes()
    monkeypatch.setattr("crossface.training.launch.prepare", None)
    with pytest.raises(ConfigError, match="already holds a run; go on with it by --resume"):
        launch(config, tmp_path / "run", show_progress=False)
    assert (tmp_path / "run" / "student.safetensors").read_bytes() == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="a run folder is needed, this is a file"):
        launch(config, tmp_path / "file", show_progress=False)


def test_bf16_trains_on_a_cpu(room, tmp_path):
    config = supervised(room / "people", precision="bf16", budget={"steps": 1})
    done = launch(config, tmp_path / "run", show_progress=False)
    assert all(t.dtype != torch.bfloat16 for t in tensors_of(done.best).values())


def test_sgd_without_momentum_is_allowed(room, tmp_path):
    config = supervised(room / "people", optim={"name": "sgd", "momentum": 0.0})
    assert not session(config, tmp_path).optimizer.param_groups[0]["nesterov"]


def test_the_run_folder_holds_what_decided_the_run(room, tmp_path):
    config = over(
        room, "embedding", data={"holdout": 1}, budget={"steps": 3}, validate_every_steps=2
    )
    done = launch(config, tmp_path / "run", show_progress=False)
    folder = RunFolder(done.folder)
    assert folder.config() == config
    facts = json.loads((done.folder / "environment.json").read_text())
    assert {"crossface", "python", "versions", "machine", "seed", "data"} <= facts.keys()
    assert facts["data"]["pictures"] == 12
    assert facts["steps_per_epoch"] == 1
    assert set(json.loads((done.folder / "summary.json").read_text())) == set(done.summary)
    lines = folder.metrics()
    assert [line["step"] for line in lines if "val_cosine" in line] == [2, 3]
    assert -1 <= done.summary["val_cosine"] <= 1


def test_a_hold_out_of_one_person_ends_in_a_summary_that_is_json(room, tmp_path):
    config = supervised(room / "people", data={"holdout": 1}, budget={"steps": 1})
    done = launch(config, tmp_path / "run", show_progress=False)
    assert "val_auc" not in done.summary


def test_class_centres_are_unit_means_and_leave_out_unlabelled_pictures(tmp_path):
    faces = PatternFaces(people=3, each=2)
    names = ["a", "b", None, "a", "b", "b"]
    pictures = setup.Pictures(LabelledView(faces, identities=names), None)
    teacher = MeanColours()
    found = setup.class_centres(teacher, pictures, show_progress=False).numpy()
    for row, name in enumerate(("a", "b")):
        members = [n for n, own in enumerate(names) if own == name]
        total = np.zeros(12)
        for n in members:
            crop = faces.read(n)
            both = sum(
                v / np.linalg.norm(v)
                for v in (teacher.embed(c[None])[0].astype(float) for c in (crop, crop[:, ::-1]))
            )
            total += both / np.linalg.norm(both)
        np.testing.assert_allclose(found[row], total / np.linalg.norm(total), atol=2e-3)


def test_a_period_of_views_repeats_the_augmentation_only_for_a_teacher_of_the_same_view(room):
    for view, period in (("same", 2), ("clean", 0)):
        config = over(room, teacher={"view": view, "views": 2})
        assert setup._augment_period(config.teacher) == period


def test_the_teacher_may_be_gone_when_the_run_ends(room, tmp_path):
    teacher = tmp_path / "teacher.safetensors"
    teacher.write_bytes((room / "teacher.safetensors").read_bytes())
    config = distilled(room / "people", teacher, budget={"steps": 1})
    made = session(config, tmp_path)
    teacher.unlink()
    assert made.teacher_contracts[0].dim == DIM


def test_the_commit_is_that_of_our_tree_or_none():
    commit = git_commit()
    assert commit is None or len(commit.rstrip("+")) == 12


def test_errors_have_the_kinds_their_codes_stand_for(room, tmp_path):
    kinds = {"unknown distiller": UnknownName, "teacher a text file": WeightsError,
             "features of another space": ContractMismatch}  # fmt: skip
    for case, kind in kinds.items():
        refused(CASES[case][0](room), tmp_path, kind)


def test_cadfr_over_small_options_prepares(room, tmp_path):
    made = session(over(room, "cadfr", SMALL_CADFR), tmp_path)
    assert made.objective.prompted is not None


def test_excluded_pictures_take_no_part_and_the_card_names_the_list(room, tmp_path):
    everything = setup.read_pictures(
        DataConfig(path=str(room / "people")), show_progress=False
    ).train
    listed = tmp_path / "known.txt"
    listed.write_text(f"{everything.key(0)}\n", encoding="utf-8")
    config = supervised(room / "people", data={"exclude": str(listed), "holdout": 1})
    pictures = setup.read_pictures(config.data, show_progress=False)
    parts = (pictures.train, pictures.holdout)
    kept = [part.key(i) for part in parts for i in range(len(part))]
    assert len(kept) == len(everything) - 1
    assert everything.key(0) not in kept
    assert public_config(config)["data"]["exclude"] == "known.txt"
