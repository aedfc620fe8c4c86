"""``crossface enroll``: photographs of people into a gallery."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossface.app.options import (
    USABLE_QUALITY,
    DetectorOption,
    GalleryFile,
    InputSpecOption,
    JsonOut,
    Key,
    PhotoModel,
    Threads,
    day,
)

if TYPE_CHECKING:
    from crossface.core.errors import CrossfaceError
    from crossface.pipeline.portraits import Portrait


def command(  # noqa: PLR0913, PLR0917  # a command's options
    context: typer.Context,
    gallery: GalleryFile,
    person: Annotated[str | None, typer.Argument(metavar="[PERSON]", help="Who is shown.")] = None,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE...]", help="Photographs of this person, or folders."),
    ] = None,
    people: Annotated[
        Path | None, typer.Option(help="Many people: a folder each, named after the person.")
    ] = None,
    model: PhotoModel = None,
    detector: DetectorOption = None,
    key: Key = None,
    min_quality: Annotated[
        float, typer.Option(min=0, max=1, help="Least quality of a face; 0 takes every one.")
    ] = USABLE_QUALITY,
    largest: Annotated[
        bool, typer.Option("--largest", help="Of several people in front take the largest.")
    ] = False,
    consent: Annotated[str | None, typer.Option(help="What was agreed to; kept encrypted.")] = None,
    retain_until: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Last day the person may be kept.")
    ] = None,
    input_spec: InputSpecOption = None,
    threads: Threads = None,
    json_out: JsonOut = None,
) -> None:
    """Enrol photographs of a person, new or known; the gallery is made if it is not there.

    A picture without exactly one usable face in front is told and passed over. Exit codes: 3 if
    somebody has no usable picture and was not enrolled, 4 if a picture could not be read.
    """
    from crossface.app.enrolling import by_person, listed, people_in
    from crossface.app.photos import PhotoOptions, open_analysis
    from crossface.core.errors import UsageError
    from crossface.photo_gallery import Gallery
    from crossface.search.store import contract_of

    if (people is None) == (person is None or not images):
        raise UsageError("enroll takes PERSON IMAGE..., or --people FOLDER")
    if people is not None and (person is not None or consent is not None):
        raise UsageError("--people takes names from its folders, and no PERSON or --consent")
    until = None if retain_until is None else day(retain_until, "--retain-until")
    wanted = people_in(people) if people else listed(str(person), images or [])
    contract = contract_of(gallery) if gallery.exists() else None
    analysis = open_analysis(PhotoOptions(model, detector, threads, input_spec), contract)
    report = _Report(gallery.name, lines=str(json_out) != "-")
    with ExitStack() as stack:
        opened: Gallery | None = None  # a gallery is not made before there is somebody
        for name, answers in by_person(
            analysis,
            wanted,
            largest=largest,
            min_quality=min_quality or None,
            progress=not context.obj["quiet"],
        ):
            usable = list(report.usable(name, answers))
            if not usable:
                continue
            if opened is None:
                opened = stack.enter_context(Gallery.open(gallery, model=analysis, key=key))
            done = opened.enroll(
                name,
                [one.face for one in usable],
                note=[one.name for one in usable],
                consent=consent,
                retain_until=until,
            )
            report.enrolled(done.person, done.template_ids, usable)
    if json_out is not None:
        from crossface.app.output import show_json

        show_json(report.document, json_out)
    report.end()
    raise typer.Exit(report.code)


class _Report:
    """What happened, as lines while it happens and as JSON in the end."""

    def __init__(self, gallery: str, *, lines: bool) -> None:
        self._lines = lines
        self._unread = self._nobody = False
        self.document: dict[str, object] = {"gallery": gallery}
        self._done: list[dict[str, object]] = []
        self._not_used: list[dict[str, object]] = []
        self.document |= {"enrolled": self._done, "not_used": self._not_used}

    def usable(self, person: str, answers: list[Portrait | CrossfaceError]) -> Iterator[Portrait]:
        """Those that may be enrolled; the others are told."""
        from crossface.core.errors import CrossfaceError, ImageError

        found = False
        for answer in answers:
            if isinstance(answer, CrossfaceError):
                self._unread |= isinstance(answer, ImageError)
                self._not_used.append({"person": person, "reason": str(answer)})
                print(f"crossface: {person}: {answer}", file=sys.stderr)
            else:
                found = True
                yield answer
        self._nobody |= not found

    def enrolled(self, person: str, ids: tuple[int, ...], used: list[Portrait]) -> None:
        pictures = [one.name for one in used]
        self._done.append({"person": person, "templates": list(ids), "pictures": pictures})
        if self._lines:
            faces = "1 face" if len(ids) == 1 else f"{len(ids)} faces"
            print(f"{person}\t{faces} enrolled")

    def end(self) -> None:
        if self._lines and len(self._done) + len(self._not_used) > 1:
            people, passed = len(self._done), len(self._not_used)
            print(f"{people} people enrolled, {passed} pictures not used")

    @property
    def code(self) -> int:
        return 4 if self._unread else 3 if self._nobody else 0
