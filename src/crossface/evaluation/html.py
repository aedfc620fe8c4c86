"""A report as one HTML file: nothing is fetched, everything is inside, and it prints.

Any of our JSON reports is rendered: what is known by name (DET, histograms, ladders, worst pairs)
as charts, every other figure by its shape: {value, low, high} is a rate with its interval, a table
of such rows with names is a table with bars.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from crossface.core.errors import ImageError
from crossface.core.files import atomic_path
from crossface.core.protocols import FaceSource
from crossface.core.types import UInt8Image
from crossface.evaluation.discard_text import discard_sections
from crossface.evaluation.html_card import card_sections
from crossface.evaluation.html_charts import (
    det_chart,
    histogram_chart,
    ladder_charts,
    latency_chart,
)
from crossface.evaluation.html_groups import group_sections
from crossface.evaluation.html_tables import facts_table, figure_sections

_CHARTED = (
    "card", "check", "cannot_show", "clean", "columns", "discard", "drawn", "failures", "figures",
    "labels", "ladders", "leakage", "templates_failed", "warnings",
)  # fmt: skip
_FAILURES_SHOWN = 20


def write_html(
    report: Mapping[str, Any],
    path: str | Path,
    *,
    source: FaceSource | None = None,
    pictures: bool = True,
) -> None:
    """Write ``render_html`` to a file, whole or not at all."""
    text = render_html(report, source=source, pictures=pictures)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render_html(
    report: Mapping[str, Any], *, source: FaceSource | None = None, pictures: bool = True
) -> str:
    """The page of an evaluation, comparison, card or audit.

    Args:
        report: the JSON values of the report.
        source: where the worst pairs' pictures are; without it they are named only.
        pictures: embed them; False for anything that is passed on.
    """
    css = (files(__package__) / "html.css").read_text(encoding="utf-8")
    title = _title(report)
    body = "".join(
        [
            _opening(report, title),
            _warnings(report),
            _charts(report),
            _ladders(report),
            _latency(report),
            discard_sections(report),
            card_sections(report),
            group_sections(report),
            figure_sections({k: v for k, v in report.items() if k not in _CHARTED}),
            _worst(report, source if pictures else None),
            _failures(report),
            _closing(report),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def picture_uri(crop: UInt8Image) -> str:
    """A crop as a data URI."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(crop).save(stream, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _title(report: Mapping[str, Any]) -> str:
    if "differences" in report:
        return f"{_joined(report.get('a'))} against {_joined(report.get('b'))}"
    return str(report.get("model") or report.get("contract_id") or "crossface report")


def _joined(names: Any) -> str:  # noqa: ANN401  # a JSON value
    return ", ".join(map(str, names)) if isinstance(names, list) else str(names)


def _opening(report: Mapping[str, Any], title: str) -> str:
    where = " on ".join(str(report[key]) for key in ("protocol", "data") if key in report)
    counts = [
        f"{report[key]:,} {words}"
        for key, words in (
            ("n_pairs", "comparisons"),
            ("n_identities", "identities"),
            ("n_images", "pictures"),
        )
        if isinstance(report.get(key), int) and report[key] > 0
    ]
    if isinstance(report.get("fta"), float):
        counts.append(f"{100 * report['fta']:.3g} % could not be acquired")
    kind = "comparison" if "differences" in report else "report"
    return (
        f'<p class="kicker">crossface {kind}</p><h1>{escape(title)}</h1>'
        f"<p>{escape(where)}{': ' if where and counts else ''}{escape(', '.join(counts))}</p>"
    )


def _warnings(report: Mapping[str, Any]) -> str:
    return "".join(f'<p class="warning">{escape(str(w))}</p>' for w in report.get("warnings", ()))


def _charts(report: Mapping[str, Any]) -> str:
    figures = report.get("figures", {})
    panels = []
    if figures.get("det", {}).get("fmr"):
        panels.append(
            f"<figure>{det_chart(figures['det'])}<figcaption>DET: genuine comparisons missed "
            "against impostor comparisons accepted, with the 95 % band; drawn where at least 30 "
            "false matches are expected.</figcaption></figure>"
        )
    if "histogram" in figures:
        panels.append(
            f"<figure>{histogram_chart(figures['histogram'])}<figcaption>"
            '<span class="legend"><span><i class="key genuine"></i>genuine</span>'
            '<span><i class="key impostor"></i>impostor</span></span>'
            "Similarities; each area is one.</figcaption></figure>"
        )
    return f'<div class="panels">{"".join(panels)}</div>' if panels else ""


def _ladders(report: Mapping[str, Any]) -> str:
    if not isinstance(report.get("ladders"), Mapping):
        return ""
    charts = ladder_charts(report)
    shown = "".join(
        f"<figure>{svg}<figcaption>{words}</figcaption></figure>" for svg, words in charts
    )
    return (
        "<h2>How errors grow</h2><p>The second picture of each pair is made worse. "
        '<span class="legend"><span><i class="key model"></i>FNMR</span>'
        '<span><i class="key worse"></i>FMR</span></span> at the threshold of the clean pairs '
        f"(FMR {report['fmr_target']:g}), with 95 % bands.</p>"
        f'<div class="panels">{shown}</div>'
    )


def _latency(report: Mapping[str, Any]) -> str:
    chart = latency_chart(report)
    return f"<h2>Latency</h2><figure>{chart}</figure>" if chart else ""


def _worst(report: Mapping[str, Any], source: FaceSource | None) -> str:
    worst = report.get("figures", {}).get("worst", {})
    rows = []
    place = {} if source is None else {source.key(i): i for i in range(len(source))}
    for kind, said in (
        ("genuine", "One person, least similar"),
        ("impostor", "Two people, most similar"),
    ):
        cells = "".join(_pair(pair, source, place) for pair in worst.get(kind, ()))
        if cells:
            rows.append(f'<h3>{said}</h3><div class="faces">{cells}</div>')
    return f"<h2>Worst pairs</h2>{''.join(rows)}" if rows else ""


def _pair(pair: Mapping[str, Any], source: FaceSource | None, place: Mapping[str, int]) -> str:
    shown = ""
    if source is not None:
        images = [_image(source, place.get(pair[side])) for side in ("a", "b")]
        shown = f'<div class="pair">{"".join(images)}</div>'
    names = f"{escape(str(pair['a']))}<br>{escape(str(pair['b']))}"
    said = f"<b>{pair['similarity']:.3f}</b><br>{names}"
    return f"<figure>{shown}<figcaption>{said}</figcaption></figure>"


def _image(source: FaceSource, index: int | None) -> str:
    if index is None:
        return "<span></span>"
    try:
        return f'<img alt="face" src="{picture_uri(source.read(index))}">'
    except ImageError:
        return "<span></span>"


def _failures(report: Mapping[str, Any]) -> str:
    failures = report.get("failures") or []
    if not failures:
        return ""
    rows = "".join(
        f"<tr><td>{escape(str(f['name']))}</td><td>{escape(str(f['reason']))}</td></tr>"
        for f in failures[:_FAILURES_SHOWN]
    )
    more = len(failures) - _FAILURES_SHOWN
    note = f'<p class="note">and {more} more</p>' if more > 0 else ""
    return (
        f'<h2>Not acquired</h2><div class="scroll"><table class="facts">{rows}</table></div>{note}'
    )


def _closing(report: Mapping[str, Any]) -> str:
    return f"<footer><h2>How it was made</h2>{facts_table(report)}</footer>"
