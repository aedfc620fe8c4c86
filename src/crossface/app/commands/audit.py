"""``crossface audit``: whom a model fails, and what its data hides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossface.app.options import (
    Crops,
    GroupColumns,
    Groups,
    HtmlOut,
    InputSpecOption,
    JsonOut,
    Model,
    NoFlip,
    NoPictures,
    Threads,
)

if TYPE_CHECKING:
    from crossface.core.card import ThresholdCard
    from crossface.core.protocols import Embedder
    from crossface.evaluation.embed import EmbeddedFaces


def command(  # noqa: PLR0913, PLR0917  # a command's options
    context: typer.Context,
    model: Model,
    data: Crops,
    groups: Groups = None,
    by: GroupColumns = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="CSV of impostor pairs (a,b), other columns name the group."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="The common threshold (cosine) [the model's card].")
    ] = None,
    fmr: Annotated[float | None, typer.Option(help="Threshold at this FMR [1e-3].")] = None,
    against: Annotated[
        str | None, typer.Option(help="Another set: the same people or pictures in both?")
    ] = None,
    leak_threshold: Annotated[
        float, typer.Option(help="Cosine of candidates for one person in both sets.")
    ] = 0.7,
    drawn: Annotated[
        bool, typer.Option("--drawn", help="Also change one attribute of drawn people.")
    ] = False,
    no_flip: NoFlip = False,
    html: HtmlOut = None,
    no_pictures: NoPictures = False,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Error rates of every group at one common threshold, with intervals and what stays unseen."""
    from crossface import api
    from crossface.app.output import show_json
    from crossface.audit.groups import read_groups, read_impostor_pairs
    from crossface.audit.report import audit_faces, audit_text
    from crossface.data import open_faces
    from crossface.evaluation.figures import set_figures_of
    from crossface.evaluation.html import write_html

    _check(groups, pairs, by, threshold, fmr)
    progress = not context.obj["quiet"]
    table = None if groups is None else read_groups(groups)
    lists = None if pairs is None else read_impostor_pairs(pairs)
    embedder = api.load_model(model, input_spec=input_spec, threads=threads)
    faces = api.embed(embedder, data, flip=not no_flip, progress=progress)
    place, source = _threshold(embedder, faces, threshold, fmr, lists)
    report = audit_faces(
        faces,
        threshold=place,
        threshold_source=source,
        groups=table,
        columns=by.split(",") if by else None,
        lists=lists,
    )
    if against is not None:
        report["leakage"] = _leakage(embedder, faces, (data, against), leak_threshold, progress)
    if drawn:
        from crossface.audit.drawn import audit_drawn

        report["drawn"] = audit_drawn(embedder, flip=not no_flip, progress=progress)
    if html is not None:
        listed = None if lists is None else [pair for part in lists.values() for pair in part]
        report["figures"] = set_figures_of(faces, listed)
        write_html(report, html, source=open_faces(data), pictures=not no_pictures)
    if json_out is not None:
        show_json(report, json_out)
    if str(json_out) != "-":
        print(audit_text(report))


def _check(
    groups: Path | None,
    pairs: Path | None,
    by: str | None,
    threshold: float | None,
    fmr: float | None,
) -> None:
    from crossface.core.errors import UsageError

    if groups is None and pairs is None:
        raise UsageError(
            "an audit needs groups: --groups groups.csv, or --pairs with group columns"
        )
    if groups is not None and pairs is not None:
        raise UsageError("--pairs brings its own groups: give --groups or --pairs, not both")
    if by is not None and groups is None:
        raise UsageError("--by chooses columns of --groups, which is missing")
    if threshold is not None and fmr is not None:
        raise UsageError("--threshold and --fmr both name the threshold: give one")
    if threshold is not None and not -1 <= threshold <= 1:
        raise UsageError(f"--threshold is a cosine, from -1 to 1, got {threshold}")
    if fmr is not None and not 0 < fmr < 1:
        raise UsageError(f"--fmr must lie between 0 and 1, got {fmr}")


def _threshold(
    embedder: Embedder,
    faces: EmbeddedFaces,
    threshold: float | None,
    fmr: float | None,
    lists: dict[str, list[tuple[str, str]]] | None,
) -> tuple[float, str]:
    from crossface.audit.report import common_threshold

    if threshold is not None:
        return threshold, "given"
    card: ThresholdCard | None = getattr(embedder, "threshold_card", None)
    return common_threshold(faces, card, fmr=fmr, lists=lists)


def _leakage(
    embedder: Embedder,
    faces: EmbeddedFaces,
    places: tuple[str, str],
    threshold: float,
    progress: bool,
) -> dict[str, Any]:
    """Candidates between the audited set and another, by embedding and by pixels."""
    from crossface import api
    from crossface.audit.leakage import find_leakage, hash_faces
    from crossface.data import open_faces

    others = api.embed(embedder, places[1], flip=faces.flip, progress=progress)
    ours, theirs = (hash_faces(open_faces(place), progress=progress) for place in places)
    return find_leakage(faces, others, threshold=threshold, hashes=(ours, theirs))
