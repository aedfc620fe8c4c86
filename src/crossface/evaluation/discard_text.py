"""Error against discard for people: a table, and a chart and a table of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from crossface.evaluation.charts import Axis, Chart, even_ticks
from crossface.evaluation.html_tables import cell_of


def discard_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of text: FMR, share left out, quality from which pictures are kept, FNMR, change."""
    rows: list[tuple[str, ...]] = [("FMR", "left out", "quality from", "FNMR", "change, points")]
    for target, found in report["discard"].items():
        if not found["cuts"]:
            rows.append((target, "-", "-", "-", str(found["area"]["reason"])))
            continue
        for cut in found["cuts"]:
            share, level = f"{100 * cut['discarded']:.1f} %", f"{cut['quality_at_least']:.4g}"
            rows.append((target, share, level, _text(cut["fnmr"], " %"), _text(cut["change"], "")))
        area = (_text(found["area"], " %"), _text(found["area_change"], ""))
        rows.append((target, "mean to 20 %", "", *area))
    return rows


def discard_sections(report: Mapping[str, Any]) -> str:
    """A chart and a table for each FMR of a report that has ``discard``."""
    if "discard" not in report:
        return ""
    parts = [
        f"<h2>Error as pictures of low quality are left out</h2><p>Quality: "
        f"{escape(str(report['quality']))}. The threshold is set once, on all pictures. A curve "
        "that falls says that the quality finds what goes wrong; one that stays, that it does not. "
        "Bands and brackets: 95 % intervals.</p>"
    ]
    drawn = {target: found for target, found in report["discard"].items() if found["cuts"]}
    charts = [
        f"<figure>{_chart(found['cuts'])}<figcaption>at FMR {escape(target)}</figcaption></figure>"
        for target, found in drawn.items()
    ]
    parts.append(f'<div class="panels">{"".join(charts)}</div>')
    for target, found in report["discard"].items():
        said = f"<p>{escape(str(found['area'].get('reason')))}.</p>"
        body = _table(found) if target in drawn else said
        parts.append(f"<h3>FNMR at FMR {escape(target)}</h3>{body}")
    return "".join(parts)


def _chart(cuts: Sequence[Mapping[str, Any]]) -> str:
    known = [cut for cut in cuts if cut["fnmr"]["value"] is not None]
    tops = [cut["fnmr"]["high"] or cut["fnmr"]["value"] for cut in known]
    top = max([*tops, 1e-6])
    right = max(cuts[-1]["discarded"], 0.01)
    chart = Chart(
        Axis(0, right, [(v / 100, f"{words} %") for v, words in even_ticks(0, 100 * right)]),
        Axis(0, top, [(v / 100, f"{words} %") for v, words in even_ticks(0, 100 * top)]),
        x_label="pictures left out",
        y_label="FNMR",
        title="FNMR against the share of pictures left out",
        height=240,
    )
    sure = [cut for cut in known if cut["fnmr"]["low"] is not None]
    if sure:
        lows, highs = ([cut["fnmr"][side] for cut in sure] for side in ("low", "high"))
        chart.band([cut["discarded"] for cut in sure], lows, highs, style="model")
    places, rates = [cut["discarded"] for cut in known], [cut["fnmr"]["value"] for cut in known]
    chart.line(places, rates, style="model", dots=True)
    return chart.svg()


def _table(found: Mapping[str, Any]) -> str:
    head = ("left out", "quality from", "genuine pairs", "missed", "FNMR", "change")
    body = []
    for cut in found["cuts"]:
        cells = [
            f"{100 * cut['discarded']:.1f} %",
            f"{cut['quality_at_least']:.4g}",
            f"{cut['n_genuine']:,}",
            f"{cut['n_false_non_matches']:,}",
            cell_of(cut["fnmr"], "fnmr"),
            cell_of(cut["change"], "change"),
        ]
        body.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    mean = "".join(f"<td>{cell_of(found[key], key)}</td>" for key in ("area", "area_change"))
    body.append(f'<tr><td>mean to 20 %</td><td colspan="3"></td>{mean}</tr>')
    titles = "".join(f"<th>{title}</th>" for title in head)
    return (
        f'<div class="scroll"><table><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
        f'<p class="note">threshold {found["threshold"]:.4f}; change: FNMR minus that of all '
        "pictures on the same people, in points</p>"
    )


def _text(entry: Mapping[str, Any], unit: str) -> str:
    if entry["value"] is None:
        return str(entry["reason"])
    value = f"{100 * entry['value']:{'+' if not unit else ''}.2f}{unit}"
    if entry["low"] is None:
        return value
    return f"{value} ({100 * entry['low']:.2f} .. {100 * entry['high']:.2f})"
