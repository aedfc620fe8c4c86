"""``crossface evaluate``: how good a model is, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import InputSpecOption, JsonOut, Threads


def command(  # noqa: PLR0917  # a command's options
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="ONNX file, safetensors model or run folder.")],
    protocol: Annotated[str, typer.Argument(help="pairs, all-pairs (crossface protocols).")],
    data: Annotated[str, typer.Option(help="Aligned crops: zip, directory, .bin, .rec, drawn:...")],
    pairs: Annotated[
        Path | None, typer.Option(help="LFW pairs.txt or CSV with fold,a,b,same.")
    ] = None,
    aligned: Annotated[
        bool,
        typer.Option("--aligned", help="The pictures are aligned 112x112 crops (the default)."),
    ] = False,
    no_flip: Annotated[
        bool, typer.Option("--no-flip", help="Do not add the mirror image.")
    ] = False,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Measure a model: accuracy, AUC, EER, TAR or FNMR at FMR, each with its 95 % interval."""
    del aligned  # pictures of another size are refused by name; detection comes with the runtime
    from crossface import api
    from crossface.app.output import show_json
    from crossface.evaluation.report import report_table

    report = api.evaluate(
        model,
        protocol,
        data=data,
        pairs=pairs,
        flip=not no_flip,
        input_spec=input_spec,
        threads=threads,
        progress=not context.obj["quiet"],
    )
    if json_out is not None:
        show_json(report, json_out)
    if str(json_out) != "-":
        print(report_table(report))
