"""``crossface gallery``: look at, thin out, move and check a gallery of people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossface.app.options import InputSpecOption, JsonOut

if TYPE_CHECKING:
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


def command(  # noqa: PLR0913, PLR0917  # a command's options
    action: Annotated[Action, typer.Argument(help="What to do.", metavar="ACTION")],
    gallery: Annotated[Path, typer.Argument(metavar="GALLERY", help="The gallery's file.")],
    name: Annotated[
        str | None, typer.Argument(metavar="[PERSON]", help="Who, for show and remove.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Key file [environment: CROSSFACE_GALLERY_KEY].")
    ] = None,
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
        float | None, typer.Option(help="Least quality of an enrolment, for doctor.")
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="Log head of an earlier export, for verify-log.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="The model to move to, for migrate.")] = None,
    input_spec: InputSpecOption = None,
    json_out: JsonOut = None,
) -> None:
    """ACTION is list, show, remove, export, expire, doctor, verify-log or migrate."""
    from crossface.search.gallery import Gallery

    asked = Asked(
        name=name,
        out=out,
        plaintext=plaintext,
        today=None if today is None else _day(today),
        similarity=similarity,
        head=head,
        to=to,
        input_spec=input_spec,
    )
    with Gallery.open(gallery, key=key, create=False, min_quality=min_quality) as opened:
        lines, document, code = _ACTIONS[action](opened, asked)
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
    out: Path | None
    plaintext: bool
    today: date | None
    similarity: float | None
    head: str | None
    to: str | None
    input_spec: str | None

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
        lines.append("template\t" + "\t".join(f"{k} {v}" for k, v in template.items()))
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
    from crossface import api

    model = api.load_model(asked.need("to", "migrate"), input_spec=asked.input_spec)
    status = gallery.migrate(model.contract)
    document = {
        "target": status.target,
        "done": status.done,
        "waiting": list(status.waiting),
        "complete": status.complete,
    }
    lines = [f"moving to {model.contract.model_id} (contract {status.target})"]
    lines.append(f"{status.done} people are there, {len(status.waiting)} wait to be seen again")
    return lines, document, 0


_ACTIONS: dict[Action, Callable[[Gallery, Asked], Answer]] = {
    Action.list: _list,
    Action.show: _show,
    Action.remove: _remove,
    Action.export: _export,
    Action.expire: _expire,
    Action.doctor: _doctor,
    Action.verify_log: _verify_log,
    Action.migrate: _migrate,
}


def _person(person: Any) -> dict[str, Any]:  # noqa: ANN401  # records.Person
    document = asdict(person)
    if person.retain_until is not None:
        document["retain_until"] = person.retain_until.isoformat()
    document["templates"] = list(document["templates"])
    return document


def _day(text: str) -> date:
    from crossface.core.errors import UsageError

    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--today is written YYYY-MM-DD, got {text!r}") from None
