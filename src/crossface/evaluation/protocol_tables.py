"""Reports of every protocol as aligned plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossface.evaluation.discard_text import discard_rows
from crossface.evaluation.liveness import LIVENESS, liveness_table
from crossface.evaluation.report import align_columns, report_table, warning_lines
from crossface.evaluation.robustness import robustness_table


def protocol_table(report: Mapping[str, Any]) -> str:
    """A report as text, rates in per cent with their 95 % interval."""
    if report.get("protocol") == LIVENESS:
        return liveness_table(report)
    if "ladders" in report:
        rows = align_columns(robustness_table(report))
        return "\n".join([_head(report), *rows, *warning_lines(report)])
    if "discard" in report:
        lines = [f"quality: {report['quality']}", *align_columns(discard_rows(report))]
        return "\n".join([_head(report), *lines, *warning_lines(report)])
    if report.get("protocol") == "rfw":
        return "\n".join([_head(report), *align_columns(_groups(report)), *warning_lines(report)])
    return report_table(report)


def _head(report: Mapping[str, Any]) -> str:
    return (
        f"{report['model']}  {report['protocol']}  on {report['data']}: "
        f"{report['n_pairs']:,} pairs, {report['n_identities']:,} identities"
    )


def _groups(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    common = report["at_common_threshold"]
    target = f"at common FMR {common['fmr_target']:g}"
    rows: list[tuple[str, ...]] = [("", "accuracy", f"FMR {target}", f"FNMR {target}", "note")]
    for group, row in report["groups"].items():
        if "reason" in row:
            rows.append((group, "-", "-", "-", row["reason"]))
            continue
        rates = common.get("groups", {}).get(group, {})
        cells = [_cell(entry) for entry in (row["accuracy"], rates.get("fmr"), rates.get("fnmr"))]
        rows.append((group, *cells, "" if rates else common["reason"]))
    return rows


def _cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return "-"
    text = f"{100 * entry['value']:.2f} %"
    if entry["low"] is None:
        return text
    return f"{text} ({100 * entry['low']:.2f} .. {100 * entry['high']:.2f})"
