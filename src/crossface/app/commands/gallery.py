"""``crossface gallery``: look at, thin out, move and check a gallery of people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossface.app.options import (
    DetectorOption,
    GalleryFile,
    InputSpecOption,
    JsonOut,
    Key,
    PhotoModel,
    day,
)
from crossface.app.photos import PhotoOptions

if TYPE_CHECKING:
    from crossface.pipeline.analysis import FaceAnalysis
    from crossface.search.gallery import Gallery


class Action(StrEnum):
    """What to do with the gallery."""

    list = "list"
    show = "show"
    remove = "remove"
    export = "export"
    expire = "expire"
    doctor = "doctor"
    verify_log = "verify-log"
    migrate = "migrate"
    re_enroll = "re-enroll"
    allow = "allow"


def command(  # noqa: PLR0913, PLR0917  # a command's options
    action: Annotated[Action, typer.Argument(help="What to do.", metavar="ACTION")],
    gallery: GalleryFile,
    name: Annotated[
        str | None, typer.Argument(metavar="[PERSON]", help="Who, for show, remove and re-enroll.")
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[IMAGE...]", help="Photographs or folders, for re-enroll."),
    ] = None,
    key: Key = None,
    out: Annotated[Path | None, typer.Option(help="File to write, for export.")] = None,
    plaintext: Annotated[
        bool, typer.Option("--plaintext", help="Export names and vectors in plain text (.npz).")
    ] = False,
    today: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="Day to compare with [today, UTC].")
    ] = None,
    similarity: Annotated[
        float | None, typer.Option(help="Same person from this cosine on, for doctor.")
    ] = None,
    min_quality: Annotated[
        float | None,
        typer.Option(help="Least quality of an enrolment, for doctor and re-enroll."),
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="Log head of an earlier export, for verify-log.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="The model to move to, for migrate.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="What crossface compat wrote, for allow.")
    ] = None,
    model: PhotoModel = None,
    detector: DetectorOption = None,
    input_spec: InputSpecOption = None,
    json_out: JsonOut = None,
) -> None:
    """Look at, thin out, move and check a gallery of people.

    list, show PERSON; remove PERSON, expire: erase; re-enroll PERSON IMAGE...: new templates for
    old; export --out FILE; doctor: what needs attention (exit code 1 if something does);
    verify-log [--head HEAD]; migrate [--to MODEL]: start, or how far it is; allow --record FILE:
    another model may search, as crossface compat measured.
    """
    from crossface.search.gallery import Gallery

    asked = Asked(
        name=name,
        images=tuple(images or ()),
        out=out,
        plaintext=plaintext,
        today=None if today is None else day(today, "--today"),
        similarity=similarity,
        head=head,
        to=to,
        record=record,
        photos=PhotoOptions(model, detector, input_spec=input_spec),
    )
    # re-enrolling opens it with a model, whose vectors it then takes
    analysis = asked.analysis(gallery) if action is Action.re_enroll else None
    with Gallery.open(
        gallery,
        key=key,
        create=False,
        min_quality=min_quality,
        contract=None if analysis is None else analysis.contract,
    ) as opened:
        if analysis is None:
            lines, document, code = _ACTIONS[action](opened, asked)
        else:
            lines, document, code = _re_enroll(opened, asked, analysis, min_quality)
    if json_out is not None:
        from crossface.app.output import show_json

        show_json(document, json_out)
    if str(json_out) != "-":
        print("\n".join(lines))
    if code:
        raise typer.Exit(code)


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of one call, and those an action cannot do without."""

    name: str | None
    images: tuple[Path, ...]
    out: Path | None
    plaintext: bool
    today: date | None
    similarity: float | None
    head: str | None
    to: str | None
    record: Path | None
    photos: PhotoOptions

    def analysis(self, gallery: Path) -> FaceAnalysis:
        """The networks, after what can be wrong with the words was found."""
        from crossface.app.photos import open_analysis
        from crossface.core.errors import UsageError
        from crossface.search.store import contract_of

        self.need("name", "re-enroll")
        if not self.images:
            raise UsageError("gallery re-enroll needs photographs of the person")
        return open_analysis(self.photos, contract_of(gallery))

    def need(self, what: str, action: str) -> Any:  # noqa: ANN401  # an option's value
        """An option's value.

        Raises:
            UsageError: if it was not given.
        """
        from crossface.core.errors import UsageError

        value = getattr(self, what)
        if value is None:
            told = "the name of a person" if what == "name" else f"--{what}"
            raise UsageError(f"gallery {action} needs {told}")
        return value


_NAMES_SHOWN = 20
Answer = tuple[list[str], Any, int]


def _list(gallery: Gallery, asked: Asked) -> Answer:
    del asked
    people = gallery.list()
    lines = [f"{p.name}\t{len(p.templates)}\t{p.retain_until or '-'}" for p in people]
    return lines or ["nobody is enrolled"], [_person(p) for p in people], 0


def _show(gallery: Gallery, asked: Asked) -> Answer:
    person = _person(gallery.show(asked.need("name", "show")))
    lines = [f"{key}\t{value}" for key, value in person.items() if key != "templates"]
    for template in person["templates"]:
        lines.append("template\t" + "\t".join(f"{k} {_short(v)}" for k, v in template.items()))
    return lines, person, 0


