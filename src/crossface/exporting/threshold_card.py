"""A threshold card into the metadata of an ONNX or safetensors file, and out of it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crossface.core.card import ThresholdCard, parse_card
from crossface.core.contract import EmbeddingContract, InputSpec, parse_model
from crossface.core.errors import ContractMismatch, MissingExtra, WeightsError
from crossface.core.files import atomic_path
from crossface.exporting.safetensors_header import (
    SUFFIX,
    check_card_of,
    read_from_safetensors,
    write_into_safetensors,
)
from crossface.pipeline.runtimes.onnx_runtime import (
    CONTRACT_KEY,
    INPUT_SPEC_KEY,
    THRESHOLD_CARD_KEY,
    OnnxEmbedder,
)


def write_threshold_card(
    model: str | Path,
    card: ThresholdCard,
    out_path: str | Path,
    *,
    contract: EmbeddingContract | None = None,
    input_spec: InputSpec | None = None,
) -> EmbeddingContract:
    """Copy a model file with the card in its metadata; an older card is replaced.

    A safetensors model of ours keeps every byte of its tensors, only the header is written anew.
    An ONNX file of somebody else's does not say who it is: its contract is worked out from its
    bytes, which change as the card is written. So the contract and the input spec by which the
    card was measured are written beside it, and the copy is the same model with the same contract.

    Args:
        model: the ONNX or safetensors file.
        card: of this very model.
        out_path: the copy; may be ``model`` itself. It is whole or absent.
        contract: who an ONNX file is; as ``OnnxEmbedder`` reads it by default.
        input_spec: how its crops are made; as ``OnnxEmbedder`` reads it by default.

    Returns:
        The contract of the copy.

    Raises:
        MissingExtra: if onnx is not installed, for an ONNX file.
        WeightsError: if the file cannot be read.
        ContractMismatch: if the card was measured on another model.
    """
    if Path(model).suffix == SUFFIX:
        return write_into_safetensors(model, card, out_path)
    if find_spec("onnx") is None:
        raise MissingExtra("onnx", "export")
    name = Path(model).name
    if contract is None or input_spec is None:
        embedder = OnnxEmbedder(model, input_spec=input_spec, threads=1)
        contract, input_spec = contract or embedder.contract, embedder.input_spec
    proto = _read(Path(model))
    held = {entry.key: entry.value for entry in proto.metadata_props}
    _check(card, contract, held.get(CONTRACT_KEY), name)
    _set(proto, CONTRACT_KEY, contract.model_dump_json())
    _set(proto, INPUT_SPEC_KEY, input_spec.model_dump_json())
    _set(proto, THRESHOLD_CARD_KEY, card.model_dump_json())
    with atomic_path(out_path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
    return contract


def read_threshold_card(model: str | Path) -> ThresholdCard | None:
    """The card in a file's metadata, None where there is none.

    Raises:
        MissingExtra: if onnx is not installed, for an ONNX file (``OnnxEmbedder.threshold_card``
            does without).
        WeightsError: if the file or its card cannot be read.
    """
    if Path(model).suffix == SUFFIX:
        return read_from_safetensors(model)
    if find_spec("onnx") is None:
        raise MissingExtra("onnx", "export")
    for entry in _read(Path(model)).metadata_props:
        if entry.key == THRESHOLD_CARD_KEY:
            return parse_card(entry.value, source=Path(model).name)
    return None


def _read(path: Path) -> Any:  # noqa: ANN401  # onnx has no types
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not path.is_file():
        raise WeightsError(f"{path.name}: expected an ONNX file, there is no such file")
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except DecodeError:
        raise WeightsError(f"{path.name}: expected an ONNX model, it is broken") from None
    if not proto.graph.node:
        raise WeightsError(f"{path.name}: expected an ONNX model, it holds no graph")
    return proto


def _check(card: ThresholdCard, contract: EmbeddingContract, held: str | None, name: str) -> None:
    if held is not None:
        own: EmbeddingContract = parse_model(EmbeddingContract, held, source=name)
        if (own.digest, own.space_id) != (contract.digest, contract.space_id):
            raise ContractMismatch(
                f"{name}: its contract is {own.contract_id} ({own.model_id}), the one given is "
                f"{contract.contract_id} ({contract.model_id})"
            )
    check_card_of(card, contract, name)


def _set(proto: Any, key: str, text: str) -> None:  # noqa: ANN401
    for entry in proto.metadata_props:
        if entry.key == key:
            entry.value = text
            return
    entry = proto.metadata_props.add()
    entry.key, entry.value = key, text
