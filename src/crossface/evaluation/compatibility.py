"""May a gallery of one model be searched with another? The 2x2 matrix that answers it."""

from __future__ import annotations

from typing import Any

from crossface.core.errors import ContractMismatch, DataError
from crossface.core.linear_map import LinearMap
from crossface.evaluation.compare import on_common_pictures
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.linear_map import mapped
from crossface.evaluation.pair_scores import PairListLike
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
from crossface.evaluation.protocols.pairs import evaluate_pairs
from crossface.evaluation.report import Report, align_columns
from crossface.evaluation.scores import score_all_pairs

CELLS = ("A-A", "A-B", "B-A", "B-B")


def evaluate_compatibility(
    a: EmbeddedFaces,
    b: EmbeddedFaces,
    *,
    pairs: PairListLike | None = None,
    list_name: str = "pair list",
    into: LinearMap | None = None,
) -> Report:
    """Error rates of gallery and probes by A or B, each of the four cells at its own threshold.

    A cell "A-B" has the first picture of a comparison (the enrolled one) embedded by A and the
    second (the probe) by B. The two mixed cells cost nothing where the models share one space;
    how much they cost is their FNMR against that of "A-A" and "B-B".

    Args:
        a: faces embedded by A.
        b: the same faces embedded by B.
        pairs: a pair list; all pairs of the set without one.
        list_name: what to call the list in the report.
        into: brings B's vectors into A's space first, in every cell, as a gallery does.

    Returns:
        ``cells``: an evaluation report each; ``a`` and ``b``: the contracts; ``linear_map``.

    Raises:
        ContractMismatch: where the vectors cannot be compared at all (other dimensions).
        DataError: where the pictures differ, there are no comparisons, or the map was fitted on
            these very pictures.
    """
    theirs = b.contract
    if into is not None:
        if into.fitted_digest == a.source_digest:
            raise DataError(f"the map was fitted on {a.source_name}; measure it on other pictures")
        b = mapped(b, into)
    if a.contract.dim != b.contract.dim:
        raise ContractMismatch(
            f"{a.contract.model_id} has {a.contract.dim} numbers a vector and "
            f"{b.contract.model_id} {b.contract.dim}; they can never be compared "
            "without a map (--map-from)"
        )
    (first,), (second,) = on_common_pictures([a], [b])
    sides = {"A": first, "B": second}
    cells: dict[str, Any] = {}
    for cell in CELLS:
        enrolled, probe = sides[cell[0]], sides[cell[2]]
        if pairs is None:
            table = score_all_pairs(enrolled, probes=probe)
            report = evaluate_all_pairs(enrolled, table=table)
        else:
            report = evaluate_pairs(enrolled, pairs, list_name=list_name, probes=probe)
        cells[cell] = report | {"probe": probe.contract.model_id}
    return {
        "protocol": "compatibility",
        "data": a.source_name,
        "data_digest": a.source_digest,
        "same_space": a.contract.comparable_with(theirs),
        "a": a.contract.model_dump(mode="json") | {"contract_id": a.contract.contract_id},
        "b": theirs.model_dump(mode="json") | {"contract_id": theirs.contract_id},
        "cells": cells,
        "linear_map": None if into is None else into.model_dump(mode="json"),
    }


def compatibility_table(report: Report) -> str:
    """The matrix as aligned text: FNMR (or 1 - TAR) in per cent with its interval, per cell."""
    head = ("gallery-probe", "FMR", "FNMR", "95 % interval", "threshold")
    rows = [head]
    for cell, inner in report["cells"].items():
        for target, entry in _rates(inner).items():
            if entry["value"] is None:
                rows.append((cell, target, "-", entry["reason"], "-"))
                continue
            interval = f"[{_percent(entry['low'])}, {_percent(entry['high'])}]"
            threshold = f"{entry['threshold']:.4f}"
            rows.append((cell, target, _percent(entry["value"]), interval, threshold))
    space = "they share a space" if report["same_space"] else "they do NOT share a space"
    into = report.get("linear_map")
    if into is not None:
        space = f"B is mapped into A's space, fitted on {into['fitted_on']}"
    title = f"A: {report['a']['model_id']}   B: {report['b']['model_id']}   {space}"
    return "\n".join([title, *align_columns(rows)])


def fnmr_at(report: Report, fmr: float) -> dict[str, dict[str, Any]]:
    """FNMR of each cell at one FMR: {value, low, high, threshold} by "A-A" and so on.

    Raises:
        DataError: if the report holds no figure for this FMR, with the reason.
    """
    chosen = {}
    for cell, inner in report["cells"].items():
        rates = _rates(inner)
        entry = next((e for t, e in rates.items() if abs(float(t) / fmr - 1) < 1e-6), None)
        if entry is None:
            raise DataError(f"no FNMR was measured at FMR {fmr:g}; there are {', '.join(rates)}")
        if entry["value"] is None:
            raise DataError(f"{cell}: no FNMR at FMR {fmr:g}: {entry['reason']}")
        chosen[cell] = entry
    return chosen


def _rates(report: Report) -> dict[str, dict[str, Any]]:
    """FNMR at FMR of a cell; from the TAR where the protocol gives that."""
    if "fnmr_at_fmr_by_identity" in report:
        return dict(report["fnmr_at_fmr_by_identity"])
    return {target: _complement(entry) for target, entry in report["tar_at_fmr"].items()}


def _complement(entry: dict[str, Any]) -> dict[str, Any]:
    if entry["value"] is None:
        return entry
    low, high = entry["low"], entry["high"]
    return entry | {
        "value": 1 - entry["value"],
        "low": None if high is None else 1 - high,
        "high": None if low is None else 1 - low,
    }


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
