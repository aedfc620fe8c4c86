"""A threshold card in the header of a safetensors file: the tensors' bytes stay as they are.

Layout of the format: 8 bytes little-endian length of the header, the header as JSON padded with
spaces, the tensors. Text under "__metadata__" is free, and the tensors' places count from the end
of the header, so that another header changes nothing of them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, BinaryIO

from crossface.core.card import ThresholdCard, parse_card
from crossface.core.contract import EmbeddingContract, parse_model
from crossface.core.errors import ContractMismatch, WeightsError
from crossface.core.files import atomic_path

SUFFIX = ".safetensors"
CARD_FIELD = "threshold_card"
"""As ``nets.checkpoint`` reads it."""

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""

_ALIGNED = 8


def write_into_safetensors(
    model: str | Path, card: ThresholdCard, out_path: str | Path
) -> EmbeddingContract:
    """Copy a safetensors model of ours with the card in its header; see ``threshold_card``.

    Raises:
        WeightsError: if the file cannot be read or is not one of ours.
        ContractMismatch: if the card was measured on another model.
    """
    name = Path(model).name
    with _opened(Path(model)) as stream:
        header = _header(stream, name)
        metadata = _metadata(header, name)
        contract: EmbeddingContract = parse_model(
            EmbeddingContract, metadata["contract"], source=name
        )
        check_card_of(card, contract, name)
        header["__metadata__"] = metadata | {CARD_FIELD: card.model_dump_json()}
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % _ALIGNED)
        with atomic_path(out_path) as temporary, temporary.open("wb") as target:
            target.write(len(text).to_bytes(8, "little") + text)
            shutil.copyfileobj(stream, target, 1 << 20)
    return contract


def read_from_safetensors(model: str | Path) -> ThresholdCard | None:
    """The card in a model of ours, None where there is none.

    Raises:
        WeightsError: if the file or its card cannot be read, or is not one of ours.
    """
    name = Path(model).name
    with _opened(Path(model)) as stream:
        text = _metadata(_header(stream, name), name).get(CARD_FIELD)
    return None if text is None else parse_card(text, source=name)


def check_card_of(card: ThresholdCard, contract: EmbeddingContract, name: str) -> None:
    """Refuse a card of another model.

    Raises:
        ContractMismatch: naming both.
    """
    if card.contract_id != contract.contract_id:
        raise ContractMismatch(
            f"{name}: the card was measured on {card.model_id} ({card.contract_id}), this model "
            f"is {contract.model_id} ({contract.contract_id})"
        )


def _opened(path: Path) -> BinaryIO:
    if not path.is_file():
        raise WeightsError(f"{path.name}: expected a safetensors file, there is no such file")
    return path.open("rb")


def _header(stream: BinaryIO, name: str) -> dict[str, Any]:
    """The header; the stream then stands at the tensors."""
    length = int.from_bytes(stream.read(8), "little")
    text = stream.read(length) if length <= MAX_HEADER_BYTES else b""
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict) or len(text) != length:
        raise WeightsError(f"{name}: expected a safetensors file, its header is broken")
    return header


def _metadata(header: dict[str, Any], name: str) -> dict[str, str]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("contract"), str):
        raise WeightsError(f"{name}: a safetensors file, but not one written by crossface")
    return metadata
