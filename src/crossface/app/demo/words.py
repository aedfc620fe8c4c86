"""Sentences of the report, computed from the figures and their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossface.app.demo.packaged import Packaged
from crossface.app.demo.steps import FNMR, TARGET, Outcome

Entry = Mapping[str, Any]


def tar(report: Mapping[str, Any], target: str = TARGET) -> tuple[float, float, float] | None:
    """(value, low, high) of TAR = 1 - FNMR at an FMR; None where it was not given."""
    entry = report["fnmr_at_fmr"][target]
    if entry["value"] is None or entry["low"] is None:
        return None
    return 1 - entry["value"], 1 - entry["high"], 1 - entry["low"]


def gain(comparison: Mapping[str, Any], name: str = FNMR) -> tuple[float, float, float] | None:
    """(value, low, high) by how much A's TAR exceeds B's; None where there is no interval."""
    entry = comparison["differences"][name]
    if entry["value"] is None or entry["low"] is None:
        return None
    return -entry["value"], -entry["high"], -entry["low"]


def verdict(found: tuple[float, float, float] | None) -> str:
    """Say better, worse, no different or unknown, from the interval alone."""
    if found is None:
        return "unknown"
    _, low, high = found
    if low > 0:
        return "better"
    return "worse" if high < 0 else "no different"


def percent(share: float) -> str:
    """A share as text: 71.3 %."""
    return f"{100 * share:.1f} %"


def points(found: tuple[float, float, float]) -> str:
    """A difference with its interval in percentage points: +8.1 [5.9, 10.3]."""
    value, low, high = (signed(part) for part in found)
    return f"{value} [{low}, {high}]"


def signed(difference: float) -> str:
    """A difference of shares in points, never minus nought: +8.1."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"


def headline(outcome: Outcome) -> str:
    """The result in one sentence."""
    taught = _best_taught(outcome)
    alone, best = tar(outcome.reports["student_alone"]), tar(outcome.reports[taught])
    if alone is None or best is None:
        return "Too few pairs were drawn for a figure at this false match rate."
    recognised = (
        f"recognises {percent(best[0])} of same-person pairs; trained alone, {percent(alone[0])}"
    )
    found = verdict(gain(outcome.comparisons[_against_alone(taught)]))
    if found == "better":
        return f"Taught by a Transformer, a small CNN {recognised}."
    return (
        f"Taught by a Transformer, a small CNN {recognised}: in this run the teaching made "
        f"{'it worse' if found == 'worse' else 'no proven difference'}."
    )


def against_embedding(outcome: Outcome) -> str:
    """Whether CADFR beats plain embedding regression, and by how much."""
    found = gain(outcome.comparisons["cadfr_vs_embedding"])
    if found is None:
        return "CADFR and plain embedding regression could not be compared: too few pairs."
    told = f"({points(found)} points, 95 % interval, paired)"
    if verdict(found) == "better":
        return f"CADFR beats plain embedding regression here {told}."
    if verdict(found) == "worse":
        return f"CADFR is worse than plain embedding regression here {told}."
    return (
        f"CADFR does not beat plain embedding regression here {told}: the interval includes zero, "
        "so its extra cost buys nothing that this run can show."
    )


def against_alone(outcome: Outcome) -> str:
    """How both taught students compare with the CNN alone."""
    said = []
    for name, method in (("embedding", "embedding regression"), ("cadfr", "CADFR")):
        found = gain(outcome.comparisons[f"{name}_vs_alone"])
        if found is None:
            said.append(f"{method} gives no figure")
            continue
        said.append(f"{method} {_MOVES[verdict(found)]} {points(found)} points")
    return "Against the CNN alone, " + " and ".join(said) + "."


_MOVES = {
    "better": "recognises more pairs:",
    "worse": "recognises fewer pairs:",
    "no different": "makes no difference that the interval can show:",
}


def packaged(found: Packaged) -> str:
    """What the packaged detector and recogniser made of drawn people they never saw."""
    known = found.right + found.unknown + found.wrong
    return (
        f"What comes with the package found {found.found} of {found.pictures} drawn faces. Of "
        f"{known} people in its gallery it named {found.right} rightly and {found.wrong} wrongly, "
        f"and called {found.unknown} unknown; of {found.strangers} strangers it took "
        f"{found.accepted} for somebody."
    )


def _best_taught(outcome: Outcome) -> str:
    taught = ("student_embedding", "student_cadfr")
    return max(taught, key=lambda name: outcome.facts[name]["val_auc"])


def _against_alone(student: str) -> str:
    return f"{student.removeprefix('student_')}_vs_alone"
