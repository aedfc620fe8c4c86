"""Options that several verbs share, said once."""

from __future__ import annotations

from datetime import date
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
Model = Annotated[str, typer.Argument(help="ONNX file, safetensors model or run folder.")]
ModelA = Annotated[str, typer.Argument(metavar="A", help="ONNX file, safetensors or run.")]
ModelB = Annotated[str, typer.Argument(metavar="B", help="ONNX file, safetensors or run.")]
Crops = Annotated[str, typer.Option(help="Aligned crops: zip, directory, .bin, .rec, drawn:...")]
NoFlip = Annotated[bool, typer.Option("--no-flip", help="Do not add the mirror image.")]
Groups = Annotated[
    Path | None, typer.Option(help="CSV: a column of picture keys, others are attributes.")
]
GroupColumns = Annotated[str | None, typer.Option(help="Group columns, with commas [all].")]

PhotoModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        envvar="CROSSFACE_MODEL",
        help="Recogniser: ONNX file, name, or an InsightFace pack [the package's own].",
    ),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector",
        envvar="CROSSFACE_DETECTOR",
        help="ONNX file or name [the pack's, or crossface's own].",
    ),
]
GalleryFile = Annotated[Path, typer.Argument(metavar="GALLERY", help="The gallery's file.")]
Key = Annotated[Path | None, typer.Option(help="Key file [environment: CROSSFACE_GALLERY_KEY].")]
USABLE_QUALITY = 0.4
"""Least quality of a face that is enrolled or grouped where nothing else is said: eyes 14 px apart,
say. Worse faces of different people look alike to a recogniser."""
Draw = Annotated[
    Path | None, typer.Option(help="Folder for the pictures with boxes and landmarks.")
]


def day(text: str, option: str) -> date:
    """A day written YYYY-MM-DD.

    Raises:
        UsageError: if it is written otherwise.
    """
    from crossface.core.errors import UsageError

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{option} is written YYYY-MM-DD, got {text!r}") from None
