"""``crossface compat``: may a gallery of one model be searched with another?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import Crops, InputSpecOption, JsonOut, ModelA, ModelB, NoFlip, Threads


def command(  # noqa: PLR0917  # a command's options
    context: typer.Context,
    model_a: ModelA,
    model_b: ModelB,
    data: Crops,
    pairs: Annotated[
        Path | None, typer.Option(help="Pair list [every pair of the labelled set].")
    ] = None,
    no_flip: NoFlip = False,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """FNMR at fixed FMR with gallery and probes by A or B: the 2x2 matrix, with intervals."""
    from crossface import api
    from crossface.app.output import show_json
    from crossface.evaluation.compatibility import compatibility_table

    report = api.compat(
        model_a,
        model_b,
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
        print(compatibility_table(report))
