"""``crossface protocol build``: a verification list from a user's own labelled crops."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import JsonOut


class Action(StrEnum):
    """What to do with a protocol."""

    build = "build"


def command(  # noqa: PLR0917  # a command's options
    context: typer.Context,
    action: Annotated[Action, typer.Argument(help="build: make a list of pairs.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="Labelled aligned crops.")],
    out: Annotated[Path, typer.Option(help="The list: pairs.csv, or set.bin with the pictures.")],
    pairs_per_fold: Annotated[
        int, typer.Option(min=1, help="Genuine pairs in a fold, and impostor pairs.")
    ] = 300,
    folds: Annotated[int, typer.Option(min=1, help="Folds; nobody stands in two.")] = 10,
    seed: Annotated[int, typer.Option(help="Another seed, another list.")] = 0,
    json_out: JsonOut = None,
) -> None:
    """Make a verification list with identity-disjoint folds, and record how it is aligned."""
    del action  # there is one so far
    from crossface.app.output import show_json
    from crossface.data import open_faces
    from crossface.data.build_pairs import build_pairs, write_list

    source = open_faces(data)
    pairs = build_pairs(source, pairs_per_fold=pairs_per_fold, folds=folds, seed=seed)
    record = write_list(source, pairs, out, progress=not context.obj["quiet"])
    if json_out is not None:
        show_json(record, json_out)
    if str(json_out) != "-":
        print(
            f"{out}: {record['n_pairs']:,} pairs in {record['folds']} folds, "
            f"{record['n_pictures']:,} pictures of {record['n_identities']:,} people; "
            f"alignment {record['alignment']['crops'][:16]} in {out.name}.json"
        )
