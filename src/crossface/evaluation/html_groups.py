"""The page of an audit: every group at one common threshold, as bars, a table and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from crossface.evaluation.html_charts import interval_bars
from crossface.evaluation.html_tables import cell_of, mixed_section, percent

_MOST_BARS, _MOST_ROWS = 40, 20
_QUESTIONS = (
    ("labels", "Labels that may be wrong"),
    ("leakage", "The same people or pictures in two sets"),
    ("drawn", "One attribute of drawn people changed"),
)
_COUNTS = (
    ("n_images", "pictures"),
    ("n_identities", "people"),
    ("n_impostor", "impostor pairs"),
    ("n_false_matches", "false matches"),
    ("n_genuine", "genuine pairs"),
)
_RATES = (("fmr", "FMR"), ("fnmr", "FNMR"))


def group_sections(report: Mapping[str, Any]) -> str:
    """A section for each column of an audit (``columns``), and what the audit cannot show."""
    columns = report.get("columns")
    parts = []
    if isinstance(columns, Mapping):
        parts += [_column(str(name), column) for name, column in columns.items()]
    for key, title in _QUESTIONS:
        if isinstance(report.get(key), Mapping):
            parts.append(mixed_section(title, report[key], rows=_MOST_ROWS))
    said = report.get("cannot_show")
    if isinstance(said, list) and said:
        items = "".join(f"<li>{escape(str(sentence))}</li>" for sentence in said)
        parts.append(f"<h2>What this cannot show</h2><ul>{items}</ul>")
    return "".join(parts)


def rate_bars(rows: Mapping[str, Mapping[str, Any]], key: str, label: str) -> str:
    """Bars of one rate of every group that has it, the lowest first; nothing below two groups."""
    known = {name: row[key] for name, row in rows.items() if row[key]["value"] is not None}
    if len(known) < 2:
        return ""
    rising = sorted(known.items(), key=lambda item: item[1]["value"])
    note = ""
    if len(rising) > _MOST_BARS:
        note = f"<figcaption>the highest {_MOST_BARS} of {len(rising)} groups</figcaption>"
    return f"<figure>{interval_bars(dict(rising[-_MOST_BARS:]), label=label)}{note}</figure>"


def _column(name: str, column: Mapping[str, Any]) -> str:
    rows = column["groups"]
    gaps = "".join(_gap(column.get(f"{key}_gap"), word) for key, word in _RATES)
    bars = "".join(rate_bars(rows, key, f"{word}, 95 % interval") for key, word in _RATES)
    return f"<h2>By {escape(name)}</h2>{gaps}{bars}{_table(rows)}"


def _gap(gap: Mapping[str, Any] | None, word: str) -> str:
    if gap is None:
        return ""
    ratio, difference = gap["ratio"], gap["difference"]
    if ratio["value"] is None:
        return f"<p>{word}: {escape(str(ratio['reason']))}.</p>"
    times = f"{ratio['value']:.3g}"
    if ratio["low"] is not None:
        times += f" [{ratio['low']:.3g}, {ratio['high']:.3g}]"
    said = (
        f"<p>{word}: <b>{escape(gap['worst'])}</b> has {times} times the rate of "
        f"<b>{escape(gap['best'])}</b>, a difference of {percent(difference['value'])}"
    )
    if difference["low"] is not None:
        said += f" [{percent(difference['low'])}, {percent(difference['high'])}]"
    if gap.get("ratio_if_equal") is not None:
        said += (
            f". Were all groups alike, chance would stay below {gap['ratio_if_equal']:.3g} times"
        )
        said += " in 95 % of samples"
    return f"{said}.</p>"


def _table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    counts = [
        (key, word)
        for key, word in _COUNTS
        if any(row.get(key) is not None for row in rows.values())
    ]
    rates = [
        (key, word)
        for key, word in _RATES
        if any(row[key]["value"] is not None for row in rows.values())
    ]
    head = "".join(f"<th>{word}</th>" for _, word in (*counts, *rates))
    body = []
    order = sorted(rows.items(), key=lambda item: item[1]["fmr"]["value"] or 0.0)
    for name, row in order:
        cells = "".join(f"<td>{cell_of(row.get(key), key)}</td>" for key, _ in (*counts, *rates))
        note = row.get("marked") or row.get("flag")
        said = f"<small>{escape(str(note))}</small>" if note else ""
        body.append(f"<tr><td>{escape(str(name))}{said}</td>{cells}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )
