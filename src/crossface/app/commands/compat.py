"""``crossface compat``: may a gallery of one model be searched with another?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import (
    Crops,
    InputSpecOption,
    JsonOut,
    Key,
    ModelA,
    ModelB,
    NoFlip,
    Threads,
)


def command(  # noqa: PLR0913, PLR0917  # a command's options
    context: typer.Context,
    model_a: ModelA,
    model_b: ModelB,
    data: Crops,
    pairs: Annotated[
        Path | None, typer.Option(help="Pair list [every pair of the labelled set].")
    ] = None,
    map_from: Annotated[
        str | None,
        typer.Option(
            help="Other crops, labelled or not, to fit a linear map from B's space into A's on."
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Write B's leave to search A's templates, for crossface gallery allow."),
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option(help="Give this gallery that leave right away.")
    ] = None,
    key: Key = None,
    fmr: Annotated[float, typer.Option(help="FMR at which the leave gives the FNMR.")] = 1e-3,
    no_flip: NoFlip = False,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """FNMR at fixed FMR with gallery and probes by A or B: the 2x2 matrix, with intervals.

    With --record or --gallery, B may then search what A enrolled; a gallery refuses a model it has
    no such record of.
    """
    from crossface import api
    from crossface.app.output import show_json
    from crossface.core.files import write_json
    from crossface.evaluation.compatibility import compatibility_table
    from crossface.search.gallery import Gallery

    if gallery is not None:  # a wrong key is told before the work
        Gallery.open(gallery, key=key, create=False).close()
    report = api.compat(
        model_a,
        model_b,
        data=data,
        pairs=pairs,
        map_from=map_from,
        flip=not no_flip,
        input_spec=input_spec,
        threads=threads,
        progress=not context.obj["quiet"],
    )
    said: list[str] = []
    if record is not None or gallery is not None:
        leave = api.compat_record(report, fmr=fmr)
        if record is not None:
            write_json(record, leave.model_dump(mode="json"))
            said.append(f"wrote {record.name}")
        if gallery is not None:
            with Gallery.open(gallery, key=key, create=False) as opened:
                opened.allow(leave)
            names = f"{leave.probe.model_id} may search templates of {leave.gallery.model_id}"
            said.append(f"{names} in {gallery.name}")
    if json_out is not None:
        show_json(report, json_out)
    if str(json_out) != "-":
        print("\n".join([compatibility_table(report), *said]))
