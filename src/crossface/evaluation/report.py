"""Reports as data and as text: the keys every protocol shares, a table with intervals."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from crossface.core.card import Interval
from crossface.core.files import write_json
from crossface.evaluation.embed import EmbeddedFaces

Report = dict[str, Any]

_RATES = ("accuracy", "auc", "eer")
_BY_TARGET = {
    "tar_at_fmr": "TAR at FMR",
    "fnmr_at_fmr": "FNMR at FMR",
    "fnmr_at_fmr_by_identity": "FNMR at FMR (by identity)",
    "rank": "rank",
    "fnir_at_fpir": "FNIR at FPIR",
}


def report_head(faces: EmbeddedFaces, protocol: str, *, n_pairs: int, n_identities: int) -> Report:
    """The keys that every report begins with."""
    return {
        "model": faces.contract.model_id,
        "contract_id": faces.contract.contract_id,
        "protocol": protocol,
        "data": faces.source_name,
        "data_digest": faces.source_digest,
        "n_pairs": n_pairs,
        "n_identities": n_identities,
        "n_images": len(faces.keys),
        "fta": faces.fta,
        "failures": [{"name": f.name, "reason": f.reason} for f in faces.failures],
    }


def report_tail(faces: EmbeddedFaces, seconds: float) -> Report:
    """The keys that every report ends with: how it was made."""
    return {
        "flip": faces.flip,
        "input_spec_source": faces.input_spec_source,
        "tie_rule": "accepted when similarity >= threshold",
        "interval": "95 %, identities as units",
        "seconds": {"embed": round(faces.seconds, 3), "evaluate": round(seconds, 3)},
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """What made a report."""
    return {
        "crossface": _version("crossface"),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def interval_dict(interval: Interval, **more: float | int | None) -> dict[str, Any]:
    """{value, low, high, ...}; the reason only where there is one."""
    body: dict[str, Any] = {"value": interval.value, "low": interval.low, "high": interval.high}
    if interval.reason is not None:
        body["reason"] = interval.reason
    return {**body, **more}


def target_name(target: float) -> str:
    """A target FMR as the reports' key: 1e-3 for 0.001."""
    exponent = math.floor(math.log10(target) + 1e-9)
    return f"{target / 10.0**exponent:.3g}e{exponent}"


def to_json(report: Mapping[str, Any], path: str | Path) -> None:
    """Write a report; a figure that is not a number is refused."""
    write_json(path, dict(report))


def report_table(report: Mapping[str, Any]) -> str:
    """A report as aligned plain text, rates in per cent with their 95 % interval."""
    rows = [("", "value", "95 % interval", "threshold")]
    for name in _RATES:
        if name in report:
            rows.append(_row(name if name == "accuracy" else name.upper(), report[name]))
    for key, label in _BY_TARGET.items():
        for target, entry in report.get(key, {}).items():
            rows.append(_row(f"{label} {target}", entry))
    head = (
        f"{report['model']}  {report['protocol']}  on {report['data']}: "
        f"{report['n_pairs']:,} pairs, {report['n_identities']:,} identities, "
        f"FTA {_percent(report['fta'])}"
    )
    return "\n".join([head, *align_columns(rows), *warning_lines(report)])


def warning_lines(report: Mapping[str, Any]) -> list[str]:
    """The warnings of a report, one per line."""
    return [f"warning: {text}" for text in report.get("warnings", [])]


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """A comparison as aligned plain text, in percentage points."""
    rows = [("", "A", "B", "A - B", "95 % interval")]
    for name, entry in comparison["differences"].items():
        if entry["value"] is None:
            rows.append((name, "-", "-", "-", entry["reason"]))
            continue
        interval = f"[{_points(entry['low'])}, {_points(entry['high'])}]"
        values = (_percent(entry["a"]), _percent(entry["b"]), _points(entry["value"]))
        rows.append((name, *values, interval))
    head = (
        f"A: {', '.join(comparison['a'])}   B: {', '.join(comparison['b'])}   "
        f"{comparison['protocol']} on {comparison['data']}"
    )
    return "\n".join([head, *align_columns(rows)])


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns two spaces apart: the first and the last to the left, others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_line(row, widths).rstrip() for row in rows]


def _line(row: Sequence[str], widths: Iterable[int]) -> str:
    last = len(row) - 1
    cells = (
        cell.ljust(width) if place in {0, last} else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells)


def _row(label: str, entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if entry["value"] is None:
        return (label, "-", "-", entry["reason"])
    limits = "-"
    if entry["low"] is not None:
        limits = f"{_percent(entry['low'])} .. {_percent(entry['high'])}"
    threshold = entry.get("threshold")
    note = entry.get("reason", "") if threshold is None else f"{threshold:.4f}"
    return (label, _percent(entry["value"]), limits, note)


def _percent(value: float) -> str:
    digits = 4 if 0 < abs(value) < 1e-4 or 0 < abs(1 - value) < 1e-4 else 3
    return f"{100 * value:.{digits}f} %"


def _points(value: float) -> str:
    return f"{100 * value:+.3f}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
