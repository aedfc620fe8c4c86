"""The loop that trains the second look, after the detector and with what that finds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import nn

from crossface.core.errors import Interrupted, TrainingStopped
from crossface.core.progress import Progress
from crossface.core.types import FloatArray, UInt8Batch
from crossface.data.scenes import Scene, Scenes
from crossface.nets.detector import FaceDetector
from crossface.nets.landmarks import LandmarkNet
from crossface.pipeline.detectors.landmarks import Look, crop_tensor, look_again
from crossface.training.checkpoint import Progressed, load_checkpoint, save_checkpoint
from crossface.training.detector.config import DetectorConfig
from crossface.training.detector.looks import LookBatch, look_batches, look_losses
from crossface.training.detector.measure import MAX_OVERLAP, DetectorFigures, find, measure
from crossface.training.ema import WeightAverage
from crossface.training.muon import MuonAdamW, is_matrix
from crossface.training.run import RunFolder
from crossface.training.schedules import warmup_cosine
from crossface.training.signals import StopRequest

CHECKPOINT = "landmarks.safetensors"
_COUNTER = "landmarks_step"
_FINAL_FRACTION = 0.01


def train_second_look(
    config: DetectorConfig,
    folder: RunFolder,
    detector: FaceDetector,
    scenes: Scenes,
    *,
    finish: bool = False,
    show_progress: bool = True,
) -> tuple[LandmarkNet, Progressed]:
    """Train until its steps are spent; goes on where the folder's checkpoint is.

    With ``finish`` that checkpoint is taken as it is.

    Raises:
        Interrupted: after Ctrl-C, saved.
        TrainingStopped: a loss that is no number.
    """
    state = _start(config, folder.path / CHECKPOINT)
    folder.drop_metrics_after(state.done.step, counter=_COUNTER)
    steps = range(state.done.step, state.done.step if finish else config.landmarks.steps)
    stream = look_batches(scenes, detector, config.landmarks.scenes_a_step, steps)
    with StopRequest() as stop, Progress("landmarks", len(steps), enabled=show_progress) as bar:
        try:
            _learn(state, stream, folder, stop, bar)
        finally:
            getattr(stream, "close", lambda: None)()
    if stop.wanted:
        raise Interrupted(
            f"{stop.signal_name}: saved at step {state.done.step} of the landmarks; go on with: "
            f"crossface train-detector --resume {folder.path}"
        )
    return state.average.net.eval(), state.done


@dataclass(slots=True)
class _State:
    config: DetectorConfig
    path: Path
    net: LandmarkNet
    optimizer: torch.optim.Optimizer
    average: WeightAverage[LandmarkNet]
    done: Progressed = field(default_factory=Progressed)


def _start(config: DetectorConfig, path: Path) -> _State:
    """A new network, or the one of the checkpoint where there is one."""
    told = config.landmarks
    torch.manual_seed(config.seed)
    net = LandmarkNet(told.channels).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    matrices = [p for p in net.parameters() if is_matrix(p)]
    others = [p for p in net.parameters() if not is_matrix(p)]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay, "muon": True},
        {"params": others, "weight_decay": 0.0},
    ]
    optimizer = MuonAdamW(groups, lr=told.lr)
    state = _State(config, path, net, optimizer, WeightAverage(net, config.ema_decay))
    if path.exists():
        state.done = load_checkpoint(
            path,
            objective=net,
            optimizer=optimizer,
            average=state.average,
            config_digest=config.landmarks_digest(),
        )
    return state


def _learn(
    state: _State, stream: Iterator[LookBatch], folder: RunFolder, stop: StopRequest, bar: Progress
) -> None:
    config, done, last = state.config, state.done, state.config.landmarks.steps
    start, start_core = time.monotonic() - done.elapsed_s, time.process_time() - done.core_s
    for batch in stream:
        _pace(state.optimizer, config.landmarks.lr, done.step / last)
        losses = _step(state.net, state.optimizer, batch, config.clip_norm, done.step)
        state.average.update(state.net)
        done.step += 1
        done.elapsed_s = time.monotonic() - start
        done.core_s = time.process_time() - start_core
        if done.step % config.log_every_steps == 0:
            folder.log({_COUNTER: done.step, "core_s": round(done.core_s, 1), **losses})
        if done.step == last or stop.wanted or done.step % config.checkpoint_every_steps == 0:
            _save(state)
        bar.advance(1, f"loss {losses['loss']:.3f}")
        if stop.wanted:
            return


def _save(state: _State) -> None:
    save_checkpoint(
        state.path,
        objective=state.net,
        optimizer=state.optimizer,
        average=state.average,
        progressed=state.done,
        config_digest=state.config.landmarks_digest(),
    )


def validate_second_look(
    detector: FaceDetector, net: LandmarkNet, scenes: Sequence[Scene], folder: RunFolder
) -> DetectorFigures:
    """Figures of both networks together on validation scenes."""
    found = find(detector, scenes, torch.device("cpu"))
    look = as_look(net)
    looked = [
        look_again(scene.image, faces, look, MAX_OVERLAP)
        for scene, faces in zip(scenes, found, strict=True)
    ]
    figures = measure(scenes, looked)
    folder.log({"landmarks": True, **{k: round(v, 5) for k, v in asdict(figures).items()}})
    return figures


def as_look(net: LandmarkNet) -> Look:
    """The network as the run time calls it."""
    net.eval()

    def look(crops: UInt8Batch) -> tuple[FloatArray, FloatArray, FloatArray]:
        with torch.inference_mode():
            score, points, angles = net(torch.from_numpy(crop_tensor(crops)))
        return score.numpy(), points.numpy(), angles.numpy()

    return look


def _pace(optimizer: torch.optim.Optimizer, lr: float, progress: float) -> None:
    factor = warmup_cosine(progress, warmup_fraction=0.03, final_fraction=_FINAL_FRACTION)
    for group in optimizer.param_groups:
        group["lr"] = lr * factor


def _step(
    net: LandmarkNet,
    optimizer: torch.optim.Optimizer,
    batch: LookBatch,
    clip_norm: float,
    step: int,
) -> dict[str, float]:
    net.train()
    losses = look_losses(net(batch.crops), batch)
    if not bool(torch.isfinite(losses["loss"].detach())):
        raise TrainingStopped(
            f"the loss is not a number at step {step} of the landmarks; try a lower landmarks.lr"
        )
    optimizer.zero_grad(set_to_none=True)
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
    optimizer.step()
    return {name: round(float(value.detach()), 5) for name, value in losses.items()}
