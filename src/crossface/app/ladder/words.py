"""A ladder in words: the text table for a terminal, and the sentences of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from crossface.core.progress import clock
from crossface.evaluation.report import align_columns

RATES = ("FNMR at FMR 1e-3", "FNMR at FMR 1e-4")
_HEAD = (
    "method", "seeds", "rank corr.", "cosine", "FNMR@1e-3", "FNMR@1e-4", "minus baseline",
    "images/s", "extra MB", "lines",
)  # fmt: skip


def ladder_text(table: Mapping[str, Any]) -> str:
    """The tables as aligned plain text, with the choice below each."""
    parts = []
    for block in table["tables"]:
        rows = [_HEAD, *(_row(row) for row in block["rows"])]
        parts += [title_of(block), *align_columns(rows), choice_of(block, table), ""]
    parts += [f"{entry['cell']}: {entry['reason']}" for entry in table["unfinished"]]
    parts.append(
        "FNMR by identity on the evaluation set; minus baseline: FNMR at FMR 1e-3 by identity, "
        "points, paired, 95 %"
    )
    return "\n".join(parts)


def listing_text(listing: Mapping[str, Any]) -> str:
    """The cells of a dry run."""
    rows = [("cell", "estimate", "state")]
    rows += [
        (row["cell"], clock(row["seconds"]) if row["seconds"] else "-", row["state"])
        for row in listing["cells"]
    ]
    return "\n".join([*align_columns(rows), f"all: about {clock(listing['seconds'])}"])


def title_of(block: Mapping[str, Any]) -> str:
    """What a table is about."""
    return f"teacher {block['teacher']}, equal {block['equal']}"


def choice_of(block: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    """Which method validation chooses, and whether it is more than the seeds' noise."""
    chosen = block["chosen"]
    where = "chosen on validation, never on " + (
        str(table["evaluated_on"]["data"]) if table["evaluated_on"] else "the evaluation set"
    )
    if chosen is None:
        return f"nothing to choose from yet ({where})"
    lead = f"{chosen['method']} ({where})"
    if chosen["method"] == table["baseline"]:
        return f"{lead}: no method has a higher held-out rank correlation than the baseline"
    difference = chosen["minus_baseline"]
    if difference is None:
        return f"{lead}: the baseline is not there to compare with"
    gain = f"held-out rank correlation {difference['mean']:+.4f} over {table['baseline']}"
    if difference["low"] is None:
        return f"{lead}: {gain}; one seed, so its noise is not known"
    limits = f"[{difference['low']:+.4f}, {difference['high']:+.4f}] over seeds"
    sure = "" if chosen["sure"] else "; not sure, the interval holds 0"
    return f"{lead}: {gain} {limits}{sure}"


def mean_and_spread(figure: Mapping[str, Any] | None, digits: int = 4) -> str:
    """A validation figure: its mean, and the standard deviation over seeds where there is one."""
    if not figure or figure["mean"] is None:
        return "-"
    shown = f"{figure['mean']:.{digits}f}"
    spread = figure["standard_deviation"]
    return shown if spread is None else f"{shown} ± {spread:.{digits}f}"


def points(entry: Mapping[str, Any] | None) -> str:
    """A difference of rates in percentage points with its interval."""
    if not entry or entry["value"] is None:
        return "-"
    value = f"{100 * entry['value']:+.2f}"
    if entry["low"] is None:
        return value
    return f"{value} [{100 * entry['low']:+.2f}, {100 * entry['high']:+.2f}]"


def whole(value: float | None, *, signed: bool = False) -> str:
    """A number without digits behind the point."""
    if value is None:
        return "-"
    return f"{value:+,.0f}" if signed else f"{value:,.0f}"


def _row(row: Mapping[str, Any]) -> Sequence[str]:
    if not row["seeds"]:
        state = "failed" if row["failed"] else "not run"
        return (row["method"], state, *["-"] * (len(_HEAD) - 2))
    shown = [_percent(row["rates"].get(f"{name} by identity")) for name in RATES]
    difference = row.get("minus_baseline", {}).get("rates", {}).get(f"{RATES[0]} by identity")
    mark = "" if row["comparable"] else " (*)"
    return (
        row["method"] + (" (failed cells)" if row["failed"] else ""),
        str(len(row["seeds"])),
        mean_and_spread(row["val_rank_correlation"]) + mark,
        mean_and_spread(row["val_cosine"]),
        *shown,
        points(difference),
        whole(row["images_per_s"]),
        whole(row["extra_memory_mb"], signed=True),
        whole(row["lines_of_code"]),
    )


def _percent(entry: Mapping[str, Any] | None) -> str:
    return "-" if not entry or entry["value"] is None else f"{100 * entry['value']:.2f} %"
