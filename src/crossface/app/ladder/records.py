"""What is kept of a ladder: a JSON and an ``.npz`` per finished cell, a timing per method."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossface.app.ladder.plan import Cell, Ladder
from crossface.core.errors import ConfigError, DataError
from crossface.core.files import write_json
from crossface.data import DRAWN_PREFIX
from crossface.training.config import public_config
from crossface.training.timing import StepTime

Record = dict[str, Any]


class Records:
    """The kept files of one ladder.

    Args:
        ladder: whose.
        results: the folder; the cells' files lie in ``results/ladder-NAME/``.
    """

    def __init__(self, ladder: Ladder, results: Path) -> None:
        self.ladder = ladder
        self.folder = results / f"ladder-{ladder.name}"
        self.table = results / f"ladder-{ladder.name}.json"
        self.page = results / f"ladder-{ladder.name}.html"
        self.markdown = results / f"ladder-{ladder.name}.md"

    def place(self, cell: Cell) -> Path:
        """The JSON of a cell."""
        return self.folder / f"{cell.path}.json"

    def timing_place(self, teacher: str, method: str) -> Path:
        """The timing of a method."""
        return self.folder / teacher / f"{method}.timing.json"

    def find(self, cell: Cell) -> Record | None:
        """The record of a cell, finished or failed; None where there is none.

        Raises:
            DataError: for a file that is no record.
            ConfigError: for a finished cell of another configuration, naming the key.
        """
        place = self.place(cell)
        record = _read(place)
        if record is None or "failed" in record:
            return record
        expected = public_config(self.ladder.config(cell.teacher, cell.method, cell.seed))
        # Equal minutes are another number of steps on another machine.
        ignored = {"budget"} if cell.equal == "minutes" else set[str]()
        key = _first_difference(record.get("config", {}), expected, ignored)
        if key is not None:
            raise ConfigError(
                f"{place.name} in {place.parent.name}: was made with another configuration, see "
                f"{key}; remove it, or give this ladder another name"
            )
        return record

    def is_finished(self, cell: Cell) -> bool:
        """Whether nothing of a cell is left to be done."""
        record = self.find(cell)
        if record is None or "failed" in record:
            return False
        wanted = self.ladder.tables.evaluate
        if wanted is None:
            return True
        # Measured on something else, it is measured again; the student is still there, or is
        # trained again to the same weights.
        kept = self.place(cell).with_suffix(".npz")
        return record.get("evaluate") == wanted.public() and kept.exists()

    def fail(self, cell: Cell, reason: str) -> None:
        """Keep why a cell has no result; it is tried again by the next call.

        The record is to be committed: where the reason names a path, the file's name is kept.
        """
        for path in self._paths(cell):
            reason = reason.replace(path, Path(path).name)
        write_json(self.place(cell), {"cell": asdict(cell), "failed": reason})

    def _paths(self, cell: Cell) -> list[str]:
        config = self.ladder.config(cell.teacher, cell.method, cell.seed)
        teacher, evaluate = config.teacher, self.ladder.tables.evaluate
        given = [config.data.path, config.student.weights, str(self.folder.parent)]
        if teacher is not None:
            given += [teacher.path, teacher.features, teacher.input_spec]
        given += [None if evaluate is None else evaluate.data]
        paths = [path for path in given if path and not path.startswith(DRAWN_PREFIX)]
        return sorted(paths, key=len, reverse=True)

    def step_times(self, teacher: str, method: str) -> dict[str, StepTime] | None:
        """{"baseline", "method"} of a method, or None where it was not timed."""
        place = self.timing_place(teacher, method)
        document = _read(place)
        if document is None:
            return None
        try:
            costs = {name: StepTime(**cost) for name, cost in document["step_times"].items()}
            return {"baseline": costs["method"], **costs}  # the baseline is timed alone
        except (KeyError, TypeError, AttributeError):
            raise DataError(f"{place.name}: expected a timing, remove it") from None

    def steps(self, cell: Cell) -> int | None:
        """Steps of a cell where equal minutes decide; None where equal pictures do.

        Raises:
            ConfigError: if the method was not timed.
        """
        if cell.equal == "images" or cell.method == self.ladder.baseline:
            return None
        costs = self.step_times(cell.teacher, cell.method)
        if costs is None:
            raise ConfigError(f"{cell.path}: equal minutes need a timing of its steps")
        plain = self.ladder.config(cell.teacher, self.ladder.baseline, cell.seed)
        return costs["method"].steps_within(costs["baseline"].seconds(plain.budget.steps or 1))

    def seconds(self, cell: Cell) -> float | None:
        """Estimate of a cell's training, the baseline's where the method was not timed.

        None where neither was.
        """
        costs = self.step_times(cell.teacher, cell.method)
        costs = costs or self.step_times(cell.teacher, self.ladder.baseline)
        if costs is None:
            return None
        config = self.ladder.config(cell.teacher, cell.method, cell.seed, steps=self.steps(cell))
        return costs["method"].seconds(config.budget.steps or 1)


def _read(place: Path) -> Record | None:
    try:
        document = json.loads(place.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{place.name}: not JSON: {error}") from None
    if not isinstance(document, dict):
        raise DataError(f"{place.name}: expected a table, got {type(document).__name__}")
    return document


def _first_difference(
    a: dict[str, Any], b: dict[str, Any], ignored: set[str], prefix: str = ""
) -> str | None:
    for key in sorted({*a, *b} - ignored):
        one, other = a.get(key), b.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found = _first_difference(one, other, set(), f"{prefix}{key}.")
            if found is not None:
                return found
        elif one != other:
            return f"{prefix}{key} ({one!r}, here {other!r})"
    return None
