"""A ladder as one HTML file: nothing is fetched, everything is inside, and it prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from crossface.app.ladder.words import (
    RATES,
    choice_of,
    points,
    title_of,
    whole,
)
from crossface.evaluation.html_tables import facts_table, percent

_CSS = """
main { max-width: 96rem; }
.scroll td, .scroll th { padding-left: 0.4rem; padding-right: 0.4rem; }
th { white-space: nowrap; }
td { white-space: nowrap; } .facts td, td.reason { white-space: normal; text-align: left; }
tr.chosen td { background: color-mix(in srgb, var(--model) 9%, transparent); }
svg.reach { width: 5.5rem; height: 1.1rem; display: inline-block; vertical-align: middle; }
svg.reach .zero { stroke: var(--quiet); stroke-width: 1; stroke-dasharray: 2 2; }
svg.reach .span { stroke: var(--ink); stroke-width: 1.4; }
svg.reach .point { fill: var(--model); }
"""
_HEAD = (
    "method", "seeds", "rank correlation<br>held out", "cosine<br>held out",
    "FNMR at<br>FMR 1e-3", "by identity", "FNMR at<br>FMR 1e-4", "by identity",
    "minus baseline,<br>points, 1e-3", "", "minus baseline,<br>points, 1e-4",
    "minutes", "images/s", "images/<br>core second", "extra<br>memory, MB", "lines<br>of code",
)  # fmt: skip
_WIDTH, _HEIGHT = 120.0, 18.0


def render_page(table: Mapping[str, Any]) -> str:
    """The whole page of a ladder (``table.ladder_table``)."""
    css = (files("crossface.evaluation") / "html.css").read_text(encoding="utf-8") + _CSS
    title = f"Ladder {table['name']}"
    body = "".join(
        [
            f'<p class="kicker">crossface ladder</p><h1>{escape(title)}</h1>',
            _opening(table),
            *(_block(block, table) for block in table["tables"]),
            _legend(table),
            _unfinished(table["unfinished"]),
            _configs(table["configs"]),
            f"<footer><h2>How it was made</h2>{facts_table(_facts(table))}</footer>",
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _opening(table: Mapping[str, Any]) -> str:
    on = table["evaluated_on"]
    measured = "The students were not measured on labelled faces."
    if on is not None:
        measured = (
            f"Error rates are those of all comparisons of {escape(str(on['data']))} "
            f"({on['n_images']:,} pictures of {on['n_identities']:,} people); it is used to "
            "report, never to choose."
        )
    return (
        f"<p>Every method teaches the same student on the same pictures. Differences are to "
        f"<b>{escape(table['baseline'])}</b>, the mean over seeds against the mean over seeds. "
        f"{measured}</p>"
    )


def _block(block: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    reach = _widest(block["rows"])
    chosen = block["chosen"]["method"] if block["chosen"] else None
    rows = "".join(_row(row, reach, chosen=row["method"] == chosen) for row in block["rows"])
    head = "".join(f"<th>{word}</th>" for word in _HEAD)
    return (
        f"<h2>{escape(title_of(block).capitalize())}</h2>"
        f"<p>{escape(choice_of(block, table))}.</p>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        "</div>"
    )


def _row(row: Mapping[str, Any], reach: float, *, chosen: bool) -> str:
    name = f"<td>{escape(row['method'])}</td>"
    if not row["seeds"]:
        said = "; ".join(dict.fromkeys(entry["reason"] for entry in row["failed"]))
        text = f"failed: {said}" if said else "not run yet"
        return f'<tr>{name}<td class="reason" colspan="{len(_HEAD) - 1}">{escape(text)}</td></tr>'
    rates = row["rates"]
    cells = [
        str(len(row["seeds"])) + (f"<small>{len(row['failed'])} failed</small>"
                                  if row["failed"] else ""),
        _figure(row, "val_rank_correlation"),
        _figure(row, "val_cosine"),
        *(_rate(rates.get(f"{name}{suffix}")) for name in RATES for suffix in ("", " by identity")),
        *_difference(row, reach),
        "-" if row["minutes"] is None else f"{row['minutes']:.1f}",
        whole(row["images_per_s"]),
        whole(row["images_per_core_s"]),
        whole(row["extra_memory_mb"], signed=True),
        whole(row["lines_of_code"]),
    ]  # fmt: skip
    mark = ' class="chosen"' if chosen else ""
    return f"<tr{mark}>{name}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _figure(row: Mapping[str, Any], name: str) -> str:
    figure = row[name]
    if figure["mean"] is None:
        return "–"
    small = []
    if figure["standard_deviation"] is not None:
        small.append(f"± {figure['standard_deviation']:.4f}")
    difference = row.get("minus_baseline", {}).get(name)
    if difference is not None:
        small.append(f"{difference['mean']:+.4f}")
    mark = "" if row["comparable"] else " (*)"
    return f"<b>{figure['mean']:.4f}</b>{mark}<small>{', '.join(small)}</small>".replace("-", "−")


def _rate(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return "–" if entry is None else f"–<small>{escape(_short(entry))}</small>"
    if entry["low"] is None:
        return percent(entry["value"])
    limits = f"{100 * entry['low']:.2f} – {100 * entry['high']:.2f}"
    return f"<b>{percent(entry['value'])}</b><small>{limits}</small>"


def _short(entry: Mapping[str, Any]) -> str:
    reason = str(entry.get("reason", ""))
    return "too few pairs" if "false matches" in reason else reason


def _difference(row: Mapping[str, Any], reach: float) -> tuple[str, str, str]:
    """The difference at the first FMR in words and as a whisker, and at the second in words."""
    rates = row.get("minus_baseline", {}).get("rates", {})
    first, second = (rates.get(f"{name} by identity") for name in RATES)
    return _points(first), _whisker(first, reach), _points(second)


def _points(entry: Mapping[str, Any] | None) -> str:
    value, _, limits = points(entry).replace("-", "−").partition(" ")
    if value == "−":
        return "–"
    return f"<b>{value}</b><small>{limits.strip('[]').replace(',', ' to')}</small>"


def _widest(rows: Sequence[Mapping[str, Any]]) -> float:
    """The reach of the whiskers, the same for a whole table."""
    found = [1e-6]
    for row in rows:
        entry = row.get("minus_baseline", {}).get("rates", {}).get(f"{RATES[0]} by identity")
        if entry and entry["value"] is not None:
            ends = (entry["value"], entry["low"], entry["high"])
            found += [abs(end) for end in ends if end is not None]
    return max(found)


def _whisker(entry: Mapping[str, Any] | None, reach: float) -> str:
    if entry is None or entry["value"] is None or entry["low"] is None:
        return ""
    middle = _HEIGHT / 2

    def place(value: float) -> str:
        return f"{_WIDTH / 2 * (1 + 0.95 * value / reach):.1f}"

    low, value, high = place(entry["low"]), place(entry["value"]), place(entry["high"])
    return (
        f'<svg class="reach" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" '
        f'aria-label="{escape(points(entry))}">'
        f'<line class="zero" x1="{_WIDTH / 2:g}" x2="{_WIDTH / 2:g}" y1="0" y2="{_HEIGHT:g}"/>'
        f'<line class="span" x1="{low}" x2="{high}" y1="{middle:g}" y2="{middle:g}"/>'
        f'<circle class="point" cx="{value}" cy="{middle:g}" r="3.4"/></svg>'
    )


def _legend(table: Mapping[str, Any]) -> str:
    star = any(
        not row.get("comparable", True) for block in table["tables"] for row in block["rows"]
    )
    other = " (*) validated against another teacher or other pictures: does not compare." * star
    return (
        '<p class="note">Rank correlation: Spearman’s, of the similarities of held-out pairs, '
        "student against teacher; cosine: to the teacher’s embedding; ± is the standard deviation "
        "over seeds, small figures are differences to the baseline. FNMR: 95 % intervals with "
        "people as units; by identity: every person weighs the same. Differences are paired, by "
        "identity, below 0 is better; their intervals are about the people, the seeds’ own spread "
        "comes on top. Equal minutes: as many steps as fit into the baseline’s time, timed side by "
        "side; teacher embeddings cached before are not counted. Extra memory: peak of the run’s "
        f"own memory minus the baseline’s. Lines: the distiller’s and its losses’ code.{other}</p>"
    )


def _unfinished(entries: Sequence[Mapping[str, Any]]) -> str:
    if not entries:
        return ""
    rows = "".join(
        f"<tr><td>{escape(e['cell'])}</td><td>{escape(str(e['reason']))}</td></tr>" for e in entries
    )
    return f'<h2>Without result</h2><div class="scroll"><table class="facts">{rows}</table></div>'


def _configs(configs: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for method, config in configs.items():
        distiller = config.get("distiller") or {}
        options = {**distiller.get("options", {})}
        teacher = config.get("teacher") or {}
        if teacher.get("view") == "same":
            options |= {"teacher.view": "same", "teacher.views": teacher.get("views")}
        said = ", ".join(f"{key} = {value}" for key, value in options.items()) or "defaults"
        rows.append(
            f"<tr><td>{escape(method)}</td><td>{escape(str(distiller.get('name')))}: "
            f"{escape(said)}</td></tr>"
        )
    return f'<h2>Methods</h2><div class="scroll"><table class="facts">{"".join(rows)}</table></div>'


def _facts(table: Mapping[str, Any]) -> dict[str, Any]:
    hidden = {"tables", "configs", "unfinished", "seeds"}
    facts = {key: value for key, value in table.items() if key not in hidden}
    return facts | {"seeds": ", ".join(map(str, table["seeds"]))}
