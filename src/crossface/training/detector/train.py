"""The loop that trains the detector: scenes in, an averaged network out, resumable at any step."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from crossface.core.errors import DataError, Interrupted, TrainingStopped
from crossface.core.progress import Progress
from crossface.data.scenes import Scene, Scenes
from crossface.losses.detection import detection_losses
from crossface.nets.detector import FaceDetector, cell_middles
from crossface.nets.landmarks import LandmarkNet
from crossface.training.checkpoint import Progressed, load_checkpoint, save_checkpoint
from crossface.training.config import parse_as
from crossface.training.detector.batches import SceneBatch, batches
from crossface.training.detector.config import DetectorConfig
from crossface.training.detector.data import ScenePair, open_scenes
from crossface.training.detector.measure import DetectorFigures, find, measure
from crossface.training.detector.second import (
    CHECKPOINT,
    train_second_look,
    validate_second_look,
)
from crossface.training.ema import WeightAverage
from crossface.training.memory import keep_freed_memory
from crossface.training.run import CONFIG, RunFolder, git_commit
from crossface.training.schedules import warmup_cosine
from crossface.training.signals import StopRequest

_FINAL_FRACTION = 0.01


@dataclass(frozen=True, slots=True)
class TrainedDetector:
    """What a run came to.

    Attributes:
        net: averaged weights, in evaluation.
        second: the second look, likewise; None where the configuration leaves it out.
        figures: on validation scenes, after the second look.
        first_figures: before it.
        config: of the run.
        labelled: crops whose label the teachers agreed about.
        asked: crops they were asked about.
        core_s: seconds of computing, of all threads.
        steps: that were done; fewer than the configuration's where a run was finished early.
        landmarks_steps: likewise, of the second look.
        environment: versions, commit and machine that the run was started on.
        starts: the step and commit of each start, the first and every resumption.
    """

    net: FaceDetector
    second: LandmarkNet | None
    figures: DetectorFigures
    first_figures: DetectorFigures
    config: DetectorConfig
    labelled: int
    asked: int
    core_s: float
    steps: int
    landmarks_steps: int
    environment: dict[str, Any]
    starts: list[dict[str, Any]]


@dataclass(slots=True)
class _State:
    config: DetectorConfig
    folder: RunFolder
    net: FaceDetector
    optimizer: torch.optim.Optimizer
    average: WeightAverage[FaceDetector]
    progressed: Progressed = field(default_factory=Progressed)
    held_out: list[Scene] = field(default_factory=list)


def train_detector(
    config: DetectorConfig,
    out: str | Path,
    *,
    resume: bool = False,
    finish: bool = False,
    show_progress: bool = True,
) -> TrainedDetector:
    """Train until the steps are spent, and measure on validation scenes.

    Args:
        config: of the run; with ``resume`` its steps may be others than before, and the learning
            rate then follows the new ones.
        out: the run's folder.
        resume: go on with the folder's newest checkpoint.
        finish: take that checkpoint as it is, without a further step.
        show_progress: on stderr.

    Raises:
        CrossfaceError: what cannot be read, a loss that is no number, or an interruption.
    """
    keep_freed_memory()
    torch.set_num_threads(config.threads)
    folder = RunFolder(out)
    if finish and not folder.checkpoint.exists():
        raise DataError(f"{folder.path.name}: has no checkpoint yet that could be finished")
    if resume:
        folder.sweep()
    else:
        folder.start(config, facts={})
    scenes = open_scenes(config, folder.path, progress=show_progress)
    state = _start(config, folder, resume=resume)
    folder.log({"step": state.progressed.step, "commit": git_commit()})
    state.held_out = [scenes.validation.scene(n) for n in range(config.scenes.validation)]
    with StopRequest() as stop, Progress("train", config.steps, enabled=show_progress) as bar:
        bar.advance(state.progressed.step)
        if not finish:
            if state.progressed.step < config.steps:  # a second look belongs to the detector's end
                (folder.path / CHECKPOINT).unlink(missing_ok=True)
            _steps(scenes.training, state, stop, bar)
            _save(state)
    if stop.wanted:
        raise Interrupted(
            f"{stop.signal_name}: saved at step {state.progressed.step}; go on with: "
            f"crossface train-detector --resume {folder.path}"
        )
    return _second_look(state, scenes, finish=finish, show_progress=show_progress)


def _second_look(
    state: _State, scenes: ScenePair, *, finish: bool, show_progress: bool
) -> TrainedDetector:
    """Train it with what the finished detector finds, and say what both are worth."""
    config, folder = state.config, state.folder
    figures = first_figures = _validate(state)
    net, second, done = state.average.net, None, Progressed()
    if config.landmarks.steps and not (finish and not (folder.path / CHECKPOINT).exists()):
        second, done = train_second_look(
            config, folder, net, scenes.training, finish=finish, show_progress=show_progress
        )
        figures = validate_second_look(net, second, state.held_out, folder)
    return TrainedDetector(
        net,
        second,
        figures,
        first_figures,
        config,
        scenes.labelled,
        scenes.asked,
        round(state.progressed.core_s + done.core_s, 1),
        state.progressed.step,
        done.step,
        folder.environment(),
        [line for line in folder.metrics() if "commit" in line],
    )


def config_of(folder: str | Path) -> DetectorConfig:
    """The configuration a run was started with.

    Raises:
        CrossfaceError: if the folder holds no run of a detector.
    """
    document = RunFolder(folder).document()
    return parse_as(DetectorConfig, document, source=f"{Path(folder).name}/{CONFIG}")


def _start(config: DetectorConfig, folder: RunFolder, *, resume: bool) -> _State:
    """A new network, or the one of the folder's checkpoint."""
    torch.manual_seed(config.seed)
    net = FaceDetector(**config.net.model_dump()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    plain = [p for p in net.parameters() if p.dim() == 1]
    decayed = [p for p in net.parameters() if p.dim() > 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=config.lr)
    state = _State(config, folder, net, optimizer, WeightAverage(net, config.ema_decay))
    if resume and folder.checkpoint.exists():
        state.progressed = load_checkpoint(
            folder.checkpoint,
            objective=net,
            optimizer=optimizer,
            average=state.average,
            config_digest=config.digest(),
        )
        folder.drop_metrics_after(state.progressed.step)
    return state


def _steps(scenes: Scenes, state: _State, stop: StopRequest, bar: Progress) -> None:
    config, folder, done = state.config, state.folder, state.progressed
    start, start_core = time.monotonic() - done.elapsed_s, time.process_time() - done.core_s
    cells = cell_middles((scenes.options.side_px, scenes.options.side_px))
    stream = batches(
        scenes, config.batch_size, range(done.step, config.steps), workers=config.workers
    )
    try:
        for batch in stream:
            losses = _step(state, batch, cells)
            done.step += 1
            done.elapsed_s = time.monotonic() - start
            done.core_s = time.process_time() - start_core
            note = f"loss {losses['loss']:.3f}"
            if done.step % config.log_every_steps == 0:
                folder.log({"step": done.step, "core_s": round(done.core_s, 1), **losses})
            if done.step % config.validate_every_steps == 0 and done.step < config.steps:
                _validate(state)
            if done.step % config.checkpoint_every_steps == 0:
                _save(state)
            bar.advance(1, note)
            if stop.wanted:
                return
    finally:
        getattr(stream, "close", lambda: None)()


def _step(state: _State, batch: SceneBatch, cells: torch.Tensor) -> dict[str, float]:
    config = state.config
    factor = warmup_cosine(
        state.progressed.step / config.steps,
        warmup_fraction=config.warmup_fraction,
        final_fraction=_FINAL_FRACTION,
    )
    for group in state.optimizer.param_groups:
        group["lr"] = config.lr * factor
    images, faces = batch
    state.net.train()
    losses = detection_losses(state.net(images), cells, faces)
    if not bool(torch.isfinite(losses["loss"].detach())):
        raise TrainingStopped(
            f"the loss is not a number at step {state.progressed.step}; try a lower lr"
        )
    state.optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(state.net.parameters(), config.clip_norm)
    state.optimizer.step()
    state.average.update(state.net)
    return {name: round(float(value.detach()), 5) for name, value in losses.items()}


def _validate(state: _State) -> DetectorFigures:
    found = find(state.average.net, state.held_out, torch.device("cpu"))
    figures = measure(state.held_out, found)
    line: dict[str, Any] = {"step": state.progressed.step, **asdict(figures)}
    state.folder.log({name: round(value, 5) for name, value in line.items()})
    return figures


def _save(state: _State) -> None:
    save_checkpoint(
        state.folder.checkpoint,
        objective=state.net,
        optimizer=state.optimizer,
        average=state.average,
        progressed=state.progressed,
        config_digest=state.config.digest(),
    )
