"""SAM and SAGM against their formulas on a quadratic, and inside the loop."""

import copy

import pytest
import torch
from torch import nn

from crossface.core.errors import TrainingStopped
from crossface.training.launch import launch
from crossface.training.loop import step_once
from crossface.training.muon import MuonAdamW
from crossface.training.sharpness import sharpen
from training.fakes import DIM, people_folder, session, supervised, tensors_of

RHO, ALPHA = 0.3, 0.02
BOWL = torch.diag(torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64))
START = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)


def bowl(scale=1.0):
    """L(w) = w' A w / 2 over two parameters, whose gradient is A w."""
    parts = [nn.Parameter(START[:2].clone()), nn.Parameter(START[2:].clone())]

    def again():
        for part in parts:
            part.grad = None
        w = torch.cat(parts)
        (scale * 0.5 * w @ BOWL @ w).backward()

    again()
    return parts, again


def expected(kind, rho=RHO, alpha=ALPHA):
    """The formula with the gradient written out."""
    g = BOWL @ START
    norm = float(sum(value**2 for value in g.tolist())) ** 0.5
    if kind == "sam":
        return BOWL @ (START + rho * g / norm)
    return 0.5 * g + 0.5 * BOWL @ (START + (rho / norm - alpha) * g)


def gradients(parts):
    return torch.cat([part.grad for part in parts])


@pytest.mark.parametrize("kind", ["sam", "sagm"])
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_the_gradient_is_that_of_the_formula_whatever_the_loss_scale(kind, scale):
    parts, again = bowl(scale)
    assert sharpen(parts, again, kind=kind, rho=RHO, alpha=ALPHA, gradient_scale=scale)
    torch.testing.assert_close(gradients(parts) / scale, expected(kind), rtol=1e-6, atol=1e-6)
    assert torch.equal(torch.cat([p.detach() for p in parts]), START)


def test_sagm_without_alpha_is_the_mean_of_plain_and_sam():
    parts, again = bowl()
    sharpen(parts, again, kind="sagm", rho=RHO, alpha=0.0)
    torch.testing.assert_close(
        gradients(parts), 0.5 * (BOWL @ START + expected("sam")), rtol=1e-6, atol=1e-6
    )


def test_sagm_that_does_not_move_gives_the_plain_gradient():
    parts, again = bowl()
    norm = float((BOWL @ START).norm())
    sharpen(parts, again, kind="sagm", rho=RHO, alpha=RHO / norm)
    torch.testing.assert_close(gradients(parts), BOWL @ START, rtol=1e-6, atol=1e-6)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1),
    "muon": lambda p: MuonAdamW([{"params": p}], lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["sam", "sagm"])
def test_any_optimiser_steps_with_it(kind, name):
    parts, again = bowl()
    optimizer = OPTIMIZERS[name](parts)
    sharpen(parts, again, kind=kind, rho=RHO, alpha=ALPHA)
    optimizer.step()
    other, _ = bowl()
    reference = OPTIMIZERS[name](other)
    for part, gradient in zip(other, expected(kind).split([2, 1]), strict=True):
        part.grad = gradient.clone()
    reference.step()
    for mine, theirs in zip(parts, other, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["sam", "sagm"])
def test_a_loss_scaler_unscales_it_once(kind):
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    parts, _ = bowl()
    optimizer = torch.optim.SGD(parts, lr=0.1)

    def again():
        optimizer.zero_grad()
        w = torch.cat(parts)
        scaler.scale(0.5 * w @ BOWL @ w).backward()

    again()
    sharpen(parts, again, kind=kind, rho=RHO, alpha=ALPHA, gradient_scale=scaler.get_scale())
    scaler.step(optimizer)
    scaler.update()
    stepped = torch.cat([part.detach() for part in parts])
    torch.testing.assert_close(stepped, START - 0.1 * expected(kind), rtol=1e-6, atol=1e-6)


def test_a_gradient_that_overflowed_is_left_and_nothing_moves():
    parts, _ = bowl()
    parts[1].grad.fill_(float("inf"))
    assert not sharpen(parts, lambda: pytest.fail("a second pass"), kind="sam", rho=RHO)
    assert parts[1].grad.isinf().all()
    assert torch.equal(torch.cat([p.detach() for p in parts]), START)


