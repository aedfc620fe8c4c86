"""A run's configuration: TOML in, unknown keys refused, the resolved copy kept with the run."""

from __future__ import annotations

import copy
import difflib
import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from crossface.core.errors import ConfigError
from crossface.training.defaults import DISTILLER, HEAD, METRIC, STUDENT
from crossface.training.schema import RunConfig

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)

_A_TABLE = re.compile(r"a valid dictionary or instance of \w+")

# Tables that choose something by name, and what they choose by default.
_NAMED = {"student": STUDENT, "distiller": DISTILLER, "head": HEAD, "metric": METRIC}


def load_config(path: str | Path | None, assignments: list[str], base: dict[str, Any]) -> RunConfig:
    """A run's configuration from a TOML file, defaults of the command, and ``--set`` pairs.

    Args:
        path: the TOML file, or None for none.
        assignments: ``"optim.lr=0.05"`` pairs; values are read as TOML, bare words as text.
        base: values of the command's own options; they win over the file, ``assignments`` over
            both.

    Raises:
        ConfigError: unreadable file, unknown key (with the nearest known one), wrong value.
    """
    source = "the command line" if path is None else Path(path).name
    document = {} if path is None else read_toml(path)
    merge_tables(document, base)
    for assignment in assignments:
        assign(document, assignment)
    return parse_config(document, source=source)


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ConfigError: naming the file that cannot be read or is no TOML.
    """
    source = Path(path).name
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from None


def parse_config(document: dict[str, Any], *, source: str) -> RunConfig:
    """A checked configuration from nested tables.

    Raises:
        ConfigError: naming ``source``, the key, what was expected and what came.
    """
    return parse_as(RunConfig, document, source=source)


def parse_as(model: type[Model], document: dict[str, Any], *, source: str) -> Model:
    """Nested tables checked by a schema.

    Raises:
        ConfigError: naming ``source``, the key, what was expected and what came.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ConfigError(f"{source}: {_first_problem(error, document, model)}") from None


def config_json(config: BaseModel) -> dict[str, Any]:
    """The resolved configuration as JSON values."""
    result: dict[str, Any] = json.loads(config.model_dump_json())
    return result


def public_config(config: RunConfig) -> dict[str, Any]:
    """The resolved configuration with file names in place of paths, to travel with a model."""
    public = config_json(config)
    for table, key in (
        ("data", "path"),
        ("data", "exclude"),
        ("student", "weights"),
        ("teacher", "path"),
        ("teacher", "features"),
        ("teacher", "input_spec"),
    ):
        value = (public[table] or {}).get(key)
        if value is not None and not str(value).startswith("drawn:"):
            public[table][key] = Path(value).name
    if public["teacher"] is not None:
        public["teacher"]["others"] = [Path(path).name for path in public["teacher"]["others"]]
    return public


def _first_problem(error: ValidationError, document: dict[str, Any], model: type[BaseModel]) -> str:
    problems = [(_location(problem, document), problem) for problem in error.errors()]
    # A value that may be one of several kinds has a problem with each; the deepest one is meant.
    start = problems[0][0]
    related = [entry for entry in problems if entry[0][: len(start)] == start]
    location, problem = max(related, key=lambda entry: len(entry[0]))
    dotted = ".".join(location) or "the document"
    if problem["type"] == "extra_forbidden":
        known = _keys_at(location[:-1], model)
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {dotted!r}; {hint}"
    if problem["type"] == "missing":
        return f"{dotted!r} is missing"
    said = [_A_TABLE.sub("a table", entry["msg"]) for where, entry in related if where == location]
    expected = [
        text.removeprefix("Value error, ").removeprefix("Input should be ") for text in said
    ]
    lead = "expected " if said[0].startswith("Input should be ") else ""
    got = problem.get("input")
    shown = f", got {got!r}" if isinstance(got, str | int | float | bool | list) else ""
    return f"{dotted}: {lead}{' or '.join(dict.fromkeys(expected))}{shown}"


def _location(problem: ErrorDetails, document: dict[str, Any]) -> list[str]:
    """The keys of a problem as the document has them, without the branches of a union."""
    node: Any = document
    found = []
    for part in problem["loc"]:
        at_place = part in node if isinstance(node, dict) else isinstance(part, int)
        if at_place and isinstance(node, dict | list):
            inner: Any = node
            node = inner[part]
        elif problem["type"] != "missing" or part != problem["loc"][-1]:
            continue
        found.append(str(part))
    return found


def _keys_at(location: list[str], model: type[BaseModel]) -> list[str]:
    for part in location:
        field = model.model_fields.get(part)
        candidates = [] if field is None else _models_in(field.annotation)
        if not candidates:
            return []
        model = candidates[0]
    return sorted(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    found: list[type[BaseModel]] = []
    for part in getattr(annotation, "__args__", ()):
        found += _models_in(part)
    return found


def merge_tables(into: dict[str, Any], values: dict[str, Any]) -> None:
    """Put nested tables over others: values of ``values`` win, key by key.

    A new budget replaces the old one, and a new name drops the old name's options.
    """
    for key, value in values.items():
        old = into.get(key)
        # A new budget replaces the old one: only one of its keys may be given.
        if key == "budget" or not (isinstance(value, dict) and isinstance(old, dict)):
            into[key] = copy.deepcopy(value)
            continue
        if key in _NAMED and value.get("name", _name(old, key)) != _name(old, key):
            old.pop("options", None)  # they were those of the other name
        merge_tables(old, value)


def _name(table: dict[str, Any], key: str) -> Any:  # noqa: ANN401  # unchecked so far
    return table.get("name", _NAMED[key])


def assign(document: dict[str, Any], assignment: str) -> None:
    """Put one ``--set`` pair, "optim.lr=0.05" say, over nested tables.

    Raises:
        ConfigError: for what is no such pair, or a key below a plain value.
    """
    key, separator, text = assignment.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not separator or not all(parts):
        raise ConfigError(f"--set wants key=value, got {assignment!r}")
    table = document
    for part in parts[:-1]:
        table = table.get(part, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {assignment!r}: {part!r} is a value, not a table")
    value = _toml_value(text.strip())
    for part in reversed(parts):
        value = {part: value}
    merge_tables(document, value)


def _toml_value(text: str) -> Any:  # noqa: ANN401
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return None if text in {"none", "null"} else text
    return document["value"] if len(document) == 1 else text
