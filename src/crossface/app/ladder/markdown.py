"""A ladder as Markdown tables, to be read in a repository or put into a paper's appendix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossface.app.ladder.words import RATES, choice_of, points, title_of, whole

_HEAD = (
    "method", "seeds", "held-out rank correlation", "minus baseline", "held-out cosine",
    "images / core second", "extra memory, MB", "lines of code",
)  # fmt: skip
_MEASURED = tuple(
    word for name in RATES for word in (f"{name}, by identity", "minus baseline, points")
)


def render_markdown(table: Mapping[str, Any]) -> str:
    """The tables of a ladder (``table.ladder_table``), the best held-out rank correlation first.

    A difference whose whole 95 % interval is on the better side is bold; what has not run is left
    out.
    """
    parts = [f"# Ladder {table['name']}", ""]
    on = table["evaluated_on"]
    parts += [
        f"Differences are to `{table['baseline']}`, paired by seed (Student's 95 % interval; one "
        "seed has none)."
        + (
            f" Error rates: all comparisons of {on['data']}, paired, 95 %, people as units; the "
            "spread of the seeds comes on top."
            if on
            else ""
        ),
        "",
    ]
    for block in table["tables"]:
        parts += _block(block, table)
    return "\n".join(parts)


def _block(block: Mapping[str, Any], table: Mapping[str, Any]) -> list[str]:
    rows = [row for row in block["rows"] if row["seeds"]]
    if not rows:
        return []
    rows.sort(key=lambda row: -(row["val_rank_correlation"]["mean"] or 0.0))
    measured = any(row["rates"] for row in rows)
    head = _HEAD[:5] + (_MEASURED if measured else ()) + _HEAD[5:]
    title = title_of(block)
    return [
        f"## {title[0].upper()}{title[1:]}",
        "",
        _line(head),
        _line(["---"] * len(head)),
        *(_row(row, table["baseline"], measured=measured) for row in rows),
        "",
        f"{choice_of(block, table)}.",
        "",
    ]


def _row(row: Mapping[str, Any], baseline: str, *, measured: bool) -> str:
    mark = "" if row["comparable"] else " (other teacher or pictures: does not compare)"
    cells = [
        f"`{row['method']}`",
        " ".join(map(str, row["seeds"])),
        " ".join(f"{value:.3f}" for value in row["val_rank_correlation"]["by_seed"]) + mark,
        "" if row["method"] == baseline else _gain(row.get("minus_baseline", {})),
        "-" if row["val_cosine"]["mean"] is None else f"{row['val_cosine']['mean']:.3f}",
    ]
    differences = row.get("minus_baseline", {}).get("rates", {})
    for name in (f"{name} by identity" for name in RATES) if measured else ():
        cells += [_rate(row["rates"].get(name)), _points(differences.get(name))]
    return _line(
        [
            *cells,
            whole(row["images_per_core_s"]),
            whole(row["extra_memory_mb"], signed=True),
            whole(row["lines_of_code"]),
        ]
    )


def _gain(difference: Mapping[str, Any]) -> str:
    found = difference.get("val_rank_correlation")
    if found is None or found["mean"] is None:
        return "-"
    if found["low"] is None:
        return f"{found['mean']:+.3f}, one seed"
    said = f"{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"
    return f"**{said}**" if found["low"] > 0 else said


def _rate(entry: Mapping[str, Any] | None) -> str:
    if not entry or entry["value"] is None:
        return "-"
    value = f"{100 * entry['value']:.1f} %"
    if entry["low"] is None:
        return value
    return f"{value} [{100 * entry['low']:.1f}, {100 * entry['high']:.1f}]"


def _points(entry: Mapping[str, Any] | None) -> str:
    if not entry:
        return ""
    better = entry["value"] is not None and entry["high"] is not None and entry["high"] < 0
    return f"**{points(entry)}**" if better else points(entry)


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"
