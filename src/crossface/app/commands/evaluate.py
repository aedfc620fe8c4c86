"""``crossface evaluate``: how good a model is, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from crossface.core.protocols import FaceSource
    from crossface.evaluation.report import Report


def command(  # noqa: PLR0913, PLR0917  # a command's options
    context: typer.Context,
    model: Model,
    protocol: Annotated[str, typer.Argument(help="pairs, all-pairs, ... (crossface protocols).")],
    data: Annotated[
        str | None,
        typer.Option(
            help="Aligned crops: zip, directory, .bin, .rec, drawn:...; or a benchmark's folder; "
            "for liveness photographs by kind."
        ),
    ] = None,
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
    detector: Annotated[
        str | None,
        typer.Option(help="For liveness: face detector, ONNX file or name [crossface's own]."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="For liveness: live from this score on.")
    ] = None,
    html: HtmlOut = None,
    no_pictures: NoPictures = False,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Measure a model: accuracy, AUC, EER, TAR or FNMR at FMR, each with its 95 % interval.

    Protocol liveness measures MiniFASNet files (with commas), or a CSV with kind,score, in MODEL's
    place: APCER, BPCER and ACER.
    """
    del aligned  # pictures of another size are refused by name; detection comes with the runtime
    from crossface.app.output import show_json
    from crossface.evaluation.html import write_html
    from crossface.evaluation.liveness import LIVENESS
    from crossface.evaluation.protocol_tables import protocol_table

    progress = not context.obj["quiet"]
    own = {
        **({"by_norm": False} if no_norm else {}),
        **({"by_detector": False} if no_detector_score else {}),
        **({"conservative": True} if conservative else {}),
        **({"quality": quality} if quality is not None else {}),
    }
    source = None
    if protocol == LIVENESS:
        from crossface.app.liveness import liveness_report

        others = {"pairs": pairs, "ladder": ladder, "input_spec": input_spec}
        _refuse(protocol, own | others | {"flip": no_flip or None})
        report = liveness_report(
            model, data, detector, threshold=threshold, threads=threads, progress=progress
        )
    else:
        _refuse(protocol, {"detector": detector, "threshold": threshold})
        report, source = _measure(
            (model, input_spec, threads), protocol, (data, pairs), ladder=ladder or (),
            flip=not no_flip, figures=html is not None, options=own, progress=progress,
        )  # fmt: skip
    if html is not None:
        write_html(report, html, source=source, pictures=not no_pictures)
    if json_out is not None:
        show_json(report, json_out)
    if str(json_out) != "-":
        print(protocol_table(report))


def _refuse(protocol: str, options: dict[str, Any]) -> None:
    from crossface.core.errors import UsageError

    for name, value in options.items():
        if value is not None:
            raise UsageError(f"the protocol {protocol} has no {name.replace('_', ' ')}")


def _measure(
    model: tuple[str, str | None, int | None],
    protocol: str,
    data: tuple[str | None, Path | None],
    *,
    ladder: Sequence[str],
    flip: bool,
    figures: bool,
    options: dict[str, Any],
    progress: bool,
) -> tuple[Report, FaceSource]:
    """The report of an embedder, and the pictures it was measured on."""
    from crossface import api
    from crossface.app.crop_quality import quality_named
    from crossface.core.errors import UsageError
    from crossface.evaluation.run import open_protocol_data, run_protocol

    file, input_spec, threads = model
    place, pairs = data
    if place is None:
        raise UsageError(f"protocol {protocol} measures on pictures: --data is missing")
    opened = open_protocol_data(protocol, place, pairs)
    if "quality" in options and protocol == "discard":
        named = quality_named(options["quality"], opened.source, progress=progress)
        options = options | {"quality": named}
    report = run_protocol(
        api.load_model(file, input_spec=input_spec, threads=threads),
        protocol,
        opened,
        flip=flip,
        ladders=ladder,
        figures=figures,
        options=options,
        progress=progress,
    )
    return report, opened.source
