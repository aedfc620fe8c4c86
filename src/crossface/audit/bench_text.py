"""Benchmarks as plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossface.evaluation.report import align_columns, warning_lines

Report = Mapping[str, Any]

_NO_LIST = {"value": None, "reason": "no pair list"}


def bench_text(report: Report) -> str:
    """A report of ``bench_embedder`` or ``bench_fruits`` with ``machine`` as aligned tables."""
    body = _fruits(report) if "stages" in report else _embedder(report)
    machine = report["machine"]
    said = [
        f"{machine['cpu']}, {machine['cores']} usable cores",
        f"timed: {report['timed']}",
        f"not timed: {report['not_timed']}",
    ]
    return "\n".join([*body, "", *said, *warning_lines(report)])


def _embedder(report: Report) -> list[str]:
    rows = [("", "median ms", "95 % ms", "crops/s", "peak memory MiB")]
    for cell in report["cells"]:
        rows.append(
            (
                cell["name"],
                f"{cell['median_ms']:.3f}",
                f"{cell['p95_ms']:.3f}",
                f"{cell['crops_per_s']:.1f}",
                _or_dash(cell["peak_memory_mib"]),
            )
        )
    return [f"{report['model']}  embedder speed", *align_columns(rows)]


def _fruits(report: Report) -> list[str]:
    head = (
        f"{report['model']} behind {report['detector']}  FRUITS on {report['data']}: "
        f"{report['n_images']:,} pictures, {report['n_without_embedding']:,} without an embedding, "
        f"{report['passes']} passes, one thread"
    )
    if report["one_core"]:
        head += ", one core"
    rows = [("", "median ms", "95 % ms")]
    for name, found in {**report["stages"], **report["whole"]}.items():
        rows.append((name, f"{found['median_ms']:.2f}", f"{found['p95_ms']:.2f}"))
    within = [("within", "pictures in time", "pairs late", "EER", "accuracy over folds")]
    for name, row in report["budgets"].items():
        lost = f"{row['n_pairs_lost']} of {row['n_pairs']}" if "n_pairs" in row else "-"
        figures = [_figure(row.get(key, _NO_LIST)) for key in ("eer", "accuracy")]
        within.append((name, _percent(row["in_time"]["value"]), lost, figures[0], figures[1]))
    reasons = {
        entry["reason"]
        for row in report["budgets"].values()
        for entry in (row.get("accuracy", _NO_LIST), row.get("eer", _NO_LIST))
        if entry["value"] is None
    }
    memory = f"peak memory {_or_dash(report['peak_memory_mib'])} MiB"
    return [
        head,
        *align_columns(rows),
        "",
        *align_columns(within),
        *(f"-: {reason}" for reason in sorted(reasons)),
        "",
        memory,
    ]


def _figure(entry: Report) -> str:
    if entry["value"] is None:
        return "-"
    if entry["low"] is None:
        return _percent(entry["value"])
    low, high = (f"{100 * entry[side]:.2f}" for side in ("low", "high"))
    return f"{_percent(entry['value'])} [{low}, {high}]"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
