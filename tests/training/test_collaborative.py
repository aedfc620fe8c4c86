"""Students that learn together, in a run."""

import pytest
import torch

from crossface.losses.ncl import NestedCollaborative
from crossface.training.distillers.base import Signals
from crossface.training.launch import launch
from crossface.training.run import RunFolder
from training.fakes import DIM, people_folder, session, supervised, tensors_of


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return people_folder(tmp_path_factory.mktemp("faces") / "people")


def together(people, **changes):
    options = {"students": 3, "copies": 2, "scale": 8.0, "hard_classes": 3}
    return supervised(people, head=None, collaborative=options, **changes)


def test_twenty_steps_lower_the_loss_and_one_student_is_kept(people, tmp_path):
    config = together(people, budget={"steps": 20}, log_every_steps=5, optim={"lr": 3e-3})
    done = launch(config, tmp_path / "run", show_progress=False)
    lines = RunFolder(done.folder).metrics()
    assert lines[-1]["loss"] < lines[0]["loss"]
    for line in lines:
        parts = line["individual"] + line["intra"] + line["inter"]
        assert line["loss"] == pytest.approx(parts, rel=1e-5)
    plain = session(supervised(people), tmp_path).objective.student
    assert set(tensors_of(done.best)) == set(plain.state_dict())


def test_the_loss_is_that_of_every_students_cosines_of_both_copies(people, tmp_path):
    made = session(together(people), tmp_path)
    objective, batch = made.objective.eval(), made.loader.batch(0)
    nets = [objective.student, *objective.others]
    assert len({float(next(net.parameters()).detach().sum()) for net in nets}) == 3
    with torch.no_grad():
        got = objective(Signals(batch.images, None, batch.labels))
        logits = torch.empty(3, 2, len(batch), 6)
        for k, (net, head) in enumerate(zip(nets, objective.heads, strict=True)):
            for a, images in enumerate((batch.images, batch.images.flip(-1))):
                for n, embedding in enumerate(net(images)):
                    assert embedding.shape == (DIM,)
                    for c, centre in enumerate(head.centres):
                        cosine = embedding @ centre / (embedding.norm() * centre.norm())
                        logits[k, a, n, c] = 8.0 * cosine
        nested = NestedCollaborative(torch.full((6,), 4), hard_classes=3)
        expected = nested.parts(logits, batch.labels)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-5)


def test_every_student_gets_a_gradient(people, tmp_path):
    made = session(together(people), tmp_path)
    batch = made.loader.batch(0)
    made.objective(Signals(batch.images, None, batch.labels))["loss"].backward()
    silent = [n for n, p in made.objective.named_parameters() if p.grad is None]
    assert silent == []
