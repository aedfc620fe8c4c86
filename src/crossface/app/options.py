"""Options that several verbs share, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeat.")
]
Steps = Annotated[int | None, typer.Option(help="Budget in optimiser steps (reproducible).")]
Epochs = Annotated[float | None, typer.Option(help="Budget in passes over the data.")]
Minutes = Annotated[float | None, typer.Option(help="Budget in minutes (not reproducible).")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1; never chosen silently.")]
Out = Annotated[Path | None, typer.Option(help="Run folder [runs/STUDENT-DATE-TIME].")]
Resume = Annotated[Path | None, typer.Option(help="Run folder to go on with.")]
JsonOut = Annotated[
    Path | None, typer.Option("--json", help="Write the result as JSON ('-': stdout).")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads [all usable cores].")]
InputSpecOption = Annotated[
    str | None,
    typer.Option(
        "--input-spec", help="Preset (arcface) or JSON file, for ONNX files that do not say."
    ),
]
HtmlOut = Annotated[
    Path | None, typer.Option("--html", help="Write the report as one self-contained HTML file.")
]
NoPictures = Annotated[
    bool, typer.Option("--no-pictures", help="No pictures in the HTML, for what is passed on.")
]
