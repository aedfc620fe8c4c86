"""``crossface ladder``: methods x teachers x seeds in one table with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import JsonOut, Set


def command(  # noqa: PLR0917  # a command's options
    context: typer.Context,
    config: Annotated[Path, typer.Argument(help="TOML ladder.")],
    out: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    results: Annotated[
        Path | None,
        typer.Option(help="Folder of the table and of a JSON and an .npz per cell [--out]."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="METHOD", help="Run this method only; repeat.")
    ] = None,
    teacher: Annotated[
        list[str] | None, typer.Option(metavar="TEACHER", help="With this teacher only; repeat.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Run these seeds only, with commas: 0,1.")
    ] = None,
    assignments: Set = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the cells with their estimated time, then stop.")
    ] = False,
    json_out: JsonOut = None,
) -> None:
    """Compare methods under equal pictures and equal minutes, several seeds, paired intervals."""
    from crossface.app.ladder.run import Chosen, run_ladder
    from crossface.app.ladder.words import ladder_text, listing_text
    from crossface.app.output import show_json

    found = run_ladder(
        config,
        out=out,
        results=results,
        assignments=assignments,
        chosen=Chosen(teachers=teacher or (), methods=only or (), seeds=_numbers(seeds)),
        dry_run=dry_run,
        show_progress=not context.obj["quiet"],
    )
    if json_out is not None:
        show_json(found, json_out)
    if str(json_out) != "-":
        print(listing_text(found) if dry_run else ladder_text(found))


def _numbers(text: str | None) -> list[int]:
    from crossface.core.errors import UsageError

    try:
        return [int(part) for part in (text or "").split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"--seeds wants numbers with commas, got {text!r}") from None
