"""The whole audit of a model on one set: fairness, labels, leakage, drawn people."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from crossface.audit.drawn import drawn_text
from crossface.audit.fairness import audit_lists, audit_table, cannot_show, fairness_text
from crossface.audit.groups import GroupTable, KeyPair
from crossface.audit.labels import find_label_noise
from crossface.core.card import ThresholdCard, operating_point
from crossface.core.errors import ContractMismatch, DataError, UsageError
from crossface.evaluation.card import has_identities, key_scores
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.intervals import too_few_false_matches
from crossface.evaluation.metrics import false_matches_allowed, threshold_above
from crossface.evaluation.report import report_head, report_tail
from crossface.evaluation.scores import score_all_pairs

Report = dict[str, Any]

_SAME_SET = ", a set of the same name as the audited one"


def audit_faces(
    faces: EmbeddedFaces,
    *,
    threshold: float,
    threshold_source: str,
    groups: GroupTable | None = None,
    columns: Sequence[str] | None = None,
    lists: Mapping[str, Sequence[KeyPair]] | None = None,
) -> Report:
    """Error rates by group at one common threshold, label noise, and what stays unseen.

    Args:
        faces: embedded faces.
        threshold: the common one; accepted when similarity >= threshold.
        threshold_source: where it comes from, for the report.
        groups: attributes of the pictures; all comparisons inside each group are made.
        columns: which attributes; all by default.
        lists: pairs of different people by group, compared instead of or beside ``groups``.

    Returns:
        The report as JSON values; ``audit_text`` makes it readable.

    Raises:
        UsageError: if there is neither a group table nor a list.
        DataError: what does not fit.
    """
    start = time.perf_counter()
    if groups is None and lists is None:
        raise UsageError(
            "an audit needs groups: --groups groups.csv, or --pairs with group columns"
        )
    columns_report: Report = {}
    without_group = 0
    if lists is not None:
        columns_report |= audit_lists(faces, lists, threshold=threshold)
    elif groups is not None:
        columns_report |= audit_table(faces, groups, threshold=threshold, columns=columns)
        without_group = sum(key not in groups.values for key in faces.keys)
    labelled = has_identities(faces)
    people = len(set(faces.identities)) if labelled else 0
    compared = sum(
        row["n_impostor"] for row in list(columns_report.values())[-1]["groups"].values()
    )
    report = report_head(faces, "audit", n_pairs=compared, n_identities=people)
    report |= {
        "threshold": threshold,
        "threshold_source": threshold_source,
        "columns": columns_report,
        "labels": find_label_noise(faces) if people > 1 else None,
        "cannot_show": cannot_show(
            faces,
            listed=lists is not None,
            chosen_here=threshold_source.startswith("chosen on"),
            same_set=threshold_source.endswith(_SAME_SET),
            without_group=without_group,
        ),
    }
    tail = report_tail(faces, time.perf_counter() - start)
    tail["interval"] = "95 %, people as units, pictures where people are not known"
    return report | tail


def common_threshold(
    faces: EmbeddedFaces,
    card: ThresholdCard | None,
    *,
    fmr: float | None,
    lists: Mapping[str, Sequence[KeyPair]] | None = None,
) -> tuple[float, str]:
    """The threshold the model is, or would be, used at, and where it comes from.

    The model's card decides. A model without one gets, if an FMR is asked for, the threshold of
    that FMR over all the comparisons there are; without either there is no threshold.

    Raises:
        UsageError: if there is neither a card nor an FMR.
        ContractMismatch: if the card is for embeddings made otherwise.
        DataError: if the comparisons are too few for the FMR.
    """
    if card is not None and card.flip != faces.flip:
        raise ContractMismatch(
            f"the model's card is for flip {card.flip}, the faces were embedded with flip "
            f"{faces.flip}; give --threshold"
        )
    point = operating_point(card, fmr=fmr)
    if point is not None and card is not None:
        same = faces.source_name == card.data or faces.source_digest == card.data_digest
        source = f"the model's card of {card.date}, measured on {card.data}"
        return point.threshold, source + (_SAME_SET if same else "")
    if fmr is None:
        raise UsageError(
            f"{faces.contract.model_id} carries no threshold card: give --threshold or --fmr"
        )
    if lists is None:
        table = score_all_pairs(faces, unlabelled=not has_identities(faces))
        tail, total = table.tail, table.n_impostor
    else:
        pairs = [pair for part in lists.values() for pair in part]
        scores = key_scores(faces, pairs)
        tail, total = scores.tail, scores.total
    reason = too_few_false_matches(fmr, total)
    if reason is not None:
        raise DataError(f"{faces.source_name}: no threshold at FMR {fmr:g}: {reason}")
    threshold = threshold_above(tail[false_matches_allowed(fmr, total)])
    return min(threshold, 1.0), f"chosen on the audited faces for an overall FMR of {fmr:g}"


def audit_text(report: Report) -> str:
    """The report as plain text."""
    parts = [
        f"{report['model']}  audit on {report['data']} at threshold {report['threshold']:.4f} "
        f"({report['threshold_source']}), flip {report['flip']}",
        fairness_text(report["columns"]),
    ]
    if report["labels"] is not None:
        labels = report["labels"]
        parts.append(
            f"labels: {labels['suspects']} of {labels['judged']} pictures lie nearer to another "
            f"identity ({100 * labels['share']:.2f} %); {labels['not_judged']} cannot be judged"
        )
    if report.get("leakage") is not None:
        parts.append(_leakage_text(report["leakage"]))
    if report.get("drawn") is not None:
        parts.append(drawn_text(report["drawn"]))
    parts.append("\n".join(["What this cannot show:", *(f"- {s}" for s in report["cannot_show"])]))
    return "\n\n".join(parts)


def _leakage_text(leakage: Report) -> str:
    line = (
        f"leakage: {leakage['pictures']} pictures of {leakage['data']} "
        f"({100 * leakage['pictures_share']:.2f} %) have a candidate in {leakage['against']} at "
        f"cosine {leakage['threshold']:g}; {leakage['names_in_both']} names occur in both"
    )
    found = leakage.get("near_duplicates")
    if found is not None:
        line += f"; {found['pairs']} pairs are nearly the same picture"
    return line
