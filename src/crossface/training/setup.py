"""From a configuration to a session: data, teacher, student, optimiser, chosen loudly."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from crossface.core.errors import ConfigError
from crossface.core.log import get_logger
from crossface.core.protocols import Embedder, FaceSource
from crossface.data import open_faces
from crossface.data.dataset import LabelledView, MemoryFaces
from crossface.data.loader import TrainLoader
from crossface.data.splits import split_by_identity, split_by_key, without
from crossface.nets.layers import Backbone
from crossface.training.cache import decoded_faces
from crossface.training.collaborative import Collaborative
from crossface.training.distillers import DISTILLERS
from crossface.training.distillers.base import Context, Objective
from crossface.training.ema import WeightAverage
from crossface.training.loop import Session
from crossface.training.memory import keep_freed_memory
from crossface.training.muon import MuonAdamW, is_matrix
from crossface.training.pseudo import pseudo_identities
from crossface.training.run import RunFolder, usable_cores
from crossface.training.saliency import saliency_map
from crossface.training.schedules import Budget
from crossface.training.schema import CollaborativeConfig, DataConfig, RunConfig, TeacherConfig
from crossface.training.students import make_student, provenance
from crossface.training.supervised import Supervised
from crossface.training.teachers import (
    FrozenBackbone,
    Targets,
    clean_targets,
    make_targets,
    open_feature_teacher,
    open_others,
    open_target,
)
from crossface.training.validation import Holdout, read_holdout, validate

log = get_logger("train")

_IN_MEMORY_LIMIT_BYTES = 4 * 2**30
_CROP_BYTES = 112 * 112 * 3
_COMPILE_WORTH_STEPS = 1500

# Prompts, URFM's codes, Swin's relative and ViT's absolute position codes.
_SPARED = frozenset({"prompts", "bucket", "table", "position"})


@dataclass(frozen=True, slots=True)
class Pictures:
    """Training and held-out pictures."""

    train: LabelledView
    holdout: FaceSource | None

    @property
    def classes(self) -> int:
        """Number of identities."""
        return len(self.train.classes)


def prepare(
    config: RunConfig,
    folder: RunFolder,
    *,
    show_progress: bool = True,
    cache: Path | None = None,
) -> Session:
    """Build everything a run needs; nothing is written but caches.

    Args:
        config: what is to be run.
        folder: where the run will be kept.
        show_progress: progress on stderr.
        cache: where teacher embeddings are kept; ``training.cache.cache_folder()`` by default.

    Raises:
        CrossfaceError: naming what does not fit.
    """
    fabric = make_fabric(config)
    torch.manual_seed(config.seed)
    pictures = read_pictures(config.data, show_progress=show_progress, cache=cache)
    teacher = None
    if config.teacher is not None:
        teacher = open_target(config.teacher, config.threads)
        pictures = name_clusters(config, teacher, pictures, show_progress=show_progress)
    others = [] if config.teacher is None else open_others(config.teacher, config.threads)
    student = make_student(config, teacher)
    objective = make_objective(
        config, student, teacher, pictures, others=others, show_progress=show_progress, cache=cache
    )
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub
    loader = TrainLoader(
        pictures.train,
        batch_size=config.batch_size,
        seed=config.seed,
        augment=config.data.augment,
        augment_period=_augment_period(config.teacher),
        mix=0.0 if config.teacher is None else config.teacher.mix,
        per_identity=config.data.per_identity,
    )
    budget = Budget.from_config(config.budget, loader.batches_per_epoch)
    if should_compile(config, budget):
        objective.run_student = torch.compile(objective.run_student)
    average = WeightAverage(student, config.optim.ema_decay)
    holdout = _holdout(pictures, teacher, show_progress, cache)
    teachers = [] if teacher is None else [teacher, *others]
    targets = _targets(config.teacher, teachers, pictures, show_progress, cache)
    return Session(
        config=config,
        config_digest=digest_of(config),
        folder=folder,
        fabric=fabric,
        objective=objective,
        optimizer=make_optimizer(config, objective),
        average=average,
        loader=loader,
        targets=targets[0] if targets else None,
        other_targets=tuple(targets[1:]),
        budget=budget,
        teacher_contracts=tuple(one.contract for one in teachers),
        started_from=provenance(config),
        validate=None if holdout is None else lambda net: validate(net, holdout),
    )


def make_fabric(config: RunConfig) -> Fabric:
    """The engine on the device and precision asked for, or a sentence why not.

    Raises:
        ConfigError: an accelerator that is not there, or fp16 on a CPU, which the engine would
            silently turn into bf16.
    """
    accelerator, devices = _device(config.device)
    threads = config.threads or usable_cores()
    torch.set_num_threads(threads)
    if accelerator == "cpu":
        if config.precision == "fp16":
            raise ConfigError("precision 'fp16' is not trained on a CPU here; use 'bf16' or 'fp32'")
        keep_freed_memory()
    precision = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[config.precision]
    log.info("device %s, precision %s, %d threads", config.device, config.precision, threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints about hardware; ours are in the line above
        fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision)  # type: ignore[arg-type]
        fabric.launch()
    return fabric


def _device(device: str) -> tuple[str, int | list[int]]:
    """The engine's accelerator and devices of "cpu", "cuda" or "cuda:1"."""
    known = ["cpu"]
    if torch.cuda.is_available():
        known += ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if device not in known:
        raise ConfigError(f"device {device!r} is not available here; available: {', '.join(known)}")
    accelerator, _, number = device.partition(":")
    return accelerator, [int(number)] if number else 1


