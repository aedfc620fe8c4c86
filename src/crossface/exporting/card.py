"""The training card of a model: what it was made from, for people to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.exporting.parity import ParityReport

_FIRST = ("data", "teacher", "method", "licence_note")
_NOT_STATED = "not stated"


def card_json(
    contract: EmbeddingContract,
    input_spec: InputSpec,
    training: Mapping[str, Any],
    parity: ParityReport | None = None,
) -> dict[str, Any]:
    """The card as plain values.

    Args:
        contract: who the model is.
        input_spec: how its crops are made.
        training: what the run wrote about itself. "data", "teacher", "method" and "licence_note"
            come first and are "not stated" where missing; other keys follow as they are.
        parity: of an export, against the original.
    """
    first = {key: training.get(key, _NOT_STATED) for key in _FIRST}
    rest = {key: value for key, value in training.items() if key not in _FIRST}
    return {
        "model": contract.model_dump(mode="json") | {"contract_id": contract.contract_id},
        "input": input_spec.model_dump(mode="json"),
        "training": first | rest,
        "parity": None if parity is None else parity.as_json(),
    }


def card_text(card: Mapping[str, Any]) -> str:
    """The card as Markdown, one table per part.

    Args:
        card: made by ``card_json``.
    """
    model = card["model"]
    lines = [f"# {model['model_id']}", ""]
    for title, part in (
        ("Training", card["training"]),
        ("Model", model),
        ("Input", card["input"]),
        ("Parity with the original", card["parity"]),
    ):
        if part is not None:
            lines += [f"## {title}", "", "| | |", "|---|---|"]
            lines += [f"| {_words(key)} | {_cell(value)} |" for key, value in part.items()]
            lines.append("")
    return "\n".join(lines)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _cell(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.split()).replace("|", "\\|")
