"""A student that starts from the weights of an older one."""

import json

import pytest
import torch

from crossface.core.errors import ConfigError, WeightsError
from crossface.nets.checkpoint import load_model, model_digest
from crossface.training.launch import launch
from crossface.training.students import make_student
from training.fakes import DIM, people_folder, supervised, teacher_file

OWN = {"width": 0.125, "last_channels": 64}


def started(data, weights, **more):
    """A run whose student starts from the file ``weights``."""
    own = {"name": "mobilefacenet", "options": {"embedding_dim": DIM, **OWN}}
    return supervised(data, student={**own, "weights": str(weights), **more})


def start_file(folder, name="mobilefacenet", **options):
    return teacher_file(folder / "start.safetensors", name, **options)


def test_the_weights_are_those_of_the_file(tmp_path):
    path = start_file(tmp_path, **OWN)
    config = started(tmp_path, path)
    torch.manual_seed(99)
    assert model_digest(make_student(config, None)) == model_digest(load_model(path).net)


def test_the_card_says_what_the_student_started_from(tmp_path):
    path = start_file(tmp_path, **OWN)
    people_folder(tmp_path / "people", people=4)
    config = started(tmp_path / "people", path)
    run = launch(config, tmp_path / "run", show_progress=False)
    card = load_model(run.best).training
    assert card["started_from"] == {
        "file": "start.safetensors",
        "digest": model_digest(load_model(path).net),
        "training": {},
    }
    assert str(tmp_path) not in json.dumps(card)


def test_a_narrower_network_is_widened_where_that_is_said(tmp_path):
    path = start_file(tmp_path, width=0.1, last_channels=32)
    net = make_student(started(tmp_path, path, widen=True), None).eval()
    pictures = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(net(pictures), load_model(path).net.eval()(pictures), atol=1e-5)


def test_a_wider_network_is_not_narrowed(tmp_path):
    path = start_file(tmp_path, width=0.2, last_channels=64)
    with pytest.raises(ConfigError, match=r"student.widen: start.safetensors .* does not fit into"):
        make_student(started(tmp_path, path, widen=True), None)


@pytest.mark.parametrize(
    ("name", "options"),
    [("mobilefacenet", {"width": 0.2, "last_channels": 64}), ("swin_micro", {})],
    ids=["width", "architecture"],
)
def test_weights_of_another_network_are_refused(tmp_path, name, options):
    config = started(tmp_path, start_file(tmp_path, name, **options))
    with pytest.raises(ConfigError, match=f"start.safetensors is a {name}.* the student a mobile"):
        make_student(config, None)


def test_missing_weights_are_an_error(tmp_path):
    config = started(tmp_path, tmp_path / "gone.safetensors")
    with pytest.raises(WeightsError, match=r"gone.safetensors"):
        make_student(config, None)
