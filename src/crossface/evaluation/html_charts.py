"""The charts of HTML reports, from the JSON values of ``evaluation.figures`` and the like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from crossface.evaluation.charts import Axis, Bars, Chart, even_ticks

_FLOOR = 1e-4
_DECADES = ((1e-6, "1e-6"), (1e-5, "1e-5"), (1e-4, "0.01 %"), (1e-3, "0.1 %"), (1e-2, "1 %"),
            (1e-1, "10 %"), (1.0, "100 %"))  # fmt: skip


def det_chart(det: Mapping[str, Sequence[Any]]) -> str:
    """FNMR against FMR, both logarithmic, with the band of its intervals."""
    fmr, fnmr = list(det["fmr"]), list(det["fnmr"])
    lowest = min([v for v in [*fnmr, *_numbers(det["low"])] if v > 0], default=_FLOOR)
    bottom = 10 ** math.floor(math.log10(max(lowest, 1e-6)))
    left = 10 ** math.floor(math.log10(max(min(fmr), 1e-6)))
    chart = Chart(
        Axis(left, 1, _decades(left), log=True),
        Axis(bottom, 1, _decades(bottom), log=True),
        x_label="FMR",
        y_label="FNMR",
        title="DET curve: false non-match rate against false match rate",
    )
    known = [row for row in zip(fmr, det["low"], det["high"], strict=True) if row[1] is not None]
    if known:
        xs, lows, highs = zip(*known, strict=True)
        chart.band(xs, lows, highs, style="model")
    chart.line(fmr, fnmr, style="model", dots=True)
    return chart.svg()


def histogram_chart(histogram: Mapping[str, Sequence[float]]) -> str:
    """Shares of genuine and impostor similarities."""
    edges = histogram["edges"]
    low = float(edges[0])
    top = max(*histogram["genuine"], *histogram["impostor"])
    ticks = [(v, f"{v:.1f}") for v in np.arange(math.ceil(low * 2 - 1e-9) / 2, 1.01, 0.5)]
    chart = Chart(
        Axis(low, 1, ticks),
        Axis(0, top * 1.08, []),
        x_label="similarity",
        y_label="",
        title="Similarities of genuine and impostor comparisons",
    )
    chart.steps(edges, histogram["impostor"], style="impostor")
    chart.steps(edges, histogram["genuine"], style="genuine")
    return chart.svg()


def ladder_charts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A chart and a caption per ladder, rungs evenly spaced from clean to worst."""
    return [
        (_ladder(report["clean"], kind, ladder), f"<b>{escape(kind)}</b>, {escape(ladder['unit'])}")
        for kind, ladder in report["ladders"].items()
    ]


def _ladder(clean: Mapping[str, Any], kind: str, ladder: Mapping[str, Any]) -> str:
    rungs = [("clean", clean)] + [(f"{level['level']:g}", level) for level in ladder["levels"]]
    ticks = [(float(place), name) for place, (name, _) in enumerate(rungs)]
    chart = Chart(
        Axis(0, max(len(rungs) - 1, 1), ticks),
        Axis(0, 1, [(v / 4, f"{25 * v} %") for v in range(5)]),
        x_label=ladder["unit"],
        y_label="",
        title=f"Error rates at the clean threshold against {kind}",
        height=220,
    )
    for key, style in (("fnmr_at_clean_threshold", "model"), ("fmr_at_clean_threshold", "worse")):
        entries = [(float(place), row[key]) for place, (_, row) in enumerate(rungs)]
        entries = [(place, e) for place, e in entries if e["value"] is not None]
        sure = [(place, e["low"], e["high"]) for place, e in entries if e["low"] is not None]
        if sure:
            xs, lows, highs = zip(*sure, strict=True)
            chart.band(xs, lows, highs, style=style)
        chart.line(
            [p for p, _ in entries], [e["value"] for _, e in entries], style=style, dots=True
        )
    return chart.svg()


def interval_bars(entries: Mapping[str, Mapping[str, Any]], *, label: str) -> str:
    """Bars of rates with their intervals; all values are >= 0."""
    top = max(max(_numbers([e["value"], e.get("high")])) for e in entries.values())
    top = max(top, 1e-9)
    ticks = [(v / 100, f"{words} %") for v, words in even_ticks(0, 100 * top, about=5)]
    bars = Bars(Axis(0, top, ticks), title=label or "rates with their intervals", label=label)
    for name, entry in entries.items():
        value = entry["value"]
        bars.bar(str(name), value, entry.get("low"), entry.get("high"), f"{100 * value:.3g} %")
    return bars.svg()


def latency_chart(report: Mapping[str, Any]) -> str:
    """Bars of medians with a whisker to the 95th percentile, of every timing in the report.

    A timing is a mapping with ``median_ms`` and ``p95_ms``, at the top of the report, in a list
    (named by its ``name``), or in a mapping of names.
    """
    timings = _timings(report, "")
    if not timings:
        return ""
    top = max(timing["p95_ms"] for _, timing in timings)
    bars = Bars(
        Axis(0, top, even_ticks(0, top, about=5)),
        title="Latency: median, whisker to the 95th percentile",
        label="ms, bar: median, whisker: to the 95th percentile",
    )
    for name, timing in timings:
        median, p95 = timing["median_ms"], timing["p95_ms"]
        bars.bar(name, median, median, p95, f"{median:.3g} / {p95:.3g} ms")
    return bars.svg()


def _timings(value: Any, name: str) -> list[tuple[str, Mapping[str, float]]]:  # noqa: ANN401
    if isinstance(value, Mapping):
        if {"median_ms", "p95_ms"} <= set(value):
            return [(str(value.get("name", name or "all")), value)]
        return [found for key, entry in value.items() for found in _timings(entry, str(key))]
    if isinstance(value, list):
        return [found for entry in value for found in _timings(entry, name)]
    return []


def _decades(low: float) -> list[tuple[float, str]]:
    return [(value, words) for value, words in _DECADES if value >= low * 0.999]


def _numbers(values: Sequence[Any]) -> list[float]:
    return [float(value) for value in values if value is not None]
