"""A ladder's configuration: a base run, and what each teacher and each method changes of it."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from crossface.core.errors import ConfigError
from crossface.data import DRAWN_PREFIX
from crossface.training.config import assign, merge_tables, parse_as, parse_config, read_toml
from crossface.training.schema import RunConfig, Section

Equal = Literal["images", "minutes"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")
_OWN = ("name", "seeds", "equal", "baseline", "teachers", "methods", "evaluate")


class EvaluateConfig(Section):
    """What finished students are measured on; never used to choose anything.

    Attributes:
        data: labelled aligned crops.
        flip: add the mirror image's embedding, as the field does.
    """

    data: str
    flip: bool = True

    def public(self) -> dict[str, Any]:
        """What is kept with a result: a file's name in place of its path."""
        drawn = self.data.startswith(DRAWN_PREFIX)
        return {"data": self.data if drawn else Path(self.data).name, "flip": self.flip}


class LadderTables(Section):
    """The keys of a ladder that are not those of a run.

    Attributes:
        name: of the ladder; the file's by default.
        seeds: of the runs; every cell is run with each.
        equal: "images": every method sees as many pictures as the base budget; "minutes": as many
            as it manages in the time that the baseline takes for them.
        baseline: the method that others are compared with; the first one by default.
        teachers: by name, tables that are put over the base's ``[teacher]``.
        methods: by name, tables that are put over the base.
        evaluate: None leaves the table with the validation figures.
    """

    name: str | None = None
    seeds: list[int] = Field(default=[0], min_length=1)
    equal: list[Equal] = Field(default=["images"], min_length=1)
    baseline: str | None = None
    teachers: dict[str, dict[str, Any]] = Field(min_length=1)
    methods: dict[str, dict[str, Any]] = Field(min_length=1)
    evaluate: EvaluateConfig | None = None


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One run of the ladder."""

    teacher: str
    method: str
    seed: int
    equal: Equal

    @property
    def path(self) -> str:
        """Its place below the ladder's folders."""
        return f"{self.teacher}/{self.method}-{self.seed}-{self.equal}"


@dataclass(frozen=True, slots=True)
class Ladder:
    """A checked ladder.

    Attributes:
        name: what its files are called.
        tables: the ladder's own keys.
        base: the tables of the base run.
        source: the file's name, for errors.
    """

    name: str
    tables: LadderTables
    base: dict[str, Any]
    source: str

    @property
    def baseline(self) -> str:
        """The method that others are compared with."""
        return self.tables.baseline or next(iter(self.tables.methods))

    def cells(self) -> list[Cell]:
        """All cells, seed by seed, so that every stop leaves whole blocks."""
        tables = self.tables
        return [
            Cell(teacher, method, seed, equal)
            for seed in tables.seeds
            for teacher in tables.teachers
            for equal in tables.equal
            for method in tables.methods
            # Plain regression has the same minutes as itself: one run answers both.
            if equal == tables.equal[0] or method != self.baseline
        ]

    def config(
        self, teacher: str, method: str, seed: int, *, steps: int | None = None
    ) -> RunConfig:
        """The run of a method, with as many pictures as the base budget unless ``steps`` say.

        Raises:
            ConfigError: naming the ladder, the teacher and the method.
        """
        document = copy.deepcopy(self.base)
        own = self.tables.methods[method]
        source = f"{self.source} [teachers.{teacher}] [methods.{method}]"
        for key in ("budget", "seed"):
            if key in own:
                raise ConfigError(f"{source}: {key} is the same for all methods of a ladder")
        document.setdefault("distiller", {"name": "embedding"})
        merge_tables(document, {"teacher": self.tables.teachers[teacher]})
        images = document["budget"]["steps"] * document.get("batch_size", 128)
        merge_tables(document, own)
        equal = max(1, round(images / document.get("batch_size", 128)))
        document |= {"seed": seed, "budget": {"steps": equal if steps is None else steps}}
        document.setdefault("data", {}).setdefault("memory", "shared")
        return parse_config(document, source=source)


def load_ladder(path: str | Path, assignments: list[str] | None = None) -> Ladder:
    """A ladder from its TOML file; every cell's configuration is checked.

    Args:
        path: the file.
        assignments: ``"data.path=faces.zip"`` pairs that win over it.

    Raises:
        ConfigError: unreadable file, unknown key, wrong value, naming the key.
    """
    source = Path(path).name
    document = read_toml(path)
    for assignment in assignments or []:
        assign(document, assignment)
    own = {key: document.pop(key) for key in _OWN if key in document}
    tables = parse_as(LadderTables, own, source=source)
    name = tables.name or Path(path).stem
    _check_names(name, tables, source)
    _check_base(document, source)
    ladder = Ladder(name, tables, document, source)
    if ladder.baseline not in tables.methods:
        known = ", ".join(tables.methods)
        raise ConfigError(f"{source}: baseline {ladder.baseline!r} is none of the methods: {known}")
    for teacher in tables.teachers:
        for method in tables.methods:
            ladder.config(teacher, method, tables.seeds[0])
    return ladder


def _check_names(name: str, tables: LadderTables, source: str) -> None:
    for word in (name, *tables.teachers, *tables.methods):
        if not _NAME.fullmatch(word):
            raise ConfigError(
                f"{source}: names are letters, digits and _, since files are called by them, "
                f"got {word!r}"
            )
    for key in ("seeds", "equal"):
        given = getattr(tables, key)
        if len(set(given)) < len(given):
            raise ConfigError(f"{source}: {key} names one twice: {given}")


def _check_base(base: dict[str, Any], source: str) -> None:
    if "seed" in base:
        raise ConfigError(f"{source}: a ladder has seeds = [..], not seed")
    budget = base.get("budget")
    if not isinstance(budget, dict) or list(budget) != ["steps"]:
        raise ConfigError(
            f"{source}: a ladder needs [budget] steps, from which equal pictures and equal minutes "
            f"follow, got {budget!r}"
        )
    if type(budget["steps"]) is not int or type(base.get("batch_size", 128)) is not int:
        raise ConfigError(f"{source}: budget.steps and batch_size are whole numbers")
