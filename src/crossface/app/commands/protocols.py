"""``crossface protocols``: the ways to measure a model."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def command(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the evaluation protocols."""
    from crossface.evaluation.liveness import LIVENESS
    from crossface.evaluation.protocols import PROTOCOLS

    names = sorted([*PROTOCOLS.names(), LIVENESS])  # liveness measures no embedder
    print(json.dumps(names) if as_json else "\n".join(names))
