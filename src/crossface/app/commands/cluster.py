"""``crossface cluster``: the faces of a photo folder into people."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossface.app.options import (
    USABLE_QUALITY,
    DetectorOption,
    InputSpecOption,
    PhotoModel,
    Threads,
)

if TYPE_CHECKING:
    from crossface.core.types import Face
    from crossface.pipeline.analysis import FaceAnalysis


def command(  # noqa: PLR0917  # a command's options
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of photographs.")],
    threshold: Annotated[
        float | None,
        typer.Option(
            min=-0.99, max=0.99, help="Join groups from this mean cosine on [the model's card]."
        ),
    ] = None,
    fmr: Annotated[float, typer.Option(help="FMR of the card's threshold.")] = 1e-4,
    min_quality: Annotated[
        float, typer.Option(min=0, max=1, help="Pass over faces below this quality.")
    ] = USABLE_QUALITY,
    named: Annotated[
        bool, typer.Option("--named", help="Sub-folders are people: say how well groups fit them.")
    ] = False,
    html: Annotated[Path | None, typer.Option(help="Contact sheet: one HTML file.")] = None,
    model: PhotoModel = None,
    detector: DetectorOption = None,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", "--json", help="Write the groups as JSON ('-': stdout)."),
    ] = None,
) -> None:
    """Sort the faces of a photo folder into people; two faces of one photo are never one person.

    Average linkage on all pairs. With --named the largest face of each picture in a sub-folder
    counts as that person, and pairwise and B-cubed F are given. Exit codes: 3 no face, 4 if a
    picture could not be read.
    """
    from crossface.app.contact_sheet import write_sheet
    from crossface.app.output import show_json
    from crossface.app.photos import PhotoOptions, open_analysis, pictures_of
    from crossface.core.errors import DataError
    from crossface.search.cluster import cluster_faces

    if not folder.is_dir():
        raise DataError(f"{folder.name}: expected a folder of photographs, there is none")
    pictures = pictures_of([folder])
    analysis = open_analysis(PhotoOptions(model, detector, threads, input_spec))
    bar = _threshold(analysis, threshold, fmr)
    shown = not context.obj["quiet"]
    found = _faces(analysis, folder, pictures, min_quality, progress=shown)
    groups: list[int] = []
    if found.faces:
        import numpy as np

        rows = [face.embedding for face in found.faces if face.embedding is not None]
        photos = [str(path) for path in found.paths]
        groups = cluster_faces(np.stack(rows), threshold=bar, photos=photos).tolist()
    document = _document(folder, found, groups, bar) | {"min_quality": min_quality}
    if named and groups:
        document["agreement"] = _agreement(folder, found, groups)
    if html is not None:
        write_sheet(html, folder, found.paths, found.faces, groups, document, progress=shown)
    if out is not None:
        show_json(document, out)
    if str(out) != "-":
        print("\n".join(_lines(document)))
    raise typer.Exit(4 if found.failures else 0 if groups else 3)


@dataclass(slots=True)
class Found:
    """Faces with an embedding, the picture of each, and what could not be read."""

    pictures: int
    paths: list[Path] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    passed_over: int = 0


def _faces(
    analysis: FaceAnalysis,
    folder: Path,
    pictures: list[Path],
    min_quality: float,
    *,
    progress: bool,
) -> Found:
    from crossface.core.progress import Progress
    from crossface.core.types import Failure

    found = Found(len(pictures))
    with Progress("find faces", len(pictures), enabled=progress) as bar:
        for path, answer in zip(pictures, analysis.get_many(pictures), strict=True):
            bar.advance()
            if isinstance(answer, Failure):
                name = path.relative_to(folder).as_posix()
                found.failures.append({"image": name, "reason": answer.reason})
                print(f"crossface: {answer.reason}", file=sys.stderr)
                continue
            for number, face in enumerate(answer, start=1):
                if face.embedding is None or (face.quality or 0.0) < min_quality:
                    found.passed_over += 1
                    continue
                found.paths.append(path)
                found.faces.append(face)
                found.numbers.append(number)
    return found


def _threshold(analysis: FaceAnalysis, threshold: float | None, fmr: float) -> float:
    from crossface.core.card import operating_point
    from crossface.core.errors import UsageError

    if threshold is not None:
        return threshold
    if not 0 < fmr < 1:
        raise UsageError(f"--fmr lies between 0 and 1, got {fmr}")
    row = operating_point(analysis.follow_card(), fmr=fmr)
    if row is None:
        raise UsageError(
            f"{analysis.contract.model_id} has no threshold card with an FMR of {fmr:g} or less: "
            "give --threshold (crossface card measures one)"
        )
    return row.threshold


def _document(folder: Path, found: Found, groups: list[int], threshold: float) -> dict[str, Any]:
    from crossface.app.faces import face_json

    people: list[dict[str, Any]] = [
        {"person": number + 1, "faces": []} for number in range(max(groups, default=-1) + 1)
    ]
    for group, path, number, face in zip(
        groups, found.paths, found.numbers, found.faces, strict=True
    ):
        place = {"image": path.relative_to(folder).as_posix(), "face": number}
        people[group]["faces"].append(place | face_json(face))
    return {
        "folder": folder.name,
        "threshold": threshold,
        "pictures": found.pictures,
        "faces": len(found.faces),
        "passed_over": found.passed_over,
        "people": people,
        "failures": found.failures,
    }


def _agreement(folder: Path, found: Found, groups: list[int]) -> dict[str, Any]:
    """How the groups fit the sub-folders, by the largest face of each picture."""
    from crossface.core.errors import DataError
    from crossface.evaluation.clustering import b_cubed, pairwise_agreement

    largest: dict[Path, int] = {}
    for index, (path, face) in enumerate(zip(found.paths, found.faces, strict=True)):
        other = largest.get(path)
        if other is None or face.bbox.width > found.faces[other].bbox.width:
            largest[path] = index
    inside = {p: i for p, i in largest.items() if len(p.relative_to(folder).parts) > 1}
    if not inside:
        raise DataError(f"{folder.name}: --named expects a sub-folder for each person")
    truth = [path.relative_to(folder).parts[0] for path in inside]
    chosen = [groups[index] for index in inside.values()]
    return {
        "faces": len(chosen),
        "people": len(set(truth)),
        "groups": len(set(chosen)),
        "pairwise": pairwise_agreement(chosen, truth)._asdict(),
        "b_cubed": b_cubed(chosen, truth)._asdict(),
    }


def _lines(document: dict[str, Any]) -> list[str]:
    lines = []
    people = document["people"]
    several = [person for person in people if len(person["faces"]) > 1]
    for person in several:
        images = [face["image"] for face in person["faces"]]
        more = f" and {len(images) - 3} more" if len(images) > 3 else ""
        lines.append(f"person {person['person']}\t{len(images)}\t{', '.join(images[:3])}{more}")
    lines.append(
        f"{document['faces']} faces of {document['pictures']} pictures: {len(several)} people seen "
        f"more than once, {len(people) - len(several)} once (threshold {document['threshold']:.3f})"
    )
    if document["passed_over"]:
        lines.append(
            f"{document['passed_over']} faces passed over: quality below "
            f"{document['min_quality']:.2f}, or not to be embedded"
        )
    for name, key in (("pairwise", "pairwise"), ("B-cubed", "b_cubed")):
        if "agreement" in document:
            row = document["agreement"][key]
            lines.append(
                f"{name}\tprecision {row['precision']:.4f}\trecall {row['recall']:.4f}\t"
                f"F {row['f']:.4f}"
            )
    return lines
