"""``crossface evaluate``: how good a model is, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import (
    HtmlOut,
    InputSpecOption,
    JsonOut,
    Model,
    NoFlip,
    NoPictures,
    Threads,
)


def command(  # noqa: PLR0913, PLR0917  # a command's options
    context: typer.Context,
    model: Model,
    protocol: Annotated[str, typer.Argument(help="pairs, all-pairs, ... (crossface protocols).")],
    data: Annotated[
        str,
        typer.Option(
            help="Aligned crops: zip, directory, .bin, .rec, drawn:...; or a benchmark's folder."
        ),
    ],
    pairs: Annotated[
        Path | None, typer.Option(help="LFW pairs.txt or CSV with fold,a,b,same.")
    ] = None,
    aligned: Annotated[
        bool,
        typer.Option("--aligned", help="The pictures are aligned 112x112 crops (the default)."),
    ] = False,
    no_flip: NoFlip = False,
    ladder: Annotated[
        list[str] | None,
        typer.Option(help="For robustness: resolution, blur, jpeg, noise, light, ...; repeat."),
    ] = None,
    no_norm: Annotated[
        bool,
        typer.Option(
            "--no-norm", help="Templates: do not weigh pictures by embedding length (N0)."
        ),
    ] = False,
    no_detector_score: Annotated[
        bool, typer.Option("--no-detector-score", help="IJB: nor by the detector's score (D0).")
    ] = False,
    conservative: Annotated[
        bool,
        typer.Option("--conservative", help="Pairs: the product bootstrap, wider than needed."),
    ] = False,
    quality: Annotated[
        str | None,
        typer.Option(
            help="For discard: norm, sharpness, light, LightQNet's .onnx, CSV with key,quality "
            "[norm]."
        ),
    ] = None,
    html: HtmlOut = None,
    no_pictures: NoPictures = False,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Measure a model: accuracy, AUC, EER, TAR or FNMR at FMR, each with its 95 % interval."""
    del aligned  # pictures of another size are refused by name; detection comes with the runtime
    from crossface import api
    from crossface.app.crop_quality import quality_named
    from crossface.app.output import show_json
    from crossface.evaluation.html import write_html
    from crossface.evaluation.protocol_tables import protocol_table
    from crossface.evaluation.run import open_protocol_data, run_protocol

    progress = not context.obj["quiet"]
    opened = open_protocol_data(protocol, data, pairs)
    chosen = None
    if quality is not None and protocol == "discard":
        chosen = quality_named(quality, opened.source, progress=progress)
    report = run_protocol(
        api.load_model(model, input_spec=input_spec, threads=threads),
        protocol,
        opened,
        flip=not no_flip,
        ladders=ladder or (),
        figures=html is not None,
        options={
            **({"by_norm": False} if no_norm else {}),
            **({"by_detector": False} if no_detector_score else {}),
            **({"conservative": True} if conservative else {}),
            **({"quality": chosen} if quality is not None else {}),
        },
        progress=progress,
    )
    if html is not None:
        write_html(report, html, source=opened.source, pictures=not no_pictures)
    if json_out is not None:
        show_json(report, json_out)
    if str(json_out) != "-":
        print(protocol_table(report))
