"""One atomic safetensors file that holds everything a run needs to go on as if never stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from crossface.core.errors import WeightsError
from crossface.core.files import atomic_path
from crossface.training.ema import WeightAverage

_FORMAT = "crossface-checkpoint-1"


@dataclass(slots=True)
class Progressed:
    """How far a run is; JSON values only."""

    step: int = 0
    elapsed_s: float = 0.0
    core_s: float = 0.0
    waited_s: float = 0.0
    history: dict[str, float] = field(default_factory=dict)


def save_checkpoint(
    path: Path,
    *,
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage[Any],
    progressed: Progressed,
    config_digest: str,
) -> None:
    """Write the state atomically: tensors flat, everything else as JSON in the metadata."""
    tensors = {f"objective.{k}": v for k, v in _own_state(objective).items()}
    tensors |= {f"average.{k}": v for k, v in average.net.state_dict().items()}
    optimizer_tensors, optimizer_plain = _flatten_optimizer(optimizer)
    tensors |= optimizer_tensors
    tensors["rng.torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    metadata = {
        "format": _FORMAT,
        "config_digest": config_digest,
        "optimizer": json.dumps(optimizer_plain),
        "average_updates": str(average.updates),
        "progressed": json.dumps(
            {name: getattr(progressed, name) for name in Progressed.__dataclass_fields__}
        ),
    }
    contiguous = {k: v.detach().clone().contiguous().cpu() for k, v in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary, metadata)


def load_checkpoint(
    path: Path,
    *,
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: WeightAverage[Any],
    config_digest: str,
) -> Progressed:
    """Put a saved state back, in place.

    Raises:
        WeightsError: unreadable, of another configuration, or of other tensors.
    """
    tensors, metadata = _read(path)
    if metadata.get("config_digest") != config_digest:
        raise WeightsError(
            f"{path.name}: was written by a run with another configuration; "
            "resume with the configuration the run folder holds"
        )
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        room, _, key = name.partition(".")
        groups.setdefault(room, {})[key] = tensor
    _load_own_state(objective, groups.get("objective", {}), path)
    average.net.load_state_dict(groups["average"])
    average.updates = int(metadata["average_updates"])
    _restore_optimizer(optimizer, groups.get("optim", {}), json.loads(metadata["optimizer"]))
    torch.set_rng_state(groups["rng"]["torch"])
    if "cuda" in groups["rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(groups["rng"]["cuda"])
    return Progressed(**json.loads(metadata["progressed"]))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            if metadata.get("format") != _FORMAT:
                raise WeightsError(f"{path.name}: is not a checkpoint of crossface")
            return {key: handle.get_tensor(key) for key in handle.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path.name}: cannot be read as a checkpoint: {error}") from None


def frozen_prefixes(objective: nn.Module) -> tuple[str, ...]:
    """State-dict prefixes of sub-modules that never change and are not saved (teachers)."""
    return tuple(
        f"{name}."
        for name, module in objective.named_modules(remove_duplicate=False)
        if getattr(module, "is_frozen_teacher", False)
    )


def _own_state(objective: nn.Module) -> dict[str, Tensor]:
    skip = frozen_prefixes(objective)
    return {k: v for k, v in objective.state_dict().items() if not k.startswith(skip or ("\0",))}


def _load_own_state(objective: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    expected = set(_own_state(objective))
    if expected != set(state):
        odd = sorted(expected ^ set(state))[0]
        raise WeightsError(f"{path.name}: tensor {odd!r} is on one side only")
    objective.load_state_dict(state, strict=False)


def _flatten_optimizer(
    optimizer: torch.optim.Optimizer,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optim.{index}.{name}"] = value
            elif value is not None:
                plain.setdefault(str(index), {})[name] = value
    return tensors, {"plain": plain, "param_groups": state["param_groups"]}


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], plain: dict[str, Any]
) -> None:
    state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in plain["plain"].items()}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": plain["param_groups"]})
