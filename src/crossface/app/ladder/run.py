"""Run the cells of a ladder, go on where it was stopped, write its table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossface.app.ladder.cell import CellTask
from crossface.app.ladder.markdown import render_markdown
from crossface.app.ladder.page import render_page
from crossface.app.ladder.plan import Cell, Ladder, load_ladder
from crossface.app.ladder.processes import RunTask, in_a_process
from crossface.app.ladder.records import Records
from crossface.app.ladder.table import ladder_table
from crossface.core.errors import CrossfaceError, Interrupted, UsageError
from crossface.core.files import atomic_path, write_json
from crossface.core.log import get_logger
from crossface.core.progress import clock
from crossface.training.config import config_json
from crossface.training.signals import StopRequest

log = get_logger("ladder")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which part of a ladder is to be run; everything where nothing is said.

    Attributes:
        teachers: their names.
        methods: their names.
        seeds: of the ladder's.
    """

    teachers: Sequence[str] = ()
    methods: Sequence[str] = ()
    seeds: Sequence[int] = ()

    def of(self, ladder: Ladder) -> list[Cell]:
        """The cells chosen.

        Raises:
            UsageError: for a teacher, a method or a seed that the ladder has not.
        """
        for word, given, known in (
            ("teacher", self.teachers, list(ladder.tables.teachers)),
            ("method", self.methods, list(ladder.tables.methods)),
            ("seed", self.seeds, ladder.tables.seeds),
        ):
            for one in given:
                if one not in known:
                    raise UsageError(f"{ladder.source}: no {word} {one!r}; it has {known}")
        return [
            cell
            for cell in ladder.cells()
            if (not self.teachers or cell.teacher in self.teachers)
            and (not self.methods or cell.method in self.methods)
            and (not self.seeds or cell.seed in self.seeds)
        ]


def run_ladder(
    config: str | Path,
    *,
    out: str | Path,
    results: str | Path | None = None,
    assignments: list[str] | None = None,
    chosen: Chosen | None = None,
    dry_run: bool = False,
    show_progress: bool = True,
    run_task: RunTask = in_a_process,
) -> dict[str, Any]:
    """Run what is not finished yet and write the table.

    Args:
        config: the ladder's TOML file.
        out: folder of the runs and their weights.
        results: folder of what is kept: ``ladder-NAME.json``, ``.html``, ``.md`` and a folder with
            a JSON and an ``.npz`` per cell; ``out`` by default.
        assignments: ``"data.path=faces.zip"`` pairs that win over the file.
        chosen: the part that is run; the table shows all that is there.
        dry_run: time a few steps of every method (kept for the run), list the cells, train none.
        show_progress: progress on stderr.
        run_task: how a task is run; a process per task by default.

    Returns:
        The table as JSON values (``table.ladder_table``); of a dry run the cells with their state
        and estimated seconds.

    Raises:
        CrossfaceError: naming what does not fit.
        Interrupted: after SIGINT or SIGTERM, when the running cell is saved.
    """
    ladder = load_ladder(config, assignments)
    cells = (chosen or Chosen()).of(ladder)
    runner = _Runner(ladder, Path(out), Path(results or out), run_task, show_progress)
    with StopRequest() as stop:
        left = [cell for cell in cells if not runner.records.is_finished(cell)]
        runner.time_methods(left, stop, estimate=dry_run)
        if dry_run:
            return runner.listing(cells, left)
        runner.run(left, stop)
    return runner.write_table()


