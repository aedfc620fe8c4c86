"""The page of a threshold card: what to decide by, what it is worth on others, what is absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from crossface.core.card import Interval, OperatingPoint, ThresholdCard
from crossface.core.types import Failure
from crossface.evaluation.card_check import absent_rows
from crossface.evaluation.html_groups import rate_bars
from crossface.evaluation.html_tables import cell_of
from crossface.evaluation.report import interval_dict, target_name

_EXTRAPOLATED = "<small>extrapolated by a fitted tail</small>"


def card_report(
    card: ThresholdCard,
    check: Sequence[Mapping[str, Any]] | None,
    failures: Sequence[Failure] = (),
    *,
    figures: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What ``render_html`` makes a card's page of.

    Args:
        card: the card.
        check: the FMRs on people it was not made from (``card_check``).
        failures: pictures that could not be embedded.
        figures: of the same faces (``evaluation.figures``).
    """
    report: dict[str, Any] = {
        "model": card.model_id,
        "contract_id": card.contract_id,
        "protocol": f"threshold card of {card.date}",
        "data": card.data,
        "data_digest": card.data_digest,
        "n_pairs": card.n_impostor + card.n_genuine,
        "n_images": card.n_images,
        "flip": card.flip,
        "comparisons": card.protocol,
        "tie_rule": "accepted when similarity >= threshold",
        "interval": "95 %",
        "failures": [{"name": f.name, "reason": f.reason} for f in failures],
        "card": card,
        "check": check,
    }
    if card.n_identities is not None:
        report["n_identities"] = card.n_identities
    return report | ({"figures": dict(figures)} if figures else {})


def card_sections(report: Mapping[str, Any]) -> str:
    """The sections of ``report["card"]``; nothing where there is none."""
    card = report.get("card")
    if not isinstance(card, ThresholdCard):
        return ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in card.notes)
    return "".join(
        [
            _points(card.operating_points, report.get("check")),
            _searches(card),
            _groups(card),
            _absent(card),
            f"<h2>Notes</h2><ul>{notes}</ul>" if notes else "",
        ]
    )


def _points(points: Sequence[OperatingPoint], check: Sequence[Mapping[str, Any]] | None) -> str:
    if not points:
        return ""
    others = {row["fmr_target"]: row["fmr"] for row in check or ()}
    head = ["threshold", "FMR", *(["FMR, other people"] if others else []), "FNMR"]
    rows = []
    for point in points:
        cells = [f"<b>{point.threshold:.4f}</b>", _rate(point.fmr)]
        if others:
            cells.append(cell_of(others.get(point.fmr_target), "fmr"))
        cells.append(_rate(point.fnmr))
        name = f"FMR {target_name(point.fmr_target)}{_EXTRAPOLATED if point.extrapolated else ''}"
        rows.append((name, cells))
    return f"<h2>To compare two pictures</h2>{_table(head, rows)}"


def _searches(card: ThresholdCard) -> str:
    rows = [
        (
            f"{size:,} people, FPIR {target_name(point.fpir_target)}"
            f"{_EXTRAPOLATED if point.extrapolated else ''}",
            [f"<b>{point.threshold:.4f}</b>", _rate(point.fpir), _rate(point.fnmr)],
        )
        for size, points in card.fpir_by_gallery_size.items()
        for point in points
    ]
    if not rows:
        return ""
    return f"<h2>To search in a gallery</h2>{_table(['threshold', 'FPIR', 'FNMR'], rows)}"


def _groups(card: ThresholdCard) -> str:
    """For every threshold, bars and a row of each group."""
    parts = []
    for number, point in enumerate(card.operating_points):
        found = {
            name: points[number] for name, points in card.groups.items() if number < len(points)
        }
        if not found:
            continue
        rows = {
            name: {"fmr": interval_dict(own.fmr), "fnmr": interval_dict(own.fnmr)}
            for name, own in found.items()
        }
        bars = "".join(
            rate_bars(rows, key, f"{key.upper()}, 95 % interval") for key in ("fmr", "fnmr")
        )
        table = _table(
            ["FMR", "FNMR"],
            [(escape(name), [_rate(own.fmr), _rate(own.fnmr)]) for name, own in found.items()],
        )
        title = f"At the threshold of FMR {target_name(point.fmr_target)}, {point.threshold:.4f}"
        parts.append(f"<h3>{title}</h3>{bars}{table}")
    if not parts:
        return ""
    said = "<p>A group gets no threshold of its own: nobody is asked for it at run time.</p>"
    return f"<h2>Groups</h2>{said}{''.join(parts)}"


def _absent(card: ThresholdCard) -> str:
    rows = "".join(
        f"<tr><td>{escape(places)}</td><td>{escape(reason)}</td></tr>"
        for places, reason in absent_rows(card)
    )
    if not rows:
        return ""
    return (
        '<h2>Absent</h2><p>What these data do not support.</p><div class="scroll">'
        f'<table class="facts">{rows}</table></div>'
    )


def _rate(found: Interval) -> str:
    return cell_of(interval_dict(found), "fmr")


def _table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table of cells that are HTML already."""
    titles = "".join(f"<th>{escape(word)}</th>" for word in head)
    body = "".join(
        f"<tr><td>{name}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        for name, cells in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr><th></th>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