def should_compile(config: RunConfig, budget: Budget) -> bool:
    """Whether torch.compile pays: it costs up to a minute of compiling."""
    if config.compile != "auto":
        return config.compile
    has_compiler = any(shutil.which(name) for name in ("c++", "g++", "clang++"))
    long_enough = (budget.steps or 0) >= _COMPILE_WORTH_STEPS or (budget.seconds or 0) >= 600
    chosen = has_compiler and long_enough
    reason = "" if chosen else (" (short run)" if has_compiler else " (no C++ compiler found)")
    log.info("torch.compile: %s%s", "on" if chosen else "off", reason)
    return chosen


def read_pictures(
    config: DataConfig, *, show_progress: bool, cache: Path | None = None
) -> Pictures:
    """Open the set, keep the hold-out apart, number the identities."""
    source: FaceSource = open_faces(config.path, labels=config.labels)
    if config.exclude is not None:
        source = without(source, config.exclude)
    if config.limit is not None and config.limit < len(source):
        source = split_by_key(source, count=config.limit, seed=config.holdout_seed).held_out
    labelled = len(source) > 0 and source.identity(0) is not None
    holdout: FaceSource | None = None
    if config.holdout:
        apart = split_by_identity if labelled else split_by_key
        split = apart(source, count=config.holdout, seed=config.holdout_seed)
        source, holdout = split.rest, split.held_out
    fits = len(source) * _CROP_BYTES <= _IN_MEMORY_LIMIT_BYTES
    if config.memory == "shared":
        source = decoded_faces(source, folder=cache, progress=show_progress)
    elif config.memory == "always" or (config.memory == "auto" and fits):
        source = MemoryFaces(source, progress=show_progress)
    return Pictures(LabelledView(source), holdout)


def name_clusters(
    config: RunConfig, teacher: Embedder, pictures: Pictures, *, show_progress: bool
) -> Pictures:
    """The pictures with pseudo-identities, where the configuration asks for them.

    Raises:
        ConfigError: if the set has identities of its own, or too few pictures.
    """
    count = config.data.pseudo_identities
    if count is None:
        return pictures
    if pictures.classes:
        raise ConfigError(
            f"{pictures.train.name}: has identities of its own; use data.labels = 'none' with "
            "data.pseudo_identities"
        )
    targets = clean_targets(teacher, pictures.train, progress=show_progress)
    names = pseudo_identities(targets, count=count, seed=config.seed)
    log.info("%d pseudo-identities among %d pictures", len(set(names)), len(names))
    return Pictures(LabelledView(pictures.train.source, identities=names), pictures.holdout)