def _remove(gallery: Gallery, asked: Asked) -> Answer:
    return _removal(gallery.remove(asked.need("name", "remove")))


def _expire(gallery: Gallery, asked: Asked) -> Answer:
    return _removal(gallery.expire(asked.today))


def _removal(removal: Any) -> Answer:  # noqa: ANN401  # records.Removal
    lines = [f"removed {name}" for name in removal.persons] or ["nobody to remove"]
    if removal.pending:
        lines.append(f"{removal.pending}; the next command on this gallery tries again")
    elif removal.persons:
        lines.append("erased from the gallery's files")
    document = {
        "removed": list(removal.persons),
        "templates": removal.templates,
        "erased": removal.erased,
        "pending": removal.pending,
    }
    return lines, document, int(not removal.erased)


def _export(gallery: Gallery, asked: Asked) -> Answer:
    out = asked.need("out", "export")
    gallery.export(out, plaintext=asked.plaintext)
    head = str(gallery.log_head())
    document = {"file": str(out), "plaintext": asked.plaintext, "log_head": head}
    return [f"wrote {out}", f"log head {head}"], document, 0


def _doctor(gallery: Gallery, asked: Asked) -> Answer:
    health = gallery.doctor(similarity=asked.similarity, today=asked.today)
    lines = [f"{f.kind}\t{f.person or '-'}\t{f.detail}" for f in health.findings]
    lines += [f"not looked for: {text}" for text in health.skipped]
    document = {"findings": [asdict(f) for f in health.findings], "skipped": list(health.skipped)}
    return lines or ["nothing to complain about"], document, int(bool(health.findings))


def _verify_log(gallery: Gallery, asked: Asked) -> Answer:
    from crossface.core.errors import GalleryError
    from crossface.search.log import LogHead

    check = gallery.verify_log(None if asked.head is None else LogHead.parse(asked.head))
    if not check.valid:
        raise GalleryError(f"the audit log is not whole: {check.problem}")
    document = {"valid": True, "entries": check.entries, "head": str(check.head)}
    return [f"{check.entries} entries, all in order", f"head {check.head}"], document, 0


def _migrate(gallery: Gallery, asked: Asked) -> Answer:
    if asked.to is None:
        status = gallery.migration()
    else:
        from crossface.pipeline.networks import open_recogniser

        contract = open_recogniser(asked.to, input_spec=asked.photos.spec()).contract
        status = gallery.migrate(contract)
    document = {
        "target": status.target,
        "done": status.done,
        "waiting": list(status.waiting),
        "complete": status.complete,
    }
    lines = [f"{status.done} people are enrolled with {status.model}"]
    if status.waiting:
        lines.append(f"{len(status.waiting)} wait to be seen again (crossface gallery re-enroll):")
        lines += [f"  {name}" for name in status.waiting[:_NAMES_SHOWN]]
        left = len(status.waiting) - _NAMES_SHOWN
        lines += [f"  and {left} more (--json names them)"] if left > 0 else []
    return lines, document, 0


def _re_enroll(
    gallery: Gallery, asked: Asked, analysis: FaceAnalysis, min_quality: float | None
) -> Answer:
    from crossface.app.photos import pictures_of
    from crossface.core.errors import CrossfaceError
    from crossface.pipeline.portraits import portraits

    answers = list(portraits(analysis, pictures_of(list(asked.images)), min_quality=min_quality))
    for answer in answers:
        if isinstance(answer, CrossfaceError):  # the old templates are lost only for whole new ones
            raise answer
    usable = [answer for answer in answers if not isinstance(answer, CrossfaceError)]
    done = gallery.re_enroll(
        str(asked.name), [one.face for one in usable], note=[one.name for one in usable]
    )
    document = {
        "person": done.person,
        "templates": list(done.template_ids),
        "erased": done.pending is None,
        "pending": done.pending,
    }
    lines = [f"{done.person}: {len(usable)} new for all old templates"]
    lines.append(done.pending or "the old ones are erased from the gallery's files")
    return lines, document, int(done.pending is not None)


def _allow(gallery: Gallery, asked: Asked) -> Answer:
    from crossface.search.compat import read_record

    record = read_record(asked.need("record", "allow"))
    gallery.allow(record)
    names = {"gallery": record.gallery.model_id, "probe": record.probe.model_id}
    line = f"{names['probe']} may search templates of {names['gallery']}"
    return [line], names, 0


_ACTIONS: dict[Action, Callable[[Gallery, Asked], Answer]] = {
    Action.list: _list,
    Action.show: _show,
    Action.remove: _remove,
    Action.export: _export,
    Action.expire: _expire,
    Action.doctor: _doctor,
    Action.verify_log: _verify_log,
    Action.migrate: _migrate,
    Action.allow: _allow,
}


def _short(value: Any) -> str:  # noqa: ANN401  # a JSON value
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _person(person: Any) -> dict[str, Any]:  # noqa: ANN401  # records.Person
    document = asdict(person)
    if person.retain_until is not None:
        document["retain_until"] = person.retain_until.isoformat()
    document["templates"] = list(document["templates"])
    return document
