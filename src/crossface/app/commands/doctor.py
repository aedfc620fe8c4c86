"""``crossface doctor``: what is installed, and known traps."""

from __future__ import annotations

import importlib.util
import json
from typing import Annotated

import typer


def command(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show versions, processor and known traps of this installation."""
    from crossface.training.run import environment

    report = environment()
    report["traps"] = _traps()
    if as_json:
        print(json.dumps(report, indent=2))
        return
    for name in ("crossface", "python", "commit"):
        print(f"{name:24} {report[name]}")
    for name, value in {**report["versions"], **report["machine"]}.items():
        print(f"{name:24} {value}")
    for trap in report["traps"]:
        print(f"! {trap}")


def _traps() -> list[str]:
    traps = []
    if importlib.util.find_spec("torchvision") is not None:
        traps.append(
            "torchvision is installed; a build that does not fit torch breaks `import torchvision` "
            "and what imports it. crossface does not need it."
        )
    if importlib.util.find_spec("usearch") is not None:
        traps.append("usearch is installed; import torch before it, or tracing may hang.")
    return traps
