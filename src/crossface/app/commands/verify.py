"""``crossface verify``: are two photographs of the same person?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import DetectorOption, JsonOut, PhotoModel, Threads

_SAME, _DIFFERENT, _NO_VERDICT = 0, 1, 2


def command(  # noqa: PLR0917  # a command's options
    a: Annotated[Path, typer.Argument(metavar="A", help="Photograph.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Photograph.")],
    model: PhotoModel = None,
    detector: DetectorOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="Same if the cosine is at least this [the model's card]."),
    ] = None,
    fmr: Annotated[
        float, typer.Option(help="Largest false match rate wanted of the model's card.")
    ] = 1e-3,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Compare the largest face of two photographs.

    Exit codes: 0 same person, 1 different, 2 no verdict because the model is uncalibrated and no
    --threshold was given, 3 no face.
    """
    from crossface.app.output import show_json
    from crossface.core.errors import UsageError
    from crossface.core.weights import DEFAULT_MODEL
    from crossface.pipeline.verify import verify

    if not 0 < fmr < 1:
        raise UsageError(f"--fmr lies between 0 and 1, got {fmr}")
    answer = verify(
        a,
        b,
        model=model or DEFAULT_MODEL,
        detector=detector,
        threshold=threshold,
        fmr=fmr,
        threads=threads,
    )
    if json_out is not None:
        values = {name: getattr(answer, name) for name in answer.__slots__}
        show_json({**values, "notes": list(answer.notes)}, json_out)
    if str(json_out) != "-":
        verdict = {True: "same", False: "different", None: "uncalibrated"}[answer.same]
        line = f"{verdict}  similarity {answer.similarity:.4f}"
        if answer.threshold is not None:
            line += f"  threshold {answer.threshold:.4f}"
        if answer.fmr is not None:
            line += f"  FMR {answer.fmr:.2g}"
        print(line)
    for note in answer.notes:
        print(f"crossface: {note}", file=sys.stderr)
    if answer.same is None:
        raise typer.Exit(_NO_VERDICT)
    raise typer.Exit(_SAME if answer.same else _DIFFERENT)
