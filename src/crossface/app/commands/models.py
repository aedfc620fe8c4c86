"""``crossface models``: the networks that can be made, and the model files of the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="[list|show|pull|verify|PATTERN]",
            help="list: model files of the store; show, pull, verify: one of them by NAME; or a "
            "shell pattern of the networks that can be trained, 'swin*' say.",
        ),
    ] = "*",
    name: Annotated[str | None, typer.Argument(help="Name of a model file.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="pull: a file or folder instead of the network.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the networks that can be trained; list, show, pull or verify model files.

    Model files lie in CROSSFACE_HOME (or the platform's cache folder); CROSSFACE_OFFLINE=1 forbids
    the network. InsightFace's packs in ~/.insightface/models are listed too.
    """
    from crossface.core.errors import UsageError

    if what in {"show", "pull"} and name is None:
        raise UsageError(f"crossface models {what} needs a NAME; crossface models list shows them")
    if what not in {"show", "pull", "verify"} and name is not None:
        raise UsageError(f"crossface models {what} takes no NAME, got {name!r}")
    if source is not None and what != "pull":
        raise UsageError("--from belongs to crossface models pull")
    if what == "list":
        _list(as_json)
    elif what == "show":
        _show(str(name), as_json)
    elif what == "pull":
        _pull(str(name), source, as_json, progress=not context.obj["quiet"])
    elif what == "verify":
        _verify(name, as_json)
    else:
        from crossface.nets import list_models

        names = list_models(what)
        print(json.dumps(names) if as_json else "\n".join(names))


def _list(as_json: bool) -> None:
    from crossface.pipeline.store import ModelStore

    store = ModelStore()
    rows = [
        {
            "name": entry.known.name,
            "task": entry.known.task,
            "here": entry.path is not None,
            "licence": entry.known.licence,
            "non_commercial": entry.known.non_commercial,
        }
        for entry in store.models()
    ]
    for pack in store.packs():
        rows += [
            {
                "name": pack.name,
                "task": task,
                "here": True,
                "licence": pack.licence,
                "non_commercial": pack.non_commercial,
            }
            for task in pack.files
        ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        here = "here" if row["here"] else "-"
        print(f"{row['name']!s:34} {row['task']!s:10} {here:5} {row['licence']}")


def _show(name: str, as_json: bool) -> None:
    from crossface.pipeline.store import ModelStore

    store = ModelStore()
    row = store.row(name)
    path = store.path_of(row)
    values: dict[str, Any] = row.model_dump(mode="json", exclude_none=True)
    values["path"] = str(path) if path.is_file() else None
    if row.packaged is not None:
        values["card"] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    if as_json:
        print(json.dumps(values, indent=2))
        return
    card = values.pop("card", {})
    for key, value in values.items():
        print(f"{key:16} {value}")
    print("\n".join(_outline(card)))


def _outline(value: Any, indent: str = "") -> list[str]:  # noqa: ANN401  # JSON values
    """JSON values as indented lines; a figure with its interval is one line."""
    lines = []
    pairs = value.items() if isinstance(value, dict) else ((str(n), v) for n, v in enumerate(value))
    for key, inside in pairs:
        if isinstance(inside, dict) and {"value", "low", "high"} <= inside.keys():
            figures = " ".join(
                "-" if inside[part] is None else f"{inside[part]:.4g}"
                for part in ("value", "low", "high")
            )
            lines.append(f"{indent}{key}: {figures}  (value, low, high)")
        elif isinstance(inside, dict) or (
            isinstance(inside, list) and inside and isinstance(inside[0], dict)
        ):
            lines += [f"{indent}{key}:", *_outline(inside, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {inside}")
    return lines


def _pull(name: str, source: Path | None, as_json: bool, *, progress: bool) -> None:
    from crossface.core.weights import announce_licence
    from crossface.pipeline.store import ModelStore

    store = ModelStore()
    path = store.pull(name, source=source, progress=progress)
    announce_licence(store.row(name))
    print(json.dumps({"name": name, "path": str(path)}) if as_json else path)


def _verify(name: str | None, as_json: bool) -> None:
    from crossface.pipeline.store import ModelStore

    checked = ModelStore().verify(name)
    if as_json:
        rows = [{"name": c.name, "ok": c.reason is None, "reason": c.reason} for c in checked]
        print(json.dumps(rows, indent=2))
    else:
        for entry in checked:
            print(f"{entry.name:34} {entry.reason or 'ok'}")
    if any(entry.reason for entry in checked):
        raise typer.Exit(4)
