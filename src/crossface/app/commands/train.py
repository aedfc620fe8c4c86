"""``crossface train``: a network from labelled pictures, without a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crossface.app.options import Device, Epochs, JsonOut, Minutes, Out, Resume, Seed, Set, Steps


def command(  # noqa: PLR0913, PLR0917  # a command's options
    config: Annotated[Path | None, typer.Argument(help="TOML configuration.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Labelled crops: directory, zip, .rec, drawn:...")
    ] = None,
    student: Annotated[str | None, typer.Option(help="Network (crossface models).")] = None,
    head: Annotated[str | None, typer.Option(help="Margin head: cosface, arcface, ...")] = None,
    steps: Steps = None,
    epochs: Epochs = None,
    minutes: Minutes = None,
    seed: Seed = None,
    device: Device = None,
    assignments: Set = None,
    out: Out = None,
    resume: Resume = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Resolve and check, then stop.")
    ] = False,
    json_out: JsonOut = None,
) -> None:
    """Train a network from labelled pictures with a margin head."""
    from crossface.app.runs import budget_table, run_verb

    base: dict[str, Any] = budget_table(steps, epochs, minutes)
    if data is not None:
        base["data"] = {"path": data}
    if student is not None:
        base["student"] = {"name": student}
    if head is not None:
        base["head"] = {"name": head}
    if seed is not None:
        base["seed"] = seed
    if device is not None:
        base["device"] = device
    run_verb(
        config, assignments or [], base, out=out, resume=resume, dry_run=dry_run, json_out=json_out
    )
