"""The one loop of ``train`` and ``distill``."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from crossface.core.contract import EmbeddingContract
from crossface.core.errors import Interrupted, TrainingStopped
from crossface.core.progress import Progress
from crossface.data.loader import Batch, TrainLoader
from crossface.nets.layers import Backbone
from crossface.training.checkpoint import Progressed, load_checkpoint, save_checkpoint
from crossface.training.distillers.base import Objective, Signals
from crossface.training.ema import WeightAverage
from crossface.training.run import RunFolder
from crossface.training.schedules import Budget, warmup_cosine
from crossface.training.schema import RunConfig
from crossface.training.sharpness import sharpen
from crossface.training.signals import StopRequest
from crossface.training.teachers import Targets

_UNTOUCHED = "the last checkpoint is untouched, try a lower optim.lr"


@dataclass(slots=True)
class Session:
    """Everything a run needs, built from its configuration by ``training.setup``."""

    config: RunConfig
    config_digest: str
    folder: RunFolder
    fabric: Fabric
    objective: Objective
    optimizer: torch.optim.Optimizer
    average: WeightAverage[Backbone]
    loader: TrainLoader
    targets: Targets | None
    budget: Budget
    other_targets: tuple[Targets, ...] = ()
    teacher_contracts: tuple[EmbeddingContract, ...] = ()
    started_from: dict[str, Any] | None = None
    validate: Callable[[Backbone], dict[str, float]] | None = None
    progressed: Progressed = field(default_factory=Progressed)


def run(session: Session, *, resume: bool = False, show_progress: bool = True) -> Progressed:
    """Train until the budget is spent.

    Raises:
        TrainingStopped: the loss or the gradient is not a number; says at which step.
        Interrupted: after SIGINT or SIGTERM, when the state is saved.
    """
    if resume:
        _go_back_to_checkpoint(session)
    session.average.net.to(session.fabric.device)
    objective, optimizer = session.fabric.setup(session.objective, session.optimizer)
    objective.train()
    with (
        StopRequest() as stop,
        Progress("train", session.budget.steps, enabled=show_progress) as bar,
    ):
        bar.advance(session.progressed.step)
        _steps(session, objective, optimizer, stop, bar)
        _save(session)
    if stop.wanted:
        verb = "train" if session.config.teacher is None else "distill"
        raise Interrupted(
            f"{stop.signal_name}: saved at step {session.progressed.step}; go on with: "
            f"crossface {verb} --resume {session.folder.path}"
        )
    return session.progressed


def _go_back_to_checkpoint(session: Session) -> None:
    """The state, the metrics and the files as they were at the newest checkpoint, if any."""
    session.folder.sweep()
    if session.folder.checkpoint.exists():
        session.progressed = load_checkpoint(
            session.folder.checkpoint,
            objective=session.objective,
            optimizer=session.optimizer,
            average=session.average,
            config_digest=session.config_digest,
        )
    session.folder.drop_metrics_after(session.progressed.step)


def _steps(
    session: Session,
    objective: nn.Module,
    optimizer: Any,  # noqa: ANN401  # the engine's wrapper
    stop: StopRequest,
    bar: Progress,
) -> None:
    state, config = session.progressed, session.config
    tally = _Tally()
    start, start_core = time.monotonic() - state.elapsed_s, time.process_time() - state.core_s
    waited = state.waited_s
    batches = session.loader.batches(start_step=state.step)
    close = getattr(batches, "close", lambda: None)
    try:
        while not stop.wanted and not session.budget.is_spent(state.step, state.elapsed_s):
            batch = next(batches)
            losses = step_once(session, objective, optimizer, batch)
            tally.add(losses)
            state.step += 1
            state.elapsed_s = time.monotonic() - start
            state.core_s = time.process_time() - start_core
            state.waited_s = waited + session.loader.wait_seconds
            if state.step % config.log_every_steps == 0:
                _report(session, tally, bar)
            if config.validate_every_steps and state.step % config.validate_every_steps == 0:
                _validate(session)
            if state.step % config.checkpoint_every_steps == 0:
                _save(session)
            bar.advance(1, tally.note)
    finally:
        close()
    _report(session, tally, bar)
    if not stop.wanted:
        _validate(session)


def step_once(
    session: Session,
    objective: nn.Module,
    optimizer: Any,  # noqa: ANN401
    batch: Batch,
) -> dict[str, Tensor]:
    """One optimiser step; the named losses of the batch."""
    state, optim = session.progressed, session.config.optim
    progress = session.budget.progress(state.step, state.elapsed_s)
    factor = warmup_cosine(
        progress, warmup_fraction=optim.warmup_fraction, final_fraction=optim.final_fraction
    )
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
    session.objective.progress = progress
    signals = _signals(session, batch)

    def gradient() -> dict[str, Tensor]:
        losses = cast("dict[str, Tensor]", objective(signals))
        _guard(losses, state.step, batch)
        optimizer.zero_grad(set_to_none=True)
        session.fabric.backward(losses["loss"])
        return losses

    losses = gradient()
    if optim.sharpness is not None:
        sharpen(
            [p for group in optimizer.param_groups for p in group["params"]],
            gradient,
            kind=optim.sharpness,
            rho=optim.rho,
            alpha=optim.alpha,
            module=session.objective,
            gradient_scale=_gradient_scale(session.fabric),
        )
    # The engine clips all that the optimiser holds together, the method's own modules included.
    norm = session.fabric.clip_gradients(
        objective,
        optimizer,
        max_norm=math.inf if optim.clip_norm is None else optim.clip_norm,
        error_if_nonfinite=False,
    )
    # With fp16 the loss is scaled; the engine skips a step that overflows and scales less.
    if session.config.precision != "fp16" and norm is not None and not torch.isfinite(norm):
        raise TrainingStopped(
            f"the gradient is not a number at step {state.step} ({_where(batch)}); {_UNTOUCHED}"
        )
    optimizer.step()
    session.average.update(session.objective.student)
    return losses


def _signals(session: Session, batch: Batch) -> Signals:
    device = session.fabric.device
    targets = None if session.targets is None else session.targets(batch).to(device)
    others = tuple(targets_of(batch).to(device) for targets_of in session.other_targets)
    return Signals(batch.images_on(device), targets, batch.labels.to(device), others)


def _gradient_scale(fabric: Fabric) -> float:
    """What the engine multiplies the loss by: more than 1 in fp16 only."""
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    return 1.0 if scaler is None else float(scaler.get_scale())


def _guard(losses: dict[str, Tensor], step: int, batch: Batch) -> None:
    if bool(torch.isfinite(losses["loss"].detach())):
        return
    parts = ", ".join(f"{name} = {float(value.detach()):.4g}" for name, value in losses.items())
    raise TrainingStopped(
        f"the loss is not a number at step {step} ({_where(batch)}): {parts}; {_UNTOUCHED}"
    )


def _where(batch: Batch) -> str:
    return f"epoch {batch.epoch}, first picture {int(batch.indices[0])}"


class _Tally:
    """Sums of the losses since the last report."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: dict[str, float] = {}
        self.note = ""

    def add(self, losses: dict[str, Tensor]) -> None:
        self.count += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())

    def means(self) -> dict[str, float]:
        means = {name: total / max(1, self.count) for name, total in self.sums.items()}
        self.count, self.sums = 0, {}
        return means


