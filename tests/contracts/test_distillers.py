"""What every distiller of the table must do."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from crossface.nets import create_model
from crossface.nets.checkpoint import load_model, model_digest
from crossface.training.distillers import DISTILLERS
from crossface.training.distillers.base import Context, Signals
from crossface.training.launch import launch
from crossface.training.run import RunFolder
from crossface.training.setup import make_optimizer, prepare
from crossface.training.teachers import FrozenBackbone
from training.fakes import (  # fmt: skip
    DIM,
    SMALL_CADFR,
    PatternFaces,
    contract_of,
    distilled,
    people_folder,
    teacher_file,
    tensors_of,
)

OPTIONS = {
    "adadistill": {"scale": 16.0},
    "cadfr": SMALL_CADFR,
    "concentration": {},
    "dkd": {"scale": 16.0},
    "ekd": {},
    "embedding": {},
    "fitnet": {},
    "gkd": {"scale": 16.0, "group": 3},
    "iled_rpsd": {"bank": 16, "mined": 4},
    "kd": {"scale": 16.0},
    "ofa": {},
    "proxyless": {"scale": 16.0},
    "rkd": {},
    "sp": {},
}
CE = {"base": "ce", "scale": 16.0, "margin": 0.1}
VARIANTS = [
    ("embedding", {}),
    ("cadfr", SMALL_CADFR),
    ("cadfr", {**SMALL_CADFR, "apt": False}),
    ("cadfr", {**SMALL_CADFR, "urfm": False}),
    ("cadfr", {**SMALL_CADFR, "shared": False, "face_distance": "none"}),
    ("cadfr", {**SMALL_CADFR, "labels": True}),
    ("gkd", OPTIONS["gkd"]),
    ("gkd", {**OPTIONS["gkd"], "group": "adaptive", "centres": "teacher"}),
    ("ekd", {}),
    ("ekd", CE),
    ("rkd", {}),
    ("rkd", {"base": "none"}),
    ("sp", {}),
    ("sp", {"form": "rows", **CE}),
    ("iled_rpsd", OPTIONS["iled_rpsd"]),
    ("iled_rpsd", {**OPTIONS["iled_rpsd"], **CE}),
    ("fitnet", {}),
    ("fitnet", {"sp_weight": 0.5}),
    ("fitnet", {"on": "embedding", **CE}),
    ("ofa", {"stages": "blocks.0, blocks.14"}),
    ("ofa", {"space": "logits", **CE}),
    ("concentration", {}),
    ("kd", OPTIONS["kd"]),
    ("kd", {**OPTIONS["kd"], "distil_margin": False, "centres": "teacher"}),
    ("dkd", OPTIONS["dkd"]),
    ("proxyless", OPTIONS["proxyless"]),
    ("adadistill", OPTIONS["adadistill"]),
    ("adadistill", {**OPTIONS["adadistill"], "form": "cosface", "weighted": False}),
]
PEOPLE = 6


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def faces():
    """Pictures (B, 3, 112, 112), labels, and a seeded teacher's unit embeddings of them."""
    source = PatternFaces(people=PEOPLE, each=2)
    crops = np.stack([source.read(n) for n in range(len(source))])
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1
    labels = torch.tensor([int(source.identity(n)) for n in range(len(source))])
    return images, labels


@pytest.fixture(scope="module")
def teacher_path(tmp_path_factory):
    return teacher_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


def make(name, options, teacher_path, faces, *, student=None):
    images, labels = faces
    teacher = FrozenBackbone(load_model(teacher_path).net)
    targets = torch.nn.functional.normalize(teacher(images).detach())
    centres = torch.zeros(PEOPLE, DIM).index_add_(0, labels, targets)
    torch.manual_seed(1)
    others = torch.nn.functional.normalize(torch.randn(len(images), 5))
    student = student or create_model(
        "mobilefacenet", width=0.1, embedding_dim=DIM, last_channels=32
    )
    context = Context(
        student=student,
        feature_teacher=teacher,
        target_dim=DIM,
        classes=PEOPLE,
        class_centres=torch.nn.functional.normalize(centres),
        other_dims=(5,),
    )
    objective = DISTILLERS.resolve(name)(context, **options)
    objective.train()
    return objective, teacher, Signals(images, targets, labels, (others,))


