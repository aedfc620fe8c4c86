"""A contact sheet: the people of a photo folder as one HTML file that fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossface.core.files import atomic_path

if TYPE_CHECKING:
    from crossface.core.types import Face

_FACES_A_PERSON = 24
_FACES_IN_ALL = 3000
"""A face takes about 5 kB of the page."""


def write_sheet(
    target: Path,
    folder: Path,
    paths: Sequence[Path],
    faces: Sequence[Face],
    groups: Sequence[int],
    document: dict[str, Any],
    *,
    progress: bool,
) -> None:
    """Write the sheet, whole or not at all.

    Args:
        target: the HTML file.
        folder: where the pictures are; names on the page are relative to it.
        paths: (N,) the picture of each face.
        faces: (N,) faces.
        groups: (N,) the group of each face, 0 for the largest.
        document: the verb's answer, for the head of the page.
        progress: show progress on stderr.
    """
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    shown = _chosen(members)
    uris = dict(_thumbnails([(paths[i], i, faces[i]) for i in sorted(shown)], progress=progress))

    def grid(indices: Sequence[int]) -> str:
        cells = []
        for index in indices:
            if index in shown:
                cells.append(_cell(paths[index].relative_to(folder).as_posix(), uris[index]))
        return f'<div class="faces">{"".join(cells)}</div>'

    body = [_head(document)]
    once = []
    for group in sorted(members):
        indices = members[group]
        if len(indices) == 1:
            once += indices
            continue
        left = sum(index not in shown for index in indices)
        more = f" <small>{left} not shown</small>" if left else ""
        body.append(f"<h2>Person {group + 1}: {len(indices)} faces{more}</h2>{grid(indices)}")
    if once:
        body.append(f"<h2>Seen once: {len(once)} faces</h2>{grid(once)}")
    css = files("crossface.evaluation").joinpath("html.css").read_text(encoding="utf-8")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(folder.name)}: people</title><style>{css}{_CSS}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )
    with atomic_path(target, private=True) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _cell(name: str, uri: str) -> str:
    """A face with the picture's name, which breaks where its words end."""
    said = escape(name)
    broken = said.replace("/", "/<wbr>").replace("_", "_<wbr>").replace(".", "<wbr>.")
    image = f'<img alt="face of {said}" src="{uri}">' if uri else ""
    return f"<figure>{image}<figcaption>{broken}</figcaption></figure>"


_CSS = (
    ".faces{grid-template-columns:repeat(auto-fill,minmax(6.5rem,1fr))}"
    "h2{border-top:1px solid var(--hair);padding-top:.9rem}"
    "figcaption{font-size:.72rem}"
)


def _chosen(members: dict[int, list[int]]) -> set[int]:
    """The faces on the page: the first of each person, as long as there is room."""
    chosen: set[int] = set()
    for group in sorted(members):
        room = min(_FACES_A_PERSON, _FACES_IN_ALL - len(chosen))
        chosen.update(members[group][:room])
    return chosen


def _head(document: dict[str, Any]) -> str:
    people = document["people"]
    several = sum(len(person["faces"]) > 1 for person in people)
    text = (
        f"{document['faces']} faces of {document['pictures']} pictures. {several} people were seen "
        f"more than once, {len(people) - several} once. Groups are joined from a mean similarity "
        f"of {document['threshold']:.3f} on; two faces of one picture are never one person."
    )
    lines = [f'<p class="kicker">crossface cluster</p><h1>{escape(document["folder"])}</h1>']
    lines.append(f"<p>{escape(text)}</p>")
    if "agreement" in document:
        fit = document["agreement"]
        lines.append(
            f"<p>Against the folders' names ({fit['faces']} faces, {fit['people']} people): "
            f"pairwise F {fit['pairwise']['f']:.4f}, B-cubed F {fit['b_cubed']['f']:.4f}.</p>"
        )
    if document["passed_over"]:
        lines.append(
            f"<p>{document['passed_over']} faces were too small, blurred, dark or turned away "
            f"(quality below {document['min_quality']:.2f}) and are left out.</p>"
        )
    if document["failures"]:
        lines.append(
            f'<p class="warning">{len(document["failures"])} pictures could not be read.</p>'
        )
    return "".join(lines)


def _thumbnails(
    wanted: Sequence[tuple[Path, int, Face]], *, progress: bool
) -> Iterator[tuple[int, str]]:
    """Each face as a data URI, "" where its picture can no longer be read."""
    from crossface.core.contract import InputSpec
    from crossface.core.errors import ImageError
    from crossface.core.geometry import align
    from crossface.core.images import decode_image
    from crossface.core.progress import track
    from crossface.evaluation.html import picture_uri

    last, picture = None, None
    for path, index, face in track(wanted, "contact sheet", enabled=progress):
        if path != last:
            last = path
            try:
                picture = decode_image(path)
            except ImageError:
                picture = None
        uri = "" if picture is None else picture_uri(align(picture, face.kps_px, InputSpec()))
        yield index, uri