def _report(session: Session, tally: _Tally, bar: Progress) -> None:
    if not tally.count:
        return
    state = session.progressed
    images = state.step * session.config.batch_size
    line = {
        "step": state.step,
        "epoch": round(state.step / session.loader.batches_per_epoch, 4),
        "images": images,
        "elapsed_s": round(state.elapsed_s, 2),
        "core_s": round(state.core_s, 2),
        "waited_s": round(state.waited_s, 3),
        "images_per_s": round(images / max(state.elapsed_s, 1e-9), 1),
        "lr": session.optimizer.param_groups[0]["lr"],
        **tally.means(),
        **session.objective.monitors(),
    }
    session.folder.log(line)
    tally.note = f"loss {line['loss']:.4f}  {line['images_per_s']:.0f} images/s"
    bar.advance(0, tally.note)


def _validate(session: Session) -> None:
    if session.validate is None:
        return
    figures = session.validate(session.average.net)
    state = session.progressed
    state.history = dict(figures)
    session.folder.log({"step": state.step, "elapsed_s": round(state.elapsed_s, 2), **figures})


def _save(session: Session) -> None:
    for name, weights in session.average.net.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise TrainingStopped(
                f"the weights ({name}) are not numbers after step {session.progressed.step - 1}; "
                f"{_UNTOUCHED}"
            )
    save_checkpoint(
        session.folder.checkpoint,
        objective=session.objective,
        optimizer=session.optimizer,
        average=session.average,
        progressed=session.progressed,
        config_digest=session.config_digest,
    )