def test_a_second_pass_that_fails_leaves_weights_and_statistics():
    parts, _ = bowl()
    norm = nn.BatchNorm1d(3)

    def failing():
        norm(torch.randn(4, 3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sharpen(parts, failing, kind="sam", rho=RHO, module=norm)
    assert torch.equal(torch.cat([p.detach() for p in parts]), START)
    assert norm.running_mean.eq(0).all()
    assert norm.num_batches_tracked == 0


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return people_folder(tmp_path_factory.mktemp("faces") / "people")


def one_step(config, tmp_path):
    """Session and batch after one step, the objective as it was before, and how often it ran."""
    made = session(config, tmp_path)
    before = copy.deepcopy(made.objective)
    calls = []
    objective, optimizer = made.fabric.setup(made.objective, made.optimizer)
    objective.train()
    made.objective.register_forward_hook(lambda *_: calls.append(1))
    batch = made.loader.batch(0)
    step_once(made, objective, optimizer, batch)
    return made, before.train(), batch, len(calls)


@pytest.mark.parametrize("kind", ["sam", "sagm"])
def test_a_step_of_the_loop_is_that_of_a_loop_written_out(kind, people, tmp_path):
    optim = {"name": "sgd", "momentum": 0.0, "weight_decay": 0.0, "warmup_fraction": 0.0,
             "lr": 0.1, "clip_norm": None}  # fmt: skip
    config = supervised(
        people,
        student={"name": "swin_micro", "options": {"embedding_dim": DIM}},  # smooth: no kinks
        optim={**optim, "sharpness": kind, "rho": RHO, "alpha": ALPHA},
    )
    made, net, batch, passes = one_step(config, tmp_path)
    assert passes == 2
    from crossface.training.distillers.base import Signals

    signals = Signals(batch.images, None, batch.labels)
    net.run_student = net.student.forward  # the copy's own, not the original's
    weights = list(net.parameters())
    g = torch.autograd.grad(net(signals)["loss"], weights)
    once = {name: value.clone() for name, value in net.named_buffers()}
    norm = sum(float(part.double().square().sum()) for part in g) ** 0.5
    reach = RHO / norm - (ALPHA if kind == "sagm" else 0)
    start = [w.detach().clone() for w in weights]
    with torch.no_grad():
        for w, part in zip(weights, g, strict=True):
            w.add_(part, alpha=reach)
    h = torch.autograd.grad(net(signals)["loss"], weights)
    far = {"expected": 0.0, "plain": 0.0, "of": 0.0}
    for old, w, a, b in zip(start, made.objective.parameters(), g, h, strict=True):
        used = b if kind == "sam" else 0.5 * (a + b)
        far["expected"] += float((w.detach() - (old - 0.1 * used)).square().sum())
        far["plain"] += float((w.detach() - (old - 0.1 * a)).square().sum())
        far["of"] += float((0.1 * used).square().sum())
    # Small numbers of single precision through a whole network; squared distances.
    assert far["expected"] < 1e-6 * far["of"] < 1e-2 * far["of"] < far["plain"]
    for name, value in made.objective.named_buffers():
        torch.testing.assert_close(value, once[name], msg=name)


@pytest.mark.parametrize("head", ["cosface", "adaface"])
def test_statistics_see_a_batch_once(head, people, tmp_path):
    seen = []
    for kind in (None, "sam"):
        config = supervised(people, head={"name": head}, optim={"sharpness": kind})
        made, _, _, passes = one_step(config, tmp_path)
        assert passes == (1 if kind is None else 2)
        seen.append(dict(made.objective.named_buffers()))
    tracked = [value for name, value in seen[1].items() if name.endswith("num_batches_tracked")]
    assert {int(value) for value in tracked} == {1}
    for name, value in seen[0].items():
        assert torch.equal(value, seen[1][name]), name


@pytest.mark.parametrize("kind", ["sam", "sagm"])
def test_bf16_trains_with_it(kind, people, tmp_path):
    config = supervised(
        people, precision="bf16", budget={"steps": 2}, optim={"sharpness": kind, "rho": 0.1}
    )
    done = launch(config, tmp_path / "run", show_progress=False)
    assert all(tensor.isfinite().all() for tensor in tensors_of(done.best).values())


def test_a_second_pass_without_a_number_stops_the_run(people, tmp_path):
    config = supervised(people, optim={"sharpness": "sam", "rho": 1e38}, budget={"steps": 2})
    with pytest.raises(TrainingStopped, match="at step 0"):
        launch(config, tmp_path / "run", show_progress=False)
