"""``crossface demo``: the main job in five minutes, on drawn faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("build/demo"),
    seed: Annotated[int, typer.Option(help="Same seed, same numbers.")] = 0,
    photos: Annotated[
        list[Path] | None,
        typer.Option("--photo", help="A photograph for the packaged models; repeat."),
    ] = None,
) -> None:
    """Distil a CNN from a Transformer on drawn faces, use the packaged one, and write a report."""
    from crossface.app.demo import run_demo

    run_demo(out, seed=seed, photos=photos or ())
