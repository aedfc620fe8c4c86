"""``crossface export``: a model as ONNX, refused when it differs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import JsonOut


def command(
    model: Annotated[Path, typer.Argument(help="Safetensors model or run folder.")],
    out: Annotated[Path, typer.Argument(help="ONNX file; written only if parity holds.")],
    data: Annotated[str | None, typer.Option(help="Crops to compare on [drawn faces].")] = None,
    atol: Annotated[
        float, typer.Option(help="Largest allowed difference, in lengths of an embedding.")
    ] = 1e-4,
    json_out: JsonOut = None,
) -> None:
    """Write a model as ONNX with its InputSpec, contract and training card; check parity."""
    from crossface import api
    from crossface.app.output import show_json

    report = api.export(model, out, data=data, atol=atol).as_json()
    if json_out is not None:
        show_json(report, json_out)
    if str(json_out) != "-":
        for name, value in report.items():
            if not isinstance(value, dict):
                print(f"{name:24} {value}")
        for name, value in report.get("parity", {}).items():
            print(f"parity {name:17} {value}")
