"""``crossface models``: the networks that can be made."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def command(
    pattern: Annotated[str, typer.Argument(help="Shell pattern, 'swin*' say.")] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the networks that can be trained."""
    from crossface.nets import list_models

    names = list_models(pattern)
    print(json.dumps(names) if as_json else "\n".join(names))
