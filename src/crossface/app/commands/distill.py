"""``crossface distill``: a student from a teacher, labels optional."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from crossface.app.options import Device, Epochs, JsonOut, Minutes, Out, Resume, Seed, Set, Steps


def command(  # noqa: PLR0913, PLR0917  # a command's options
    config: Annotated[Path | None, typer.Argument(help="TOML configuration.")] = None,
    data: Annotated[str | None, typer.Option(help="Crops: directory, zip, .rec, drawn:...")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="ONNX file, safetensors or run folder.")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="Our network whose pixel features are used (cadfr, fitnet).")
    ] = None,
    student: Annotated[str | None, typer.Option(help="Network (crossface models).")] = None,
    distiller: Annotated[
        str | None, typer.Option(help="A method of docs/methods.md; sp by default.")
    ] = None,
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
    """Distil a teacher into a student; labels are optional."""
    from crossface.app.runs import budget_table, run_verb

    base: dict[str, Any] = budget_table(steps, epochs, minutes)
    teacher_table = {"path": teacher, "features": features}
    given = {name: value for name, value in teacher_table.items() if value is not None}
    if given:
        base["teacher"] = given
    if data is not None:
        base["data"] = {"path": data}
    if student is not None:
        base["student"] = {"name": student}
    if distiller is not None:
        base["distiller"] = {"name": distiller}
    elif config is None and resume is None:  # a resumed run has its own
        base["distiller"] = {}
    if seed is not None:
        base["seed"] = seed
    if device is not None:
        base["device"] = device
    run_verb(
        config, assignments or [], base, out=out, resume=resume, dry_run=dry_run, json_out=json_out
    )
