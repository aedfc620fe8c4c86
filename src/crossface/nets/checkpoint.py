"""A network in one safetensors file: weights, how to rebuild it, and what travels with it.

Nothing is unpickled: the file holds raw tensors and JSON text.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from crossface.core.card import ThresholdCard, parse_card
from crossface.core.contract import EmbeddingContract, InputSpec, parse_model
from crossface.core.errors import ConfigError, ContractMismatch, UnknownName, WeightsError
from crossface.core.files import atomic_path
from crossface.nets import create_model
from crossface.nets.layers import Backbone

FORMAT = "crossface-model"
FORMAT_VERSION = "1"
CARD_FIELD = "threshold_card"
"""Metadata that a file may have: thresholds measured on it (``exporting.threshold_card``)."""

_FIELDS = ("format", "version", "arch", "input_spec", "contract", "training")
_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".pkl", ".ckpt", ".bin"})


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network read from a file, in eval mode, and what travelled with it."""

    net: Backbone
    contract: EmbeddingContract
    input_spec: InputSpec
    training: dict[str, Any]
    threshold_card: ThresholdCard | None = None


def model_digest(net: nn.Module) -> str:
    """Hex sha256 over the sorted (name, dtype, shape, bytes) of the state dict.

    Equal digests mean equal weights and buffers, bit by bit, on whatever device they lie.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def make_contract(
    net: Backbone, input_spec: InputSpec, *, space_id: str | None = None
) -> EmbeddingContract:
    """The contract of a network.

    Args:
        net: made by ``create_model``.
        input_spec: how its crops are made.
        space_id: the space it was trained into, a teacher's say; None: a space of its own.
    """
    digest = model_digest(net)
    model_id = str(_arch_of(net)["name"])
    return EmbeddingContract(
        model_id=model_id,
        digest=digest,
        dim=net.embedding_dim,
        space_id=space_id or f"{model_id}:{digest[:16]}",
        input_digest=input_spec.digest,
    )


def save_model(
    net: Backbone,
    path: str | Path,
    *,
    contract: EmbeddingContract | None,
    input_spec: InputSpec,
    training: dict[str, Any],
    space_id: str | None = None,
) -> EmbeddingContract:
    """Write a network; the file is whole or absent.

    Args:
        net: made by ``create_model``.
        path: the file, ``.safetensors`` by custom.
        contract: who it is; None: built from the weights, see ``make_contract``.
        input_spec: how its crops are made.
        training: the training card, any JSON object.
        space_id: for a contract that is built here.

    Returns:
        The contract that was written.

    Raises:
        ConfigError: if the network was not made by ``create_model``, the contract is another
            network's, or the card is not JSON.
    """
    arch = _arch_of(net)
    contract = contract or make_contract(net, input_spec, space_id=space_id)
    if contract.dim != net.embedding_dim or contract.input_digest != input_spec.digest:
        raise ConfigError(
            f"{path}: the contract is for {contract.dim}-d embeddings of input "
            f"{contract.input_digest[:8]}, the network gives {net.embedding_dim}-d of "
            f"{input_spec.digest[:8]}"
        )
    metadata = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "arch": _json(arch, f"{path}: the options of {arch['name']}"),
        "input_spec": input_spec.model_dump_json(),
        "contract": contract.model_dump_json(),
        "training": _json(training, f"{path}: the training card"),
    }
    weights = {name: value.detach().cpu().contiguous() for name, value in _named(net)}
    with atomic_path(path) as temporary:
        save_file(weights, temporary, metadata=metadata)
    return contract


def load_model(path: str | Path) -> LoadedModel:
    """Read a network written by ``save_model``; it comes in eval mode on the CPU.

    Raises:
        WeightsError: naming the file, if it is missing, not safetensors, truncated, made by
            another program, or does not fit the network it names.
        ContractMismatch: if it carries the threshold card of another model.
    """
    label = Path(path).name
    _check_file(Path(path), label)
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = _check_metadata(stream.metadata() or {}, label)
            weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{label}: expected a whole safetensors file: {error}") from None
    input_spec: InputSpec = parse_model(InputSpec, metadata["input_spec"], source=label)
    contract: EmbeddingContract = parse_model(EmbeddingContract, metadata["contract"], source=label)
    training = _object(metadata["training"], "training card", label)
    net = _build(_object(metadata["arch"], "architecture", label), label)
    _fill(net, weights, label)
    if contract.dim != net.embedding_dim:
        raise WeightsError(
            f"{label}: the contract says {contract.dim}-d embeddings, "
            f"the network gives {net.embedding_dim}-d"
        )
    card = _card(metadata, contract, label)
    return LoadedModel(net.eval(), contract, input_spec, training, card)


def _card(
    metadata: dict[str, str], contract: EmbeddingContract, label: str
) -> ThresholdCard | None:
    if CARD_FIELD not in metadata:
        return None
    card = parse_card(metadata[CARD_FIELD], source=label)
    if card.contract_id != contract.contract_id:
        raise ContractMismatch(
            f"{label}: carries the threshold card of {card.model_id} ({card.contract_id}), "
            f"the model is {contract.model_id} ({contract.contract_id})"
        )
    return card


def _arch_of(net: Backbone) -> dict[str, Any]:
    arch = getattr(net, "arch", None)
    if not isinstance(arch, dict):
        raise ConfigError(f"{type(net).__name__} was not made by create_model and has no name")
    return arch


def _named(net: nn.Module) -> list[tuple[str, Tensor]]:
    return sorted(net.state_dict().items())


def _json(value: dict[str, Any], what: str) -> str:
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{what} must be JSON: {error}") from None


def _check_file(path: Path, label: str) -> None:
    if not path.is_file():
        raise WeightsError(f"{label}: expected a safetensors file, found none")
    with path.open("rb") as stream:
        head = stream.read(9)
    zipped = head.startswith(b"PK\x03\x04")
    pickled = head.startswith(b"\x80") and head[8:9] != b"{"
    if zipped or pickled or path.suffix.lower() in _PICKLE_SUFFIXES:
        raise WeightsError(
            f"{label}: looks like a pickle, which can run code when read; expected safetensors"
        )


def _check_metadata(metadata: dict[str, str], label: str) -> dict[str, str]:
    if metadata.get("format") != FORMAT:
        raise WeightsError(f"{label}: a safetensors file, but not one written by crossface")
    if metadata.get("version") != FORMAT_VERSION:
        raise WeightsError(
            f"{label}: expected format version {FORMAT_VERSION}, got {metadata.get('version')}"
        )
    missing = [field for field in _FIELDS if field not in metadata]
    if missing:
        raise WeightsError(f"{label}: the metadata lacks {', '.join(missing)}")
    return metadata


def _object(text: str, what: str, label: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise WeightsError(f"{label}: the {what} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise WeightsError(f"{label}: the {what} must be a JSON object, got {text[:40]}")
    return value


def _build(arch: dict[str, Any], label: str) -> Backbone:
    name, options = arch.get("name"), arch.get("options")
    if not isinstance(name, str) or not isinstance(options, dict):
        raise WeightsError(f"{label}: the architecture must have a name and options, got {arch}")
    try:
        with torch.random.fork_rng(devices=[]):  # the weights come from the file, not the seed
            return create_model(name, **options)
    except (UnknownName, ConfigError) as error:
        raise WeightsError(f"{label}: {error}") from None


def _fill(net: Backbone, weights: dict[str, Tensor], label: str) -> None:
    own = net.state_dict()
    for problem, names in (
        ("lacks", own.keys() - weights.keys()),
        ("has an unknown", weights.keys() - own.keys()),
    ):
        if names:
            first = min(names)
            raise WeightsError(f"{label}: {problem} tensor {first} ({len(names)} in all)")
    for name, tensor in own.items():
        found = weights[name]
        if found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise WeightsError(
                f"{label}: expected {name} {tuple(tensor.shape)} {tensor.dtype}, "
                f"got {tuple(found.shape)} {found.dtype}"
            )
    net.load_state_dict(weights)
