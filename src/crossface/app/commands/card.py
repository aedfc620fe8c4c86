"""``crossface card``: thresholds of a model, measured, and carried in its file."""

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
    from crossface.evaluation.embed import EmbeddedFaces


def command(  # noqa: PLR0913, PLR0917  # a command's options
    context: typer.Context,
    model: Model,
    data: Crops,
    groups: Groups = None,
    by: GroupColumns = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV of impostor pairs (a,b), in place of all pairs.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which half of the people chooses thresholds.")] = 0,
    all_data: Annotated[
        bool, typer.Option("--all-data", help="Choose on everybody; nobody is left to check on.")
    ] = False,
    embed_into: Annotated[
        Path | None, typer.Option(help="Copy the model file there with the card in its metadata.")
    ] = None,
    no_flip: NoFlip = False,
    html: HtmlOut = None,
    no_pictures: NoPictures = False,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Thresholds at FMRs and for gallery sizes, as far as the data reaches, checked on others.

    Half of the people choose the thresholds, the other half tells what they are worth.
    """
    from crossface import api
    from crossface.app.output import show_json
    from crossface.core.errors import UsageError
    from crossface.data import open_faces
    from crossface.evaluation.card_check import card_table
    from crossface.evaluation.figures import set_figures_of
    from crossface.evaluation.html import write_html
    from crossface.evaluation.html_card import card_report
    from crossface.pipeline.runtimes.opening import model_file

    _check_copy(model_file(model), embed_into)
    if by is not None and groups is None:
        raise UsageError("--by chooses columns of --groups, which is missing")
    embedder = api.load_model(model, input_spec=input_spec, threads=threads)
    faces = api.embed(embedder, data, flip=not no_flip, progress=not context.obj["quiet"])
    result = _measure(faces, groups, by, pairs, seed=None if all_data else seed)
    card, check = result["card"], result["check"]
    if embed_into is not None:
        from crossface.exporting.threshold_card import write_threshold_card

        write_threshold_card(
            model_file(model),
            card,
            embed_into,
            contract=embedder.contract,
            input_spec=embedder.input_spec,
        )
    if html is not None:
        figures = set_figures_of(result["faces"], result["pairs"])
        page = card_report(card, check, faces.failures, figures=figures)
        write_html(page, html, source=open_faces(data), pictures=not no_pictures)
    if json_out is not None:
        show_json({"card": card.model_dump(mode="json"), "check": check}, json_out)
    if str(json_out) != "-":
        print(card_table(card, check))


def _check_copy(model: Path, copy: Path | None) -> None:
    from crossface.core.errors import UsageError

    if copy is None:
        return
    if model.suffix not in {".onnx", ".safetensors"}:
        raise UsageError(
            f"--embed-into writes metadata of .onnx and .safetensors files, {model.name} is neither"
        )
    if copy.suffix != model.suffix:
        raise UsageError(f"--embed-into copies {model.name}: expected {model.suffix}, got {copy}")


def _measure(
    faces: EmbeddedFaces,
    groups: Path | None,
    by: str | None,
    pairs: Path | None,
    *,
    seed: int | None,
) -> dict[str, Any]:
    """The card, its check where half of the people were kept back, and who chose thresholds."""
    from crossface.audit.groups import read_groups, read_impostor_pairs
    from crossface.evaluation.card import make_card
    from crossface.evaluation.card_check import check_card
    from crossface.evaluation.halves import disjoint_halves

    listed = None
    if pairs is not None:
        listed = [pair for part in read_impostor_pairs(pairs).values() for pair in part]
    of_key = None
    if groups is not None:
        table = read_groups(groups)
        of_key = table.of(by.split(",") if by else table.columns)
    if seed is None:
        card = make_card(faces, groups=of_key, impostor_pairs=listed)
        return {"card": card, "check": None, "faces": faces, "pairs": listed}
    chosen, others = disjoint_halves(faces, seed)
    card = make_card(chosen, groups=of_key, impostor_pairs=_inside(listed, chosen))
    card = card.model_copy(
        update={
            "notes": (
                *card.notes,
                f"thresholds were chosen on one half of the people (seed {seed}); the other half "
                "took no part",
            )
        }
    )
    return {
        "card": card,
        "check": check_card(card, others, impostor_pairs=_inside(listed, others)),
        "faces": chosen,
        "pairs": _inside(listed, chosen),
    }


def _inside(
    pairs: list[tuple[str, str]] | None, faces: EmbeddedFaces
) -> list[tuple[str, str]] | None:
    """The pairs whose two pictures are both among the faces."""
    keys = set(faces.keys)
    return None if pairs is None else [(a, b) for a, b in pairs if a in keys and b in keys]
