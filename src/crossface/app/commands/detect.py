"""``crossface detect``: where the faces are, and how good."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import Draw, JsonOut, Threads


def command(  # noqa: PLR0917  # a command's options
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Photographs.")],
    detector: Annotated[
        str | None,
        typer.Option(
            envvar="CROSSFACE_DETECTOR",
            help="ONNX file or name (crossface models list), or an InsightFace pack [the "
            "package's own].",
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help="crossface, retinaface, scrfd or yunet, if the file does not say."),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0.01, max=0.99, help="Least score [that of the detector].")
    ] = None,
    max_side: Annotated[
        int, typer.Option(min=32, help="Larger pictures are scaled down to it, in pixels.")
    ] = 640,
    liveness: Annotated[
        list[Path] | None, typer.Option(help="MiniFASNet file; repeat for the second.")
    ] = None,
    lightqnet: Annotated[
        Path | None, typer.Option(help="LightQNet file: a learned part of the quality.")
    ] = None,
    fsanet: Annotated[
        list[Path] | None, typer.Option(help="FSA-Net file: head pose; repeat to average.")
    ] = None,
    draw: Draw = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Find faces: box, five landmarks, score, quality. Exit code 3 if no picture has a face."""
    from crossface.app.faces import draw_faces, picture_json, show_pictures
    from crossface.app.output import show_json
    from crossface.core.images import decode_image
    from crossface.core.progress import Progress
    from crossface.core.types import Failure
    from crossface.pipeline.analysis import FaceAnalysis
    from crossface.pipeline.detectors import DetectorOptions
    from crossface.pipeline.networks import NetworkOptions
    from crossface.pipeline.quality import QualityMeter

    options = NetworkOptions(kind, DetectorOptions(min_score=min_score, max_side_px=max_side))
    analysis = FaceAnalysis(
        None,
        detector,
        quality=QualityMeter(lightqnet=lightqnet, fsanet=fsanet or ()),
        liveness=liveness or None,
        threads=threads,
        options=options,
    )
    results = []
    with Progress("detect", len(images), enabled=not context.obj["quiet"]) as progress:
        for path, result in zip(images, analysis.get_many(images), strict=True):
            results.append(result)
            progress.advance()
            if draw is not None and not isinstance(result, Failure):
                target = draw / f"{len(results):04d}_{path.stem}.png"
                draw_faces(decode_image(path), result, target)
    names = [path.name for path in images]
    if json_out is not None:
        show_json([picture_json(*pair) for pair in zip(names, results, strict=True)], json_out)
    raise typer.Exit(show_pictures(names, results, lines=str(json_out) != "-"))
