"""``crossface embed``: unit vectors of all faces of some photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import (
    DetectorOption,
    InputSpecOption,
    JsonOut,
    PhotoModel,
    Threads,
)


def command(  # noqa: PLR0917  # a command's options
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Photographs.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="NumPy archive to write (.npz).")],
    model: PhotoModel = None,
    detector: DetectorOption = None,
    flip: Annotated[bool, typer.Option("--flip", help="Add the mirror image's embedding.")] = False,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Find, align and embed faces. Exit code 3 if no picture has a face.

    The archive holds, a row per face: embeddings (N, D) float32 of unit length, raw_norm, image
    (the picture's name), bbox_xyxy_px, kps_px, det_score, quality; and the model's contract.
    """
    from crossface.app.faces import picture_json, show_pictures
    from crossface.app.output import show_json
    from crossface.core.progress import Progress
    from crossface.core.weights import DEFAULT_MODEL
    from crossface.pipeline.analysis import FaceAnalysis
    from crossface.pipeline.archive import write_faces
    from crossface.pipeline.networks import NetworkOptions
    from crossface.pipeline.runtimes.specs import read_input_spec

    spec = None if input_spec is None else read_input_spec(input_spec)
    options = NetworkOptions(input_spec=spec)
    analysis = FaceAnalysis(
        model or DEFAULT_MODEL, detector, flip=flip, threads=threads, options=options
    )
    results = []
    with Progress("embed", len(images), enabled=not context.obj["quiet"]) as progress:
        for result in analysis.get_many(images):
            results.append(result)
            progress.advance()
    names = [path.name for path in images]
    write_faces(out, names, results, analysis.contract)
    if json_out is not None:
        show_json([picture_json(*pair) for pair in zip(names, results, strict=True)], json_out)
    raise typer.Exit(show_pictures(names, results, lines=str(json_out) != "-"))