def make_objective(
    config: RunConfig,
    student: Backbone,
    teacher: Embedder | None,
    pictures: Pictures,
    *,
    others: list[Embedder] | None = None,
    show_progress: bool,
    cache: Path | None = None,
) -> Objective:
    """The supervised objective or the distiller, with what it needs."""
    if config.collaborative is not None:
        return make_collaborative(config, config.collaborative, student, pictures)
    if config.distiller is None or teacher is None or config.teacher is None:
        return Supervised(student, config.head, classes=pictures.classes, metric=config.metric)
    kind = DISTILLERS.resolve(config.distiller.name)
    if others and not kind.takes_others:
        raise ConfigError(f"distiller {config.distiller.name!r} has no use for teacher.others")
    features: FrozenBackbone | None = None
    if kind.wants_features(config.distiller.options):
        features = open_feature_teacher(config.teacher.features or config.teacher.path, teacher)
    centres = None
    if kind.wants_labels(config.distiller.options):
        if pictures.classes == 0:
            raise ConfigError(
                f"distiller {config.distiller.name!r} needs identities and {config.data.path!r} "
                "has none; give a labelled set, or make pseudo-identities from the teacher's "
                "clusters with data.pseudo_identities = N"
            )
        if config.teacher.mix:
            raise ConfigError(
                f"distiller {config.distiller.name!r} needs identities and teacher.mix = "
                f"{config.teacher.mix} mixes people; use teacher.mix = 0"
            )
        centres = class_centres(teacher, pictures, show_progress=show_progress, cache=cache)
    context = Context(
        student=student,
        feature_teacher=features,
        target_dim=teacher.contract.dim,
        other_dims=tuple(other.contract.dim for other in others or ()),
        classes=pictures.classes,
        class_centres=centres,
        saliency=None if features is None else partial(_saliency, features, pictures.train),
    )
    try:
        objective: Objective = kind(context, **config.distiller.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"distiller {config.distiller.name!r}: {error}") from None
    return objective


def make_collaborative(
    config: RunConfig, own: CollaborativeConfig, student: Backbone, pictures: Pictures
) -> Collaborative:
    """The student and its fellows, freshly drawn each.

    Raises:
        ConfigError: without at least 2 identities, or with more hard classes than there are.
    """
    if pictures.classes < 2:
        raise ConfigError(f"collaborative: needs at least 2 identities, got {pictures.classes}")
    others = [make_student(config, None) for _ in range(own.students - 1)]
    for net in others:
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub
    labels = pictures.train.labels
    counts = np.bincount(labels[labels >= 0], minlength=pictures.classes)
    return Collaborative(student, others, class_counts=torch.from_numpy(counts), config=own)


def _saliency(teacher: FrozenBackbone, source: FaceSource, side: int) -> Tensor:
    return saliency_map(teacher, source, side=side)


def class_centres(
    teacher: Embedder, pictures: Pictures, *, show_progress: bool, cache: Path | None = None
) -> Tensor:
    """(classes, D) unit mean teacher embedding of every identity."""
    targets = clean_targets(teacher, pictures.train, folder=cache, progress=show_progress)
    sums = np.zeros((pictures.classes, targets.shape[1]), np.float64)
    known = pictures.train.labels >= 0
    np.add.at(sums, pictures.train.labels[known], targets[known])
    return nn.functional.normalize(torch.from_numpy(sums).float())


def make_optimizer(config: RunConfig, objective: Objective) -> torch.optim.Optimizer:
    """The optimiser; no weight decay on norms, biases, slopes, codes and prompts."""
    optim = config.optim
    matrices: list[Tensor] = []
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            if parameter.ndim < 2 or not _SPARED.isdisjoint(name.split(".")):
                free.append(parameter)
            elif optim.name == "muon" and is_matrix(parameter):
                matrices.append(parameter)
            else:
                decayed.append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": matrices, "weight_decay": optim.weight_decay, "muon": True},
        {"params": decayed, "weight_decay": optim.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    groups = [group | {"peak_lr": optim.lr} for group in groups if group["params"]]
    if optim.name == "muon":
        return MuonAdamW(groups, lr=optim.lr)
    if optim.name == "sgd":
        return torch.optim.SGD(
            groups, lr=optim.lr, momentum=optim.momentum, nesterov=optim.momentum > 0
        )
    return torch.optim.AdamW(groups, lr=optim.lr)


def digest_of(config: RunConfig) -> str:
    """Hex sha256 of what the configuration sets; a new key with its default changes nothing."""
    text = json.dumps(config.model_dump(mode="json", exclude_defaults=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _augment_period(teacher: TeacherConfig | None) -> int:
    return teacher.views if teacher is not None and teacher.view == "same" else 0


def _targets(
    spec: TeacherConfig | None,
    teachers: list[Embedder],
    pictures: Pictures,
    show: bool,
    cache: Path | None,
) -> list[Targets]:
    """Of every teacher, the main one first."""
    if spec is None:
        return []
    view, views = spec.view, spec.views
    return [
        make_targets(teacher, pictures.train, view=view, views=views, folder=cache, progress=show)
        for teacher in teachers
    ]


def _holdout(
    pictures: Pictures, teacher: Embedder | None, show: bool, cache: Path | None
) -> Holdout | None:
    if pictures.holdout is None:
        return None
    targets = None
    if teacher is not None:
        targets = clean_targets(teacher, pictures.holdout, folder=cache, progress=show)
    return read_holdout(pictures.holdout, targets)