def test_every_distiller_of_the_table_has_a_case_here_and_a_line_in_the_page():
    assert sorted(OPTIONS) == DISTILLERS.names()
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    page = page.partition("\n## ")[0]  # the table of methods; that of their cost comes later
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == DISTILLERS.names()


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_twenty_steps_lower_the_loss_and_leave_the_teacher_as_it_was(
    name, options, teacher_path, faces
):
    objective, teacher, signals = make(name, options, teacher_path, faces)
    before = model_digest(teacher)
    objective.progress = 1.0  # all ramps are over
    optimizer = torch.optim.AdamW(
        [p for p in objective.parameters() if p.requires_grad], lr=3e-3, weight_decay=0.0
    )
    history = []
    for _ in range(20):
        objective.train()
        losses = objective(signals)
        assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        history.append(float(losses["loss"].detach()))
    assert np.mean(history[-3:]) < history[0]
    assert model_digest(teacher) == before
    assert not teacher.training
    assert not any(module.training for module in teacher.modules())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_gradient_reaches_everything_that_learns(name, options, teacher_path, faces):
    objective, _, signals = make(name, options, teacher_path, faces)
    objective.progress = 1.0
    objective(signals)["loss"].backward()
    silent = [n for n, p in objective.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []
    learning = {n for n, p in objective.named_parameters() if p.requires_grad}
    assert any(n.startswith("student.") for n in learning)
    if name == "cadfr":
        prompts = [p for n, p in objective.named_parameters() if "prompts" in n]
        assert len(prompts) == (2 if options.get("apt", True) else 0)
        assert all(float(p.grad.abs().sum()) > 0 for p in prompts)
        mapped = [p for n, p in objective.named_parameters() if n.startswith("urfm.")]
        assert bool(mapped) == options.get("urfm", True)
        assert all(float(p.grad.abs().sum()) > 0 for p in mapped if p.ndim == 2)


def test_embedding_is_zero_for_a_student_that_is_its_teacher(teacher_path, faces):
    net = load_model(teacher_path).net
    objective, _, signals = make("embedding", {}, teacher_path, faces, student=net)
    assert float(objective.eval()(signals)["loss"].detach()) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["dkd", "gkd", "kd"])
@pytest.mark.parametrize("margin", [True, False])
def test_logit_distillation_is_zero_for_the_teachers_own_logits(name, margin, teacher_path, faces):
    net = load_model(teacher_path).net
    options = {**OPTIONS[name], "centres": "teacher", "distil_margin": margin}
    objective, _, signals = make(name, options, teacher_path, faces, student=net)
    assert float(objective.eval()(signals)[name].detach()) == pytest.approx(0, abs=1e-5)


def test_similarities_stand_beside_any_term_at_their_weight(teacher_path, faces):
    """Against the definition, pair by pair."""
    plain, _, signals = make("fitnet", {}, teacher_path, faces)
    joined, _, _ = make("fitnet", {"sp_weight": 3.0}, teacher_path, faces)
    joined.load_state_dict(plain.state_dict())
    plain.eval(), joined.eval()
    mine = torch.nn.functional.normalize(plain.student_embedding(signals.images).detach())
    theirs = signals.targets
    pairs = [
        (float(mine[a] @ mine[b]) - float(theirs[a] @ theirs[b])) ** 2
        for a in range(len(mine))
        for b in range(len(mine))
    ]
    gained = float((joined(signals)["loss"] - plain(signals)["loss"]).detach())
    assert gained == pytest.approx(3.0 * sum(pairs) / len(pairs), rel=1e-4)


def test_cadfr_without_its_terms_is_embedding_regression(teacher_path, faces):
    """Before the ramp only the student's and the prompts' own terms count."""
    objective, _, signals = make("cadfr", SMALL_CADFR, teacher_path, faces)
    plain, _, _ = make("embedding", {}, teacher_path, faces, student=objective.student)
    objective.progress = 0.0
    losses = objective(signals)
    torch.testing.assert_close(losses["student"], plain(signals)["loss"])
    torch.testing.assert_close(losses["loss"], losses["student"] + losses["prompt"])


def test_cadfr_weights_start_each_term_at_its_share_of_the_pull(teacher_path, faces):
    """The pull is the gradient at the student's pixel features, here taken once more."""
    automatic = {**SMALL_CADFR, "attention_weight": None, "feature_weight": None}
    objective, _, signals = make("cadfr", automatic, teacher_path, faces)
    seen = []
    plain = objective.run_student

    def watched(images):
        embedding, features = plain(images)
        seen.append(features.tokens)
        return embedding, features

    objective.run_student = watched
    losses = objective(signals)
    pulls = {
        name: float(torch.autograd.grad(losses[name], seen[0], retain_graph=True)[0].norm())
        for name in ("student", "attention", "feature")
    }
    for slot, name in enumerate(("attention", "feature")):
        share = float(objective.weights[slot]) * pulls[name] / pulls["student"]
        assert share == pytest.approx(0.1, rel=1e-3)
    kept = objective.weights.clone()
    objective(Signals(signals.images.flip(0), signals.targets, signals.labels))
    assert torch.equal(objective.weights, kept)


