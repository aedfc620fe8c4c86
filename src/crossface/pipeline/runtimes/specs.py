"""How to say what input an ONNX file wants when the file does not."""

from __future__ import annotations

from pathlib import Path

from crossface.core.contract import InputSpec, parse_model
from crossface.core.errors import UnknownName, WeightsError

PRESETS = {"arcface": InputSpec(), "arcface-bgr": InputSpec(channel_order="bgr")}
"""``arcface``: RGB 112x112, (x - 127.5) / 127.5, the five-point template of InsightFace."""


def read_input_spec(text: str) -> InputSpec:
    """A preset by name, or an InputSpec from a JSON file.

    Raises:
        UnknownName: neither a preset nor a ``.json`` file.
        WeightsError: a file that cannot be read or does not fit.
    """
    if text in PRESETS:
        return PRESETS[text]
    path = Path(text)
    if path.suffix != ".json":
        raise UnknownName(
            f"no input spec is named {text!r}; known: {', '.join(PRESETS)}, or a .json file"
        )
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"{path.name}: cannot be read: {error.strerror}") from None
    spec: InputSpec = parse_model(InputSpec, content, source=path.name)
    return spec
