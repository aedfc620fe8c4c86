"""Does a card keep its promises on people it was not made from?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossface.core.card import AbsentPoint, Interval, OperatingPoint, ThresholdCard
from crossface.core.errors import ContractMismatch
from crossface.evaluation.card import GroupRates, KeyPair, has_identities, key_scores
from crossface.evaluation.dyadic import fmr_at
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.report import align_columns, interval_dict, target_name


def check_card(
    card: ThresholdCard,
    faces: EmbeddedFaces,
    *,
    impostor_pairs: Sequence[KeyPair] | None = None,
) -> list[dict[str, Any]]:
    """Error rates at the card's thresholds on other faces of the same model.

    Args:
        card: made on people who are not among ``faces`` (``halves.check_disjoint``).
        faces: embedded by the same model with the same ``flip``.
        impostor_pairs: keys of impostor pairs, in place of all pairs.

    Returns:
        A row for each operating point: {fmr_target, threshold, extrapolated, fmr, fnmr, agrees};
        ``agrees`` is whether the FMR's interval here meets the card's, None where one is missing.

    Raises:
        ContractMismatch: if the faces were embedded by another model or otherwise.
    """
    if card.contract_id != faces.contract.contract_id or card.flip != faces.flip:
        raise ContractMismatch(
            f"the card is of {card.model_id} ({card.contract_id}, flip {card.flip}), the faces "
            f"were embedded by {faces.contract.model_id} ({faces.contract.contract_id}, "
            f"flip {faces.flip})"
        )
    floor = min((point.threshold for point in card.operating_points), default=1.0)
    rates = GroupRates(faces, labelled=has_identities(faces), floor=floor)
    listed = None if impostor_pairs is None else key_scores(faces, impostor_pairs)
    rows = []
    for point in card.operating_points:
        fmr = rates.fmr(point.threshold) if listed is None else fmr_at(listed, point.threshold)
        rows.append(
            {
                "fmr_target": point.fmr_target,
                "threshold": point.threshold,
                "extrapolated": point.extrapolated,
                "fmr": interval_dict(fmr),
                "fnmr": interval_dict(rates.fnmr(point.threshold)),
                "agrees": _meet(point.fmr, fmr),
            }
        )
    return rows


def _meet(a: Interval, b: Interval) -> bool | None:
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return None
    return a.low <= b.high and b.low <= a.high


def card_table(card: ThresholdCard, check: Sequence[dict[str, Any]] | None = None) -> str:
    """A card as aligned plain text; with ``check``, the FMR on the other people beside it."""
    people = "identities unknown" if card.n_identities is None else f"{card.n_identities:,} people"
    head = (
        f"{card.model_id}  thresholds from {card.data}: {card.n_images:,} pictures, {people}, "
        f"{card.n_impostor:,} impostor and {card.n_genuine:,} genuine comparisons"
    )
    seen = {row["fmr_target"]: row for row in check or []}
    rows = [("FMR wanted", "threshold", "FMR", "FMR, other people", "FNMR", "")]
    for point in card.operating_points:
        other = seen.get(point.fmr_target)
        rows.append(
            (
                target_name(point.fmr_target),
                f"{point.threshold:.4f}",
                _text(point.fmr),
                "-" if other is None else _text(Interval(**other["fmr"])),
                _text(point.fnmr),
                "extrapolated" if point.extrapolated else "",
            )
        )
    return "\n".join([head, *align_columns(rows), *_search_lines(card), *_rest_lines(card)])


def _search_lines(card: ThresholdCard) -> list[str]:
    rows = [("gallery", "FPIR wanted", "threshold", "FPIR", "FNMR", "")]
    for size, points in card.fpir_by_gallery_size.items():
        for point in points:
            note = "extrapolated" if point.extrapolated else ""
            rows.append(
                (
                    f"{size:,}",
                    target_name(point.fpir_target),
                    f"{point.threshold:.4f}",
                    _text(point.fpir),
                    _text(point.fnmr),
                    note,
                )
            )
    return ["", *align_columns(rows)] if len(rows) > 1 else []


def _rest_lines(card: ThresholdCard) -> list[str]:
    lines = []
    for name, points in card.groups.items():
        lines += _group_lines(name, points)
    if lines:
        lines = ["", "groups, at the common thresholds", *lines]
    missing = absent_rows(card)
    if missing:
        lines += ["", "absent"]
    return lines + [f"  {places}: {reason}" for places, reason in missing]


def absent_rows(card: ThresholdCard) -> list[tuple[str, str]]:
    """What a card does not hold, and why: each reason once, neighbouring gallery sizes as a span.

    Returns:
        (places, reason), as people read them.
    """
    sizes = {row.gallery_size for row in card.absent if row.gallery_size is not None}
    order = sorted(sizes | set(card.fpir_by_gallery_size))
    reasons: dict[str, list[AbsentPoint]] = {}
    for row in card.absent:
        reasons.setdefault(row.reason, []).append(row)
    return [(_places(rows, order), reason) for reason, rows in reasons.items()]


def _places(rows: Sequence[AbsentPoint], order: Sequence[int]) -> str:
    places = [f"FMR {target_name(row.fmr_target)}" for row in rows if row.fmr_target is not None]
    at: dict[str, list[int]] = {}
    for row in rows:
        if row.gallery_size is not None:
            fpir = "any FPIR" if row.fpir_target is None else f"FPIR {target_name(row.fpir_target)}"
            at.setdefault(fpir, []).append(row.gallery_size)
    spans: dict[str, list[str]] = {}
    for fpir, sizes in at.items():
        spans.setdefault(_span(sorted(sizes), order), []).append(fpir)
    found = [f"{span} at {', '.join(fpirs)}" for span, fpirs in spans.items()]
    return "; ".join([*places, *found])


def _span(sizes: Sequence[int], order: Sequence[int]) -> str:
    first = order.index(sizes[0])
    if len(sizes) > 2 and list(order[first : first + len(sizes)]) == list(sizes):
        return f"galleries {sizes[0]:,} to {sizes[-1]:,}"
    word = "gallery" if len(sizes) == 1 else "galleries"
    return f"{word} {', '.join(f'{size:,}' for size in sizes)}"


def _group_lines(name: str, points: Sequence[OperatingPoint]) -> list[str]:
    return [
        f"  {name}: FMR {_text(point.fmr)}, FNMR {_text(point.fnmr)} at {point.threshold:.4f}"
        for point in points
    ]


def _text(rate: Interval) -> str:
    if rate.value is None:
        return "-"
    if rate.low is None or rate.high is None:
        return f"{rate.value:.3g}"
    return f"{rate.value:.3g} [{rate.low:.3g}, {rate.high:.3g}]"