class _Runner:
    """One call of the ladder."""

    def __init__(
        self, ladder: Ladder, out: Path, results: Path, run_task: RunTask, show: bool
    ) -> None:
        self.ladder = ladder
        self.records = Records(ladder, results)
        self.runs = out / f"ladder-{ladder.name}-runs"
        self._run_task = run_task
        self._show = show
        self._refused: dict[tuple[str, str], str] = {}

    def time_methods(self, cells: Sequence[Cell], stop: StopRequest, *, estimate: bool) -> None:
        """Time the methods of these cells beside the baseline, where that was not done yet.

        The shared work is done on the way, so that no cell's memory or time holds it. Equal
        minutes need every method's timing and so does an estimate that was asked for; equal
        pictures need none, and there a timing may cost a third of a short cell.
        """
        plain = self.ladder.baseline
        wanted = dict.fromkeys(
            (cell.teacher, cell.method if estimate or cell.equal == "minutes" else plain)
            for cell in cells
        )
        todo = [pair for pair in wanted if self.records.step_times(*pair) is None]
        for number, (teacher, method) in enumerate(todo, start=1):
            log.info("timing %d of %d: %s, %s", number, len(todo), teacher, method)
            seed = self.ladder.tables.seeds[0]
            configs = {"method": self.ladder.config(teacher, method, seed)}
            if method != self.ladder.baseline:
                configs["baseline"] = self.ladder.config(teacher, self.ladder.baseline, seed)
            task = {
                "kind": "timing",
                "configs": {name: config_json(one) for name, one in configs.items()},
                "record": str(self.records.timing_place(teacher, method)),
                "show_progress": self._show,
            }
            try:
                self._do(task, stop)
            except Interrupted:
                raise
            except CrossfaceError as error:
                self._refused[teacher, method] = str(error)
                log.warning("%s with %s cannot run: %s", method, teacher, error)

    def listing(self, cells: Sequence[Cell], left: Sequence[Cell]) -> dict[str, Any]:
        """The cells with their state and estimated seconds."""
        rows: list[dict[str, Any]] = []
        for cell in cells:
            state = "to run" if cell in left else "finished"
            reason = self._refused.get((cell.teacher, cell.method))
            if cell in left and reason is not None:
                state = f"cannot run: {reason}"
            seconds = self._estimate(cell) if state == "to run" else 0.0
            rows.append({"cell": cell.path, "state": state, "seconds": seconds})
        return {"ladder": self.ladder.name, "cells": rows,
                "seconds": sum(row["seconds"] for row in rows)}  # fmt: skip

    def run(self, cells: Sequence[Cell], stop: StopRequest) -> None:
        """Run cells one after the other; one that fails becomes a row."""
        start, planned_done = time.monotonic(), 0.0
        planned = [self._estimate(cell) for cell in cells]
        for number, cell in enumerate(cells):
            # What was spent so far corrects what was planned.
            pace = (time.monotonic() - start) / planned_done if planned_done else 1.0
            log.info(
                "cell %d of %d: %s, about %s; all: %s left",
                number + 1,
                len(cells),
                cell.path,
                clock(pace * planned[number]),
                clock(pace * sum(planned[number:])),
            )
            self._run_one(cell, stop)
            planned_done += planned[number]
            self.write_table()

    def _run_one(self, cell: Cell, stop: StopRequest) -> None:
        refused = self._refused.get((cell.teacher, cell.method))
        if refused is not None:
            self.records.fail(cell, refused)
            return
        steps = self.records.steps(cell)
        task = CellTask(
            cell=cell,
            config=self.ladder.config(cell.teacher, cell.method, cell.seed, steps=steps),
            folder=self.runs / cell.path,
            record=self.records.place(cell),
            evaluate=self.ladder.tables.evaluate,
        )
        try:
            self._do({"kind": "cell", "show_progress": self._show, **task.as_json()}, stop)
        except Interrupted:
            raise
        except CrossfaceError as error:
            log.warning("%s failed: %s", cell.path, error)
            self.records.fail(cell, str(error))

    def _do(self, task: dict[str, Any], stop: StopRequest) -> None:
        again = "; the same command goes on from there"
        if stop.wanted:
            raise Interrupted(f"{stop.signal_name}: nothing was running{again}")
        try:
            self._run_task(task, stop)
        except Interrupted:
            reason = stop.signal_name or "stopped"
            raise Interrupted(f"{reason}: the running cell is saved{again}") from None

    def _estimate(self, cell: Cell) -> float:
        if (cell.teacher, cell.method) in self._refused:
            return 0.0
        return (self.records.seconds(cell) or 0.0) + self._measuring_seconds()

    def _measuring_seconds(self) -> float:
        """Mean time of the finished cells' evaluations; 0 before the first."""
        if self.ladder.tables.evaluate is None:
            return 0.0
        records = [self.records.find(cell) or {} for cell in self.ladder.cells()]
        spent = [
            sum(record["evaluation"]["seconds"].values())
            for record in records
            if record.get("evaluation") is not None
        ]
        return sum(spent) / len(spent) if spent else 0.0

    def write_table(self) -> dict[str, Any]:
        """Write ``ladder-NAME.json``, ``.html`` and ``.md`` from the cells that are there."""
        table = ladder_table(self.records)
        write_json(self.records.table, table)
        for place, render in (
            (self.records.page, render_page),
            (self.records.markdown, render_markdown),
        ):
            with atomic_path(place) as temporary:
                temporary.write_text(render(table), encoding="utf-8")
        return table
