"""``crossface compare``: is A better than B, with a paired interval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import (
    Crops,
    HtmlOut,
    InputSpecOption,
    JsonOut,
    ModelA,
    ModelB,
    NoFlip,
    Threads,
)


def command(  # noqa: PLR0917  # a command's options
    context: typer.Context,
    model_a: ModelA,
    model_b: ModelB,
    data: Crops,
    protocol: Annotated[str, typer.Option(help="pairs or all-pairs.")] = "all-pairs",
    pairs: Annotated[
        Path | None, typer.Option(help="LFW pairs.txt or CSV with fold,a,b,same.")
    ] = None,
    no_flip: NoFlip = False,
    html: HtmlOut = None,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Paired difference A - B on the same comparisons, with its 95 % interval."""
    from crossface import api
    from crossface.app.output import show_json
    from crossface.evaluation.html import write_html
    from crossface.evaluation.report import comparison_table

    report = api.compare(
        model_a,
        model_b,
        protocol if pairs is None else "pairs",
        data=data,
        pairs=pairs,
        flip=not no_flip,
        input_spec=input_spec,
        threads=threads,
        progress=not context.obj["quiet"],
    )
    if html is not None:
        write_html(report, html)
    if json_out is not None:
        show_json(report, json_out)
    if str(json_out) != "-":
        print(comparison_table(report))
