"""``crossface identify``: who is in a photograph, of those enrolled, or that it is nobody."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crossface.app.options import (
    DetectorOption,
    Draw,
    GalleryFile,
    InputSpecOption,
    JsonOut,
    Key,
    PhotoModel,
    Threads,
)

if TYPE_CHECKING:
    from crossface.core.types import Face, Failure
    from crossface.photo_gallery import Gallery
    from crossface.search.records import Identification

    Named = tuple[Face, Identification | None]


class Group(StrEnum):
    """How the templates of a person become one similarity."""

    max = "max"
    mean_top_k = "mean-top-k"


_SOMEBODY, _NOBODY, _NO_VERDICT, _NO_FACE, _BAD_PICTURE = 0, 1, 2, 3, 4


def command(  # noqa: PLR0913, PLR0917  # a command's options
    context: typer.Context,
    gallery: GalleryFile,
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Photographs, or folders of them.")
    ],
    top: Annotated[int, typer.Option(min=1, help="People to name at most for a face.")] = 5,
    threshold: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="Accept from this cosine on [the model's card]."),
    ] = None,
    fpir: Annotated[
        float, typer.Option(help="Largest false positive identification rate wanted of the card.")
    ] = 0.01,
    model: PhotoModel = None,
    detector: DetectorOption = None,
    key: Key = None,
    backend: Annotated[
        str, typer.Option(help="Index: exact, codes, faiss-flat or faiss-fp16.")
    ] = "exact",
    group: Annotated[
        Group, typer.Option(help="A person is as similar as the best, or the mean of the 3 best.")
    ] = Group.max,
    draw: Draw = None,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Name every face of some photographs, or say that it is nobody who is enrolled.

    Exit codes: 0 somebody was recognised, 1 nobody, 2 no verdict because the model is uncalibrated
    for a gallery of this size and no --threshold was given, 3 no face, 4 a picture that cannot be
    read.
    """
    from crossface.app.output import show_json
    from crossface.app.photos import PhotoOptions, open_analysis, pictures_of
    from crossface.core.errors import UsageError
    from crossface.core.progress import Progress
    from crossface.core.types import Failure
    from crossface.photo_gallery import Gallery
    from crossface.search.store import contract_of

    if not 0 < fpir < 1:
        raise UsageError(f"--fpir lies between 0 and 1, got {fpir}")
    contract = contract_of(gallery)
    pictures = pictures_of(images)
    analysis = open_analysis(PhotoOptions(model, detector, threads, input_spec), contract)
    results: list[list[Named] | Failure] = []
    with (
        Gallery.open(
            gallery,
            model=analysis,
            key=key,
            create=False,
            fpir=fpir,
            backend=backend,
            progress=not context.obj["quiet"],
        ) as opened,
        Progress("identify", len(pictures), enabled=not context.obj["quiet"]) as progress,
    ):
        for path, found in zip(pictures, analysis.get_many(pictures), strict=True):
            named: list[Named] | Failure = found if isinstance(found, Failure) else []
            if isinstance(found, list):
                named = _named(opened, found, top=top, threshold=threshold, group=group.value)
            results.append(named)
            _tell(path.name, named, lines=str(json_out) != "-")
            if draw is not None and not isinstance(named, Failure):
                _draw(path, named, draw / f"{len(results):04d}_{path.stem}.png")
            progress.advance()
    if any(
        a is not None and a.unknown is None for n in results if isinstance(n, list) for _, a in n
    ):
        print(
            f"crossface: no verdict: {analysis.contract.model_id} carries no threshold card for a "
            f"gallery of this size; give --threshold (crossface card measures one)",
            file=sys.stderr,
        )
    if json_out is not None:
        documents = [_json(p.name, named) for p, named in zip(pictures, results, strict=True)]
        show_json(documents, json_out)
    raise typer.Exit(_code(results))


def _named(
    gallery: Gallery,
    faces: list[Face],
    *,
    top: int,
    threshold: float | None,
    group: Literal["max", "mean-top-k"],
) -> list[Named]:
    """Each face with its answer; None for one that could not be embedded."""
    whole = [face for face in faces if face.embedding is not None]
    found: tuple[Identification, ...] = ()
    if whole:
        found = gallery.identify_many(whole, top=top, threshold=threshold, group=group)
    answers = iter(found)
    return [(face, None if face.embedding is None else next(answers)) for face in faces]


def _verdict(face: Face, answer: Identification | None) -> str:
    if answer is None:
        return f"not usable: {face.failure.reason if face.failure else 'no embedding'}"
    if answer.best is not None:
        return answer.best.person
    return "no verdict" if answer.unknown is None else "unknown"


def _tell(name: str, named: list[Named] | Failure, *, lines: bool) -> None:
    from crossface.core.types import Failure

    if isinstance(named, Failure):
        print(f"crossface: {named.reason}", file=sys.stderr)
        return
    if not named:
        print(f"crossface: {name}: no face was found", file=sys.stderr)
    for number, (face, answer) in enumerate(named, start=1) if lines else ():
        line = f"{name}  face {number}  {_verdict(face, answer)}"
        if answer is not None and answer.threshold is not None:
            line += f"  threshold {answer.threshold:.4f}"
            line += "" if answer.fpir is None else f"  FPIR {answer.fpir:.2g}"
        print(line)
        for rank, match in enumerate(answer or (), start=1):
            mark = "  accepted" if match.accepted else ""
            print(f"  {rank}. {match.similarity:.4f}  {match.person}{mark}")


def _draw(path: Path, named: list[Named], target: Path) -> None:
    from crossface.app.faces import draw_faces
    from crossface.core.images import decode_image

    labels = []
    for face, answer in named:
        label = _verdict(face, answer) if answer is not None else ""
        if answer is not None and answer.best is not None:
            label += f" {answer.best.similarity:.2f}"
        labels.append(label)
    draw_faces(decode_image(path), [face for face, _ in named], target, labels)


def _json(name: str, named: list[Named] | Failure) -> dict[str, Any]:
    from crossface.app.faces import face_json
    from crossface.core.types import Failure

    if isinstance(named, Failure):
        return {"image": name, "faces": [], "failure": named.reason}
    return {
        "image": name,
        "faces": [face_json(face) | _answer_json(answer) for face, answer in named],
        "failure": None,
    }


def _answer_json(answer: Identification | None) -> dict[str, Any]:
    if answer is None:
        return {"person": None, "unknown": None, "threshold": None, "fpir": None, "matches": []}
    return {
        "person": None if answer.best is None else answer.best.person,
        "unknown": answer.unknown,
        "threshold": answer.threshold,
        "fpir": answer.fpir,
        "matches": [
            {"person": m.person, "similarity": m.similarity, "accepted": m.accepted} for m in answer
        ],
    }


def _code(results: list[list[Named] | Failure]) -> int:
    from crossface.core.types import Failure

    if any(isinstance(named, Failure) for named in results):
        return _BAD_PICTURE
    answers = [answer for named in results if isinstance(named, list) for _, answer in named]
    known = [answer for answer in answers if answer is not None]
    if not known:
        return _NO_FACE
    if any(answer.best is not None for answer in known):
        return _SOMEBODY
    return _NO_VERDICT if any(answer.unknown is None for answer in known) else _NOBODY
