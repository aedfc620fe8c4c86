"""What ``train`` and ``distill`` do once their options are read."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from crossface.api import default_run_folder
from crossface.app.output import show_json
from crossface.core.errors import UsageError


def budget_table(
    steps: int | None, epochs: float | None, minutes: float | None
) -> dict[str, dict[str, float]]:
    """The ``budget`` table of the options that were given."""
    options = {"steps": steps, "epochs": epochs, "minutes": minutes}
    given = {name: value for name, value in options.items() if value is not None}
    if len(given) > 1:
        raise UsageError(f"one budget is enough, got --{' and --'.join(given)}")
    return {"budget": given} if given else {}


def run_verb(
    config: Path | None,
    assignments: list[str],
    base: dict[str, Any],
    *,
    out: Path | None,
    resume: Path | None,
    dry_run: bool,
    json_out: Path | None,
) -> None:
    """Resolve the configuration, run, and say where the result is."""
    from crossface.training.config import config_json, load_config
    from crossface.training.launch import launch
    from crossface.training.run import RunFolder

    show = logging.getLogger("crossface").level <= logging.INFO
    if resume is not None:
        if config is not None or assignments or base:
            raise UsageError("--resume goes on with the run's own configuration; give nothing else")
        finished = launch(RunFolder(resume).config(), resume, resume=True, show_progress=show)
    else:
        resolved = load_config(config, assignments, base)
        if dry_run:
            print(json.dumps(config_json(resolved), indent=2))
            return
        folder = out or default_run_folder(resolved.student.name)
        finished = launch(resolved, folder, show_progress=show)
    result = {"run": str(finished.folder), "model": str(finished.best), **finished.summary}
    if json_out is not None:
        show_json(result, json_out)
        return
    for name, value in result.items():
        print(f"{name:24} {value}")
