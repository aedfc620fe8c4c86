"""The figures of any report, by their shape, as HTML tables and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from crossface.evaluation.html_charts import interval_bars

_WORDS = {
    "acer": "ACER",
    "apcer": "APCER by kind of attack",
    "apcer_max": "APCER, highest of all kinds",
    "auc": "AUC",
    "bpcer": "BPCER",
    "bpcer_at_apcer": "Where no kind's APCER exceeds",
    "eer": "EER",
    "fmr": "FMR",
    "fta": "failure to acquire",
    "fnmr": "FNMR",
    "tar_at_fmr": "TAR at FMR",
    "fnmr_at_fmr": "FNMR at FMR",
    "fnmr_at_fmr_by_identity": "FNMR at FMR, identities weighing the same",
    "fnir_at_fpir": "FNIR at FPIR",
    "fpir_by_gallery_size": "FPIR by gallery size",
    "in_time": "pictures in time",
    "median_ms": "median, ms",
    "memory_before_mib": "memory before, MiB",
    "memory_mib": "memory after, MiB",
    "p95_ms": "95th percentile, ms",
    "peak_memory_mib": "peak memory, MiB",
}
_HIDDEN_FACTS = {
    "cannot_show",
    "card",
    "failures",
    "figures",
    "model",
    "templates_failed",
    "warnings",
}
_MOST_BARS = 30
_MOST_ROWS = 200


def figure_sections(report: Mapping[str, Any]) -> str:
    """A section for every figure of the report that is not a plain fact."""
    single = {key: value for key, value in report.items() if is_interval(value)}
    parts = []
    if single:
        parts.append(_section("Figures", _interval_table(single)))
    for key, value in report.items():
        body = "" if key in single else _figure(value)
        if body:
            parts.append(_section(words_of(key), body))
    return "".join(parts)


def facts_table(report: Mapping[str, Any]) -> str:
    """The plain facts of a report: numbers, texts and flat groups of them."""
    rows = []
    for key, value in report.items():
        text = None if key in _HIDDEN_FACTS else _fact(value)
        if text is not None:
            rows.append(f"<tr><td>{escape(words_of(key))}</td><td>{escape(text)}</td></tr>")
    return f'<div class="scroll"><table class="facts">{"".join(rows)}</table></div>'


def is_interval(value: object) -> bool:
    """Whether a JSON value is a figure {value, low, high, ...}."""
    return isinstance(value, Mapping) and "value" in value and ("low" in value or "reason" in value)


def words_of(key: str) -> str:
    """A key as people say it."""
    text = _WORDS.get(key) or str(key).removeprefix("n_").replace("_", " ")
    return text[:1].upper() + text[1:]


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>{body}"


def _figure(value: Any) -> str:  # noqa: ANN401  # a JSON value
    """The body of a section, or nothing where the value holds no figure."""
    if isinstance(value, list):
        rows = [row for row in value if isinstance(row, Mapping)]
        named = [(str(row.get("name", "")), _without(row, "name")) for row in rows]
        return _rows_table(named) if rows and len(rows) == len(value) else ""
    if not isinstance(value, Mapping) or not value:
        return ""
    if all(is_interval(entry) for entry in value.values()):
        return _interval_table(value) + _bars(value)
    if all(isinstance(entry, Mapping) for entry in value.values()):
        if not any(_holds_interval(entry) for entry in value.values()):
            return ""
        if not any(_is_cell(cell) for entry in value.values() for cell in entry.values()):
            parts = [(name, _figure(entry)) for name, entry in value.items()]
            return "".join(f"<h3>{escape(words_of(k))}</h3>{body}" for k, body in parts if body)
        return _rows_table(list(value.items())) + _columns_as_bars(value)
    if all(isinstance(entry, list) for entry in value.values()):
        parts = [(name, _figure(entry)) for name, entry in value.items()]
        return "".join(f"<h3>{escape(str(name))}</h3>{body}" for name, body in parts if body)
    return _mixed(value) if _holds_interval(value) else ""


def _without(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def mixed_section(title: str, value: Mapping[str, Any], *, rows: int) -> str:
    """Facts, figures and lists under one title, lists cut after so many rows."""
    cut: dict[str, Any] = {}
    for key, entry in value.items():
        inner = entry if isinstance(entry, Mapping) and not is_interval(entry) else None
        if inner is not None and not _holds_interval(inner):
            cut |= {f"{key} {name}": part for name, part in inner.items()}
        else:
            cut[key] = entry
    cut = {key: part[:rows] if isinstance(part, list) else part for key, part in cut.items()}
    return _section(title, _mixed(cut))


def _mixed(value: Mapping[str, Any]) -> str:
    """Facts and figures under one key: the facts first, then each figure below its name."""
    single = {key: entry for key, entry in value.items() if is_interval(entry)}
    rest = {key: _figure(entry) for key, entry in value.items() if key not in single}
    below = "".join(f"<h3>{escape(words_of(k))}</h3>{body}" for k, body in rest.items() if body)
    return facts_table(value) + (_interval_table(single) if single else "") + below


def _holds_interval(value: object) -> bool:
    if is_interval(value):
        return True
    if isinstance(value, Mapping):
        return any(_holds_interval(entry) for entry in value.values())
    return isinstance(value, list) and any(_holds_interval(entry) for entry in value)


def _interval_table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    extra = [
        key
        for key in ("a", "b", "threshold", "fmr", "fpir", "n_errors", "n_trials")
        if any(entry.get(key) is not None for entry in entries.values())
    ]
    head = "".join(f"<th>{escape(words_of(key))}</th>" for key in extra)
    rows = []
    for name, entry in entries.items():
        more = "".join(f"<td>{_number(entry.get(key), key)}</td>" for key in extra)
        rows.append(f"<tr><td>{escape(words_of(name))}</td>{_rate(entry)}{more}</tr>")
    return (
        '<div class="scroll"><table><thead><tr><th></th><th>value</th><th>95 % interval</th>'
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _rate(entry: Mapping[str, Any]) -> str:
    if entry["value"] is None:
        return f"<td>–</td><td><small>{escape(str(entry.get('reason', '')))}</small></td>"
    return f"<td><b>{percent(entry['value'])}</b></td><td>{_limits(entry)}</td>"


def _limits(entry: Mapping[str, Any]) -> str:
    if entry.get("low") is None:
        return f"<small>{escape(str(entry.get('reason') or '–'))}</small>"
    flag = f"<br>{escape(str(entry['reason']))}" if entry.get("reason") else ""
    return f"{percent(entry['low'])} – {percent(entry['high'])}{flag}"


def percent(value: float) -> str:
    """A rate for people, in per cent, with digits enough to tell it from 0 and 1."""
    shown = 100 * value
    digits = 4 if 0 < abs(shown) < 0.01 or 0 < abs(100 - shown) < 0.01 else 2
    return f"{shown:.{digits}f} %".replace("-", "\u2212")


def _rows_table(rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    columns: list[str] = []
    for _, row in rows:
        columns += [key for key in row if key not in columns and _is_cell(row[key])]
    head = "".join(f"<th>{escape(words_of(key))}</th>" for key in columns)
    body = []
    for name, row in rows[:_MOST_ROWS]:
        cells = "".join(f"<td>{cell_of(row.get(key), key)}</td>" for key in columns)
        body.append(f"<tr><td>{escape(str(name))}</td>{cells}</tr>")
    note = f'<p class="note">the first {_MOST_ROWS} of {len(rows)} rows</p>'
    return (
        f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>{note if len(rows) > _MOST_ROWS else ''}"
    )


def _is_cell(value: object) -> bool:
    return value is None or is_interval(value) or isinstance(value, str | int | float | bool)


def cell_of(value: Any, key: str) -> str:  # noqa: ANN401  # a JSON value
    """A cell of a table: a figure with its limits below, or a number or text of this key."""
    if is_interval(value):
        if value["value"] is None:
            return f"–<small>{escape(str(value.get('reason', '')))}</small>"
        return f"<b>{percent(value['value'])}</b><small>{_limits(value)}</small>"
    return _number(value, key)


def _number(value: object, key: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return percent(value) if key in {"a", "b", "fmr", "fpir"} else f"{value:.4g}"
    return escape(str(value))


def _fact(value: object) -> str | None:
    if isinstance(value, Mapping):
        flat = [(k, _fact(v)) for k, v in value.items() if not isinstance(v, Mapping | list)]
        whole = value and len(flat) == len(value) and not is_interval(value)
        return ", ".join(f"{k} {v}" for k, v in flat) if whole else None
    if isinstance(value, list):
        names = [entry for entry in value if isinstance(entry, str)]
        return ", ".join(names) if names and len(names) == len(value) else None
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return f"{value:,}" if isinstance(value, int) else f"{value}"


def _bars(entries: Mapping[str, Mapping[str, Any]]) -> str:
    known = {n: e for n, e in entries.items() if e["value"] is not None and e["value"] >= 0}
    if not 2 <= len(known) <= _MOST_BARS or len(known) < len(entries):
        return ""
    return f"<figure>{interval_bars(known, label='')}</figure>"


def _columns_as_bars(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Bars of every column whose entries are figures, a panel each."""
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    panels = []
    for key in columns:
        entries = {
            name: row[key]
            for name, row in rows.items()
            if is_interval(row.get(key)) and row[key]["value"] is not None
        }
        fits = 2 <= len(entries) <= _MOST_BARS
        if fits and all(entry["value"] >= 0 for entry in entries.values()):
            chart = interval_bars(entries, label=words_of(key))
            panels.append(f"<figure>{chart}</figure>")
    return "".join(panels)
