"""The table of a ladder, from the kept files alone: no weights, no embeddings, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crossface.app.ladder.plan import Cell, Equal
from crossface.app.ladder.records import Record, Records
from crossface.core.card import Interval
from crossface.evaluation.compare import compare_influences, mean_rates
from crossface.evaluation.exact import student_quantile
from crossface.evaluation.influence_file import load_influences
from crossface.evaluation.report import interval_dict
from crossface.training.config import public_config
from crossface.training.run import environment

VALIDATION = ("val_rank_correlation", "val_cosine")

# What a student is validated on; where these differ, so does what the figure means.
_VALIDATED = (
    ("data", "path"),
    ("data", "labels"),
    ("data", "limit"),
    ("data", "holdout"),
    ("data", "holdout_seed"),
    ("teacher", "path"),
)
_REPORT_KEYS = {"": "fnmr_at_fmr", " by identity": "fnmr_at_fmr_by_identity"}


def ladder_table(records: Records) -> dict[str, Any]:
    """Everything that is known of a ladder.

    Args:
        records: its kept files.

    Returns:
        {name, baseline, seeds, tables, unfinished, configs, ...}; a table is {teacher, equal, rows,
        chosen}. A row holds, over its seeds, the validation figures, the error rates of the mean
        student with intervals, and the differences to the baseline over the seeds that both have.
    """
    ladder, tables = records.ladder, records.ladder.tables
    found = {cell: records.find(cell) for cell in ladder.cells()}
    blocks = [
        _Block(records, found, teacher, equal).table()
        for teacher in tables.teachers
        for equal in tables.equal
    ]
    first = next(iter(tables.teachers))
    unfinished = [
        {"cell": cell.path, "reason": "not run yet" if record is None else record["failed"]}
        for cell, record in found.items()
        if record is None or "failed" in record
    ]
    return {
        "experiment": "ladder",
        "name": ladder.name,
        "baseline": ladder.baseline,
        "seeds": tables.seeds,
        "tables": blocks,
        "unfinished": unfinished,
        "evaluated_on": _evaluated_on(records, list(found.values())),
        "configs": {
            method: public_config(ladder.config(first, method, tables.seeds[0]))
            for method in tables.methods
        },
        **environment(),
    }


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """{by_seed, mean, standard_deviation} of a figure; no deviation from one seed."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "by_seed": list(values),
        "mean": float(np.mean(values)) if values else None,
        "standard_deviation": spread,
    }


def paired_over_seeds(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """``over_seeds`` of a - b, with Student's 95 % interval of the mean from two seeds on."""
    result = over_seeds([x - y for x, y in zip(a, b, strict=True)])
    reach = None
    if result["standard_deviation"] is not None:
        quantile = student_quantile(0.975, len(a) - 1)
        reach = quantile * result["standard_deviation"] / math.sqrt(len(a))
    mean = result["mean"]
    return result | {
        "low": None if reach is None else mean - reach,
        "high": None if reach is None else mean + reach,
    }


class _Block:
    """The rows of one teacher and one kind of equality."""

    def __init__(
        self, records: Records, found: Mapping[Cell, Record | None], teacher: str, equal: Equal
    ) -> None:
        self._records = records
        self._ladder = records.ladder
        self._teacher = teacher
        self._equal = equal
        self._found = found
        wanted = records.ladder.tables.evaluate
        self._evaluate = None if wanted is None else wanted.public()
        self._baseline = self._finished(self._ladder.baseline)

    def table(self) -> dict[str, Any]:
        rows = [self._row(method) for method in self._ladder.tables.methods]
        return {
            "teacher": self._teacher,
            "equal": self._equal,
            "rows": rows,
            "chosen": self._chosen(rows),
        }

    def _cell(self, method: str, seed: int) -> Cell:
        # Plain regression in equal minutes is plain regression: one run answers both.
        alone = method == self._ladder.baseline
        equal = self._ladder.tables.equal[0] if alone else self._equal
        return Cell(self._teacher, method, seed, equal)

    def _finished(self, method: str) -> dict[int, Record]:
        found = {seed: self._found.get(self._cell(method, seed))
                 for seed in self._ladder.tables.seeds}  # fmt: skip
        return {seed: r for seed, r in found.items() if r is not None and "failed" not in r}

    def _failed(self, method: str) -> list[dict[str, Any]]:
        failed = []
        for seed in self._ladder.tables.seeds:
            record = self._found.get(self._cell(method, seed))
            if record is not None and "failed" in record:
                failed.append({"seed": seed, "reason": record["failed"]})
        return failed

    def _row(self, method: str) -> dict[str, Any]:
        cells = self._finished(method)
        row: dict[str, Any] = {
            "method": method,
            "seeds": list(cells),
            "failed": self._failed(method),
        }
        if not cells:
            return row
        first, given = next(iter(cells.values())), list(cells.values())
        for name in VALIDATION:
            row[name] = over_seeds(_figures(given, name))
        own_mb = _mean([_memory(record) for record in given])
        plain_mb = _mean([_memory(record) for record in self._baseline.values()])
        both = own_mb is not None and plain_mb is not None
        row |= {
            "comparable": self._is_comparable(first),
            "images": _mean([record["summary"]["images"] for record in given]),
            "minutes": _mean([record["summary"]["minutes"] for record in given]),
            "images_per_s": _mean([record["summary"]["images_per_s"] for record in given]),
            "images_per_core_s": _mean([_images_per_core_s(record) for record in given]),
            "memory_mb": own_mb,
            "extra_memory_mb": own_mb - plain_mb if both else None,  # type: ignore[operator]
            "lines_of_code": None if first["code"] is None else first["code"]["lines"],
            "code": [] if first["code"] is None else first["code"]["files"],
            "commits": sorted({str(record["commit"]) for record in given}),
            "rates": self._rates(method, cells),
        }
        if method != self._ladder.baseline:
            row["minus_baseline"] = self._minus_baseline(method, cells)
        return row

    def _is_comparable(self, record: Record) -> bool:
        """Whether the validation figures mean the same as the baseline's."""
        plain = next(iter(self._baseline.values()), None)
        if plain is None:
            return True
        return all(
            plain["config"][table].get(key) == record["config"][table].get(key)
            for table, key in _VALIDATED
        )

    def _measured(self, method: str, cells: Mapping[int, Record]) -> dict[int, Record]:
        return {
            seed: record
            for seed, record in cells.items()
            if record["evaluation"] is not None
            and record.get("evaluate") == self._evaluate
            and self._records.place(self._cell(method, seed)).with_suffix(".npz").exists()
        }

    def _influences(self, method: str, seeds: Sequence[int]) -> list[Any]:
        places = [self._records.place(self._cell(method, seed)) for seed in seeds]
        return [load_influences(place.with_suffix(".npz")) for place in places]

    def _rates(self, method: str, cells: Mapping[int, Record]) -> dict[str, Any]:
        measured = self._measured(method, cells)
        if not measured:
            return {}
        stored = self._influences(method, list(measured))
        if len({pictures for _, _, pictures in stored}) > 1:
            return {}
        reports = [record["evaluation"] for record in measured.values()]
        errors = {name: _errors(reports, name) for name in stored[0][0]}
        known = {name: count for name, count in errors.items() if count is not None}
        return mean_rates([parts for parts, _, _ in stored], stored[0][1], errors=known)

    def _minus_baseline(self, method: str, cells: Mapping[int, Record]) -> dict[str, Any]:
        both = [seed for seed in cells if seed in self._baseline]
        result: dict[str, Any] = {"seeds": both}
        if self._is_comparable(next(iter(cells.values()))):
            for name in VALIDATION:
                pair = [_figures([side[seed] for seed in both], name)
                        for side in (cells, self._baseline)]  # fmt: skip
                if both and len(pair[0]) == len(pair[1]) == len(both):
                    result[name] = paired_over_seeds(*pair)
        measured = self._measured(method, cells)
        plain = self._measured(self._ladder.baseline, self._baseline)
        shared = [seed for seed in measured if seed in plain]
        if not shared:
            return result
        a = self._influences(method, shared)
        b = self._influences(self._ladder.baseline, shared)
        names = a[0][0].keys()
        if len({pictures for _, _, pictures in [*a, *b]}) > 1:
            reason = "the cells were measured on other pictures"
            no = interval_dict(Interval(value=None, reason=reason), a=None, b=None)
            return result | {"rates": dict.fromkeys(names, no)}
        parts = [[one for one, _, _ in side] for side in (a, b)]
        return result | {"rates": compare_influences(parts[0], parts[1], a[0][1])}

    def _chosen(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
        """The best method by held-out rank correlation; evaluation plays no part."""
        able = [row for row in rows if row.get("comparable") and row[VALIDATION[0]]["by_seed"]]
        if not able:
            return None
        most = max(len(row["seeds"]) for row in able)
        best = max(
            (row for row in able if len(row["seeds"]) == most),
            key=lambda row: float(row[VALIDATION[0]]["mean"]),
        )
        difference = best.get("minus_baseline", {}).get(VALIDATION[0])
        return {
            "method": best["method"],
            "by": VALIDATION[0],
            "seeds": most,
            "minus_baseline": difference,
            "sure": bool(difference and difference["low"] is not None and difference["low"] > 0),
        }


def _figures(cells: Sequence[Record], name: str) -> list[float]:
    values = [record["summary"].get(name) for record in cells]
    return [float(value) for value in values if value is not None]


def _images_per_core_s(record: Record) -> float | None:
    """Pictures a second of the processor: what the clock says depends on who else was there."""
    minutes = record["summary"].get("core_minutes")
    return record["summary"]["images"] / (60 * minutes) if minutes else None


def _memory(record: Record) -> float | None:
    memory = record.get("memory") or {}
    found = memory.get("peak_gpu_mb") or memory.get("peak_own_mb") or memory.get("peak_rss_mb")
    return None if found is None else float(found)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _errors(reports: Sequence[Mapping[str, Any]], name: str) -> int | None:
    """How many errors a rate counts, the mean over the reports."""
    target, _, suffix = name.removeprefix("FNMR at FMR ").partition(" ")
    key = _REPORT_KEYS[f" {suffix}" if suffix else ""]
    counts = [report[key].get(target, {}).get("n_false_non_matches") for report in reports]
    known = [count for count in counts if count is not None]
    return round(sum(known) / len(known)) if known else None


def _evaluated_on(records: Records, cells: Sequence[Record | None]) -> dict[str, Any] | None:
    wanted = records.ladder.tables.evaluate
    for record in cells:
        if wanted and record and record.get("evaluate") == wanted.public():
            keys = ("protocol", "data", "data_digest", "n_images", "n_identities", "flip")
            return {key: record["evaluation"][key] for key in keys}
    return None
