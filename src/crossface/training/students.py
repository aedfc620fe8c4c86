"""The student of a run: a new network, or one that starts from the weights of an older one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from crossface.core.errors import ConfigError
from crossface.core.protocols import Embedder
from crossface.nets import create_model
from crossface.nets.checkpoint import load_model, model_digest
from crossface.nets.layers import Backbone
from crossface.nets.widen import widen_into
from crossface.training.schema import RunConfig


def make_student(config: RunConfig, teacher: Embedder | None) -> Backbone:
    """The student; its embedding takes the teacher's dimension unless that is set.

    Raises:
        ConfigError: if a dimension was set that is not the teacher's, or ``student.weights`` are
            another network's.
        WeightsError: if ``student.weights`` cannot be read.
    """
    options: dict[str, Any] = dict(config.student.options)
    if teacher is not None:
        wanted = options.setdefault("embedding_dim", teacher.contract.dim)
        if wanted != teacher.contract.dim:
            raise ConfigError(
                f"student.options.embedding_dim is {wanted}, the teacher's embedding has "
                f"{teacher.contract.dim}; a student in the teacher's space needs the same"
            )
    net = create_model(config.student.name, **options)
    if config.student.widen and config.student.weights is None:
        raise ConfigError("student.widen needs student.weights, a narrower network's file")
    if config.student.weights is not None:
        _start_from(config.student.weights, net, widen=config.student.widen)
    return net


def provenance(config: RunConfig) -> dict[str, Any] | None:
    """What the student started from and how that was trained, for the training card."""
    if config.student.weights is None:
        return None
    start = load_model(config.student.weights)
    return {
        "file": Path(config.student.weights).name,
        "digest": model_digest(start.net),
        "training": start.training,
    }


def _start_from(path: str, net: Backbone, *, widen: bool) -> None:
    start = load_model(path).net
    if widen and start.arch["name"] == net.arch["name"]:
        try:
            widen_into(net, start)
        except ValueError as error:
            raise ConfigError(
                f"student.widen: {Path(path).name} is a {_described(start)}, which does not fit "
                f"into a {_described(net)}: {error}"
            ) from None
        return
    if start.arch["name"] != net.arch["name"] or _shapes(start) != _shapes(net):
        raise ConfigError(
            f"student.weights: {Path(path).name} is a {_described(start)}, the student a "
            f"{_described(net)}; weights are taken from the same network only"
        )
    net.load_state_dict(start.state_dict())


def _shapes(net: Backbone) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in net.state_dict().items()}


def _described(net: Backbone) -> str:
    return f"{net.arch['name']} {net.arch['options'] or ''}".strip()
