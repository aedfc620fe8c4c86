"""Every head of the table can be named in a configuration, and what it learns goes on."""

import pytest
import torch

from crossface.losses import HEADS
from crossface.losses.triplet import triplet_loss
from crossface.training.distillers.base import Signals
from crossface.training.launch import launch
from crossface.training.run import RunFolder
from crossface.training.supervised import Supervised
from training.fakes import people_folder, session, supervised, tensors_of


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return people_folder(tmp_path_factory.mktemp("faces") / "people")


@pytest.mark.parametrize("name", HEADS.names())
def test_twenty_steps_with_a_head_lower_its_loss(name, people, tmp_path):
    config = supervised(
        people, head={"name": name, "options": {"scale": 16.0}}, budget={"steps": 20},
        optim={"lr": 3e-3}, log_every_steps=5, checkpoint_every_steps=20,
    )  # fmt: skip
    done = launch(config, tmp_path / "run", show_progress=False)
    losses = [line["loss"] for line in RunFolder(done.folder).metrics()]
    assert losses[-1] < losses[0]
    assert all(tensor.isfinite().all() for tensor in tensors_of(done.best).values())


@pytest.mark.parametrize("name", HEADS.names())
def test_building_a_head_leaves_its_statistics_at_their_start(name, people, tmp_path):
    made = session(supervised(people, head={"name": name}), tmp_path).objective
    assert isinstance(made, Supervised)
    assert made.head.training
    fresh = dict(HEADS.resolve(name)(6, 16).named_buffers())
    for key, value in made.head.named_buffers():
        assert torch.equal(value, fresh[key])


def test_the_parts_of_magface_are_logged(people, tmp_path):
    config = supervised(people, head={"name": "magface"}, budget={"steps": 1}, log_every_steps=1)
    line = RunFolder(launch(config, tmp_path / "run", show_progress=False).folder).metrics()[-1]
    assert line["loss"] == pytest.approx(line["ce"] + 35 * line["magnitude"], rel=1e-5)


def test_triplets_alone_train_at_128_dimensions(people, tmp_path):
    student = {"name": "mobilefacenet", "options": {"embedding_dim": 128, "width": 0.1}}
    config = supervised(
        people, student=student, head=None, metric={"name": "triplet", "options": {"margin": 0.3}},
        data={"per_identity": 4}, budget={"steps": 20}, log_every_steps=5,
        checkpoint_every_steps=20, optim={"lr": 3e-3},
    )  # fmt: skip
    lines = RunFolder(launch(config, tmp_path / "run", show_progress=False).folder).metrics()
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert all(line["loss"] == line["metric"] for line in lines)


def test_a_metric_joins_a_head_by_its_weight(people, tmp_path):
    metric = {"name": "triplet", "weight": 0.5}
    made = session(supervised(people, metric=metric), tmp_path)
    batch = made.loader.batch(0)
    embedding = made.objective.eval().student(batch.images)
    made.objective.run_student = lambda images: embedding
    losses = made.objective(Signals(batch.images, None, batch.labels))
    head = made.objective.head.loss(embedding, batch.labels)["loss"]
    expected = head + 0.5 * triplet_loss(embedding, batch.labels)
    torch.testing.assert_close(losses["loss"], expected)