def test_cadfr_accepts_grids_of_different_size(teacher_path, faces, tmp_path):
    nano = teacher_file(tmp_path / "nano.safetensors", "swin_nano")
    student = create_model("swin_micro", embedding_dim=DIM)
    for path, other in ((nano, None), (teacher_path, student)):
        objective, teacher, signals = make("cadfr", SMALL_CADFR, path, faces, student=other)
        pair_before = objective(signals)
        assert pair_before["loss"].isfinite()
        tokens = objective.prompted.forward_features(signals.images[:2]).tokens.shape[1]
        assert tokens == teacher.grid_hw[0] * teacher.grid_hw[1] + 2
    for side in ("teacher", "student"):
        attention = getattr(objective._newest, f"pixel_attention_{side}")
        torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))


def test_prompts_do_not_carry_anything_from_picture_to_picture(teacher_path, faces):
    objective, _, signals = make("cadfr", SMALL_CADFR, teacher_path, faces)
    prompted = objective.prompted.eval()
    other = signals.images[:2].clone()
    other[1] = signals.images[5]
    with torch.no_grad():
        first = prompted.forward_features(signals.images[:2]).tokens[0]
        second = prompted.forward_features(other).tokens[0]
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


def test_no_weight_decay_on_prompts_codes_norms_and_biases(teacher_path, faces, tmp_path):
    objective, _, _ = make("cadfr", SMALL_CADFR, teacher_path, faces)
    config = distilled("unused", teacher_path, "cadfr", SMALL_CADFR)
    optimizer = make_optimizer(config, objective)
    names = {id(p): n for n, p in objective.named_parameters()}
    free = {names[id(p)] for p in optimizer.param_groups[1]["params"]}
    assert optimizer.param_groups[1]["weight_decay"] == 0
    assert {"prompted.prompts.0", "urfm.fields.0.bucket", "anchor.bias"} <= free
    decayed = {names[id(p)] for p in optimizer.param_groups[0]["params"]}
    assert {"urfm.fields.0.to_query.weight", "anchor.weight"} <= decayed
    everything = {n for n, p in objective.named_parameters() if p.requires_grad}
    assert free | decayed == everything


@pytest.mark.parametrize(
    ("name", "options", "shares"),
    [
        ("embedding", {}, True),
        ("cadfr", SMALL_CADFR, True),
        ("cadfr", {**SMALL_CADFR, "labels": True}, False),
        ("gkd", OPTIONS["gkd"], False),
        ("gkd", {**OPTIONS["gkd"], "centres": "teacher"}, True),
        ("rkd", {}, True),
        ("rkd", {"base": "none"}, False),
        ("ekd", CE, False),
        ("dkd", OPTIONS["dkd"], False),
        ("iled_rpsd", OPTIONS["iled_rpsd"], True),
        ("fitnet", {}, True),
        ("ofa", {"space": "logits", "scale": 16.0}, True),
        ("proxyless", OPTIONS["proxyless"], True),
        ("adadistill", OPTIONS["adadistill"], True),
    ],
)
def test_a_run_leaves_only_the_student_in_the_space_it_was_trained_into(
    name, options, shares, teacher_path, tmp_path, monkeypatch
):
    monkeypatch.setenv("CROSSFACE_CACHE", str(tmp_path / "cache"))
    people_folder(tmp_path / "people", people=4)
    config = distilled(
        tmp_path / "people", teacher_path, name, options, budget={"steps": 2}, log_every_steps=1
    )
    done = launch(config, tmp_path / "run", show_progress=False)
    teacher = contract_of(teacher_path)
    student = contract_of(done.best)
    assert (student["space_id"] == teacher["space_id"]) is shares
    plain = create_model("mobilefacenet", width=0.1, embedding_dim=DIM, last_channels=64)
    assert set(tensors_of(done.best)) == set(plain.state_dict())
    lines = RunFolder(done.folder).metrics()
    if name == "cadfr":
        for monitor in ("h_variance", "pixel_entropy", "effective_rank"):
            assert {f"urfm_{monitor}_teacher", f"urfm_{monitor}_student"} <= lines[-1].keys()
    if name == "gkd":
        assert lines[-1]["group_size"] == 3


def test_gkd_learns_from_pseudo_identities_without_labels(teacher_path, tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSFACE_CACHE", str(tmp_path / "cache"))
    people_folder(tmp_path / "people", people=4)
    config = distilled(
        tmp_path / "people", teacher_path, "gkd", OPTIONS["gkd"], budget={"steps": 1},
        data={"labels": "none", "pseudo_identities": 4},
    )  # fmt: skip
    made = prepare(config, RunFolder(tmp_path / "run"), show_progress=False)
    assert 2 <= len(made.loader.classes) <= 4
    assert all(name.startswith("pseudo_") for name in made.loader.classes)
    launch(config, tmp_path / "run", show_progress=False)
