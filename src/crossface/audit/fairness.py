"""Error rates of every group at one common threshold, and what the data cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crossface.audit.groups import GroupTable, KeyPair
from crossface.audit.spread import GroupRate, gap
from crossface.core.errors import DataError
from crossface.evaluation.card import GroupRates, has_identities, key_scores
from crossface.evaluation.dyadic import Float64Array, Impostors, fmr_at, rate
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.halves import take
from crossface.evaluation.intervals import MIN_FALSE_MATCHES, MIN_IDENTITIES
from crossface.evaluation.report import align_columns, interval_dict

MIN_PAIRS = 100

Report = dict[str, Any]


def audit_table(
    faces: EmbeddedFaces,
    groups: GroupTable,
    *,
    threshold: float,
    columns: Sequence[str] | None = None,
) -> Report:
    """Rates of every group of every column, and of every intersection of columns.

    All comparisons inside a group are made. Groups that are too small become marked rows: their
    figures are given, the reason beside them, and they take no part in the gap.

    Args:
        faces: embedded faces.
        groups: attributes of the pictures.
        threshold: the common one; accepted when similarity >= threshold.
        columns: which attributes; all by default.

    Returns:
        Column names joined with " x " to {groups, fmr_gap, fnmr_gap}.

    Raises:
        DataError: if no picture has a group, or a column is not there.
    """
    labelled = has_identities(faces)
    report: Report = {}
    for part in groups.partitions(columns):
        of_key = groups.of(part)
        of_picture = np.array([of_key.get(key, "") for key in faces.keys])
        names = sorted(set(of_picture.tolist()) - {""})
        if not names:
            raise DataError(
                f"{groups.name}: none of its pictures is among those of {faces.source_name}"
            )
        rows, rates, misses = {}, {}, {}
        for name in names:
            inside = take(faces, of_picture == name)
            measured = GroupRates(inside, labelled=labelled, floor=threshold)
            rows[name] = _row_of_all(inside, measured, threshold)
            if rows[name]["marked"] is None:
                rates[name] = _impostor_rate(measured.impostors, threshold)
            genuine = measured.genuine_sums(threshold)
            if genuine is not None and rows[name]["fnmr"]["low"] is not None:
                misses[name] = _genuine_rate(measured, genuine, threshold)
        report[" x ".join(part)] = {
            "groups": rows,
            "fmr_gap": gap(rates),
            "fnmr_gap": gap(misses) if labelled else None,
        }
    return report


def audit_lists(
    faces: EmbeddedFaces, lists: Mapping[str, Sequence[KeyPair]], *, threshold: float
) -> Report:
    """FMR of listed impostor pairs by group.

    Args:
        faces: embedded faces.
        lists: pairs of different people of each group, by keys.
        threshold: the common one.

    Returns:
        {"listed pairs": {groups, fmr_gap, fnmr_gap}}.

    Raises:
        DataError: naming a key that is not among the faces.
    """
    rows, rates = {}, {}
    for name, pairs in sorted(lists.items()):
        impostors = key_scores(faces, pairs, list_name=f"pairs of {name}")
        marked = _too_small(impostors.n_units, "pictures", impostors.total)
        rows[name] = {
            "n_images": impostors.n_units,
            "n_identities": None,
            **_impostor_row(impostors, threshold),
            "fnmr": _none("the list holds impostor pairs only"),
            "marked": marked,
        }
        if marked is None:
            rates[name] = _impostor_rate(impostors, threshold)
    return {"listed pairs": {"groups": rows, "fmr_gap": gap(rates), "fnmr_gap": None}}


def cannot_show(
    faces: EmbeddedFaces,
    *,
    listed: bool,
    chosen_here: bool,
    without_group: int,
    same_set: bool = False,
) -> list[str]:
    """What a reader might take from the audit and must not.

    Args:
        faces: embedded faces.
        listed: whether given pairs were compared in place of all.
        chosen_here: whether the threshold was chosen on these very faces.
        without_group: pictures that belong to no group.
        same_set: whether the card's thresholds come from a set of this name.
    """
    says = [
        "Comparisons are made inside groups: impostors of another group than the victim's are not "
        "measured here.",
        "Groups are what the labels say; a label is somebody's judgement of a picture, and its "
        "errors blur the differences.",
        "A group's pictures may also differ in quality, age or source: differences are those of "
        "these pictures, not of the people as such.",
    ]
    if listed or not has_identities(faces):
        says.append(
            "No identities are known here, so false non-matches, people turned away wrongly, "
            "cannot be measured: a group may look safe for being rejected more often."
        )
        says.append(
            "Different pictures are taken for different people; the same person twice in a group "
            "counts as a false match."
        )
    if chosen_here:
        says.append(
            "The threshold was chosen on these very faces, so the overall FMR is what was asked "
            "for by construction; only differences between groups are findings."
        )
    if same_set:
        says.append(
            "The card's thresholds were chosen on people of a set of this name: if it is this one, "
            "the error rates are a little too good; audit on other people to know them."
        )
    if without_group:
        says.append(f"{without_group} pictures belong to no group and take no part.")
    if faces.failures:
        says.append(f"{len(faces.failures)} pictures could not be embedded and take no part.")
    return says


def fairness_text(audit: Report) -> str:
    """Every column as an aligned table, groups from the best to the worst."""
    blocks = []
    for name, column in audit.items():
        rows = [(name, "pictures", "impostor pairs", "false matches", "FMR", "FNMR", "")]
        known = sorted(column["groups"].items(), key=lambda item: item[1]["fmr"]["value"] or 0.0)
        for group, row in known:
            rows.append(
                (
                    group,
                    f"{row['n_images']:,}",
                    f"{row['n_impostor']:,}",
                    f"{row['n_false_matches']:,}",
                    _text(row["fmr"]),
                    _text(row["fnmr"]),
                    row["marked"] or row.get("flag") or "",
                )
            )
        blocks.append("\n".join([*align_columns(rows), *_gap_lines(column)]))
    return "\n\n".join(blocks)


def _gap_lines(column: Report) -> list[str]:
    lines = []
    for key, word in (("fmr_gap", "FMR"), ("fnmr_gap", "FNMR")):
        found = column[key]
        if found is None:
            continue
        line = f"{word} worst to best: {_text(found['ratio'])}, difference "
        line += _text(found["difference"])
        if found.get("ratio_if_equal") is not None:
            line += f"; chance alone stays below {found['ratio_if_equal']:.3g} (95 %)"
        lines.append(line)
    return lines


def _text(rate: Mapping[str, Any]) -> str:
    if rate["value"] is None:
        return "-"
    if rate["low"] is None:
        return f"{rate['value']:.3g}"
    return f"{rate['value']:.3g} [{rate['low']:.3g}, {rate['high']:.3g}]"


def _row_of_all(faces: EmbeddedFaces, measured: GroupRates, threshold: float) -> Report:
    labelled = measured.labelled
    unit_name = "people" if labelled else "pictures"
    pairs = 0 if measured.impostors is None else measured.impostors.total
    head = {
        "n_images": len(faces.keys),
        "n_identities": measured.n_identities if labelled else None,
    }
    fnmr = interval_dict(measured.fnmr(threshold))
    marked = _too_small(measured.n_identities, unit_name, pairs)
    if measured.impostors is None:
        body = {"n_impostor": 0, "n_false_matches": 0, "fmr": _none(marked or "no comparison")}
    else:
        body = _impostor_row(measured.impostors, threshold)
    return {**head, **body, "n_genuine": measured.n_genuine, "fnmr": fnmr, "marked": marked}


def _impostor_row(impostors: Impostors, threshold: float) -> Report:
    errors = impostors.accepted(threshold)
    row: Report = {
        "n_impostor": impostors.total,
        "n_false_matches": errors,
        "fmr": interval_dict(fmr_at(impostors, threshold)),
    }
    if errors < MIN_FALSE_MATCHES:
        row["flag"] = f"fewer than {MIN_FALSE_MATCHES} false matches: read the interval"
    return row


def _too_small(units: int, unit_name: str, pairs: int) -> str | None:
    if units < 2:
        few = "one alone" if units else f"no {unit_name}"
        return f"{few}: nobody to be mistaken for"
    if units < MIN_IDENTITIES:
        return f"{units} {unit_name}, an interval needs {MIN_IDENTITIES}"
    if pairs < MIN_PAIRS:
        return f"{pairs} impostor pairs, at least {MIN_PAIRS} are needed"
    return None


def _impostor_rate(impostors: Impostors | None, threshold: float) -> GroupRate:
    if impostors is None:
        raise ValueError("a group without comparisons has no rate")
    errors = impostors.accepted(threshold)
    variance = impostors.variance(rate, np.ones((errors, 1))).variance if errors else 0.0
    return GroupRate(
        limits=fmr_at(impostors, threshold),
        errors=errors,
        trials=impostors.total,
        by_unit=impostors.unit_sums(threshold),
        variance=variance,
    )


def _genuine_rate(measured: GroupRates, by_unit: Float64Array, threshold: float) -> GroupRate:
    return GroupRate(
        limits=measured.fnmr(threshold),
        errors=int(by_unit[:, 0].sum()),
        trials=int(by_unit[:, 1].sum()),
        by_unit=by_unit,
        variance=measured.fnmr_variance(threshold),
    )


def _none(reason: str) -> Report:
    return {"value": None, "low": None, "high": None, "reason": reason}
