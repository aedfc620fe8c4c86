"""Presentation attack detection: a report from scores of live and attack presentations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crossface.core.errors import DataError, UsageError
from crossface.core.files import sha256_file
from crossface.core.types import Failure
from crossface.data.formats.csv_table import read_table
from crossface.evaluation.attack import AttackRates, attack_rates, bpcer_at_apcer
from crossface.evaluation.metrics import Scores
from crossface.evaluation.quality import number
from crossface.evaluation.report import (
    Report,
    align_columns,
    interval_dict,
    target_name,
    versions,
)

LIVENESS = "liveness"
LIVE = ("live", "bona fide", "bona_fide", "bonafide", "genuine", "real")
"""Names of what is no attack; every other kind is a kind of attack."""

APCER_TARGETS = (0.1, 0.05, 0.01)
CANNOT_SHOW = (
    "every presentation counts as independent: several pictures of one person, recording or "
    "artefact are not, and the intervals are then too narrow",
    "a kind of attack that is not in the data may do better than all that are",
)


@dataclass(frozen=True, slots=True)
class LivenessScores:
    """What a detector gave to presentations; higher is more live.

    Attributes:
        model: the detector's name.
        data: name of the presentations.
        digest: hex sha256 of them.
        kinds: kind to (N,) scores; one of ``LIVE`` is no attack.
        failures: presentations without a score, each named "kind/..."; no face, say.
        lost: kind to how many those are.
    """

    model: str
    data: str
    digest: str
    kinds: Mapping[str, Scores]
    failures: Sequence[Failure] = ()
    lost: Mapping[str, int] | None = None


def read_liveness_scores(path: str | Path) -> LivenessScores:
    """Read a CSV with the columns ``kind`` and ``score``, one row for each presentation.

    ``kind`` is live (or another of ``LIVE``) or the name of a kind of attack: print, replay, mask.

    Raises:
        DataError: naming the file, the line, what was expected and what came.
    """
    name = Path(path).name
    header, rows = read_table(path)
    if "kind" not in header or "score" not in header:
        raise DataError(
            f"{name}, line 1: expected the columns kind and score, got {','.join(header)[:80]!r}"
        )
    kind_at, score_at = header.index("kind"), header.index("score")
    found: dict[str, list[float]] = {}
    for line, row in rows:
        if not row[kind_at]:
            raise DataError(f"{name}, line {line}: expected a kind, got an empty cell")
        score = number(row[score_at], f"{name}, line {line}: score")
        found.setdefault(row[kind_at], []).append(score)
    kinds = {kind: np.array(scores) for kind, scores in found.items()}
    return LivenessScores(Path(path).stem, name, sha256_file(path), kinds)


def evaluate_liveness(scores: LivenessScores, *, threshold: float | None = None) -> Report:
    """APCER of each kind of attack, BPCER and ACER, with exact intervals.

    Presentations without a score (no face was found) are in no rate; they are counted by kind, as
    ISO/IEC 30107-3 keeps non-responses apart from classification errors.

    Args:
        scores: of live and attack presentations.
        threshold: taken for live when score >= threshold; the rates at it are ``at_threshold``.

    Returns:
        The report; ``bpcer_at_apcer`` holds the rates where no kind's APCER exceeds 10, 5 and 1 %
        (BPCER10, BPCER20, BPCER100), chosen on the same attacks and flagged where fewer than 30
        of them are expected to pass.

    Raises:
        DataError: without live presentations or without attacks.
        UsageError: a threshold that is not a number.

    Source: ISO/IEC 30107-3.
    """
    live, attacks = _split(scores)
    report: Report = {
        "model": scores.model,
        "protocol": LIVENESS,
        "data": scores.data,
        "data_digest": scores.digest,
        "n_live": len(live),
        "n_attacks": sum(len(one) for one in attacks.values()),
        "presentations": {
            kind: {
                "n_scored": len(scores.kinds.get(kind, ())),
                "n_without_score": (scores.lost or {}).get(kind, 0),
            }
            for kind in sorted({*scores.kinds, *(scores.lost or {})})
        },
        "failures": [{"name": f.name, "reason": f.reason} for f in scores.failures],
    }
    if threshold is not None:
        if not np.isfinite(threshold):
            raise UsageError(f"a threshold of liveness is a finite number, got {threshold}")
        report["at_threshold"] = _rates(attack_rates(attacks, live, threshold), attacks, live)
    report["bpcer_at_apcer"] = {
        target_name(target): _rates(bpcer_at_apcer(attacks, live, target), attacks, live)
        for target in APCER_TARGETS
    }
    return report | {
        "cannot_show": list(CANNOT_SHOW),
        "tie_rule": "taken for live when score >= threshold",
        "interval": "95 %, Clopper-Pearson, presentations as units",
        "versions": versions(),
    }


def liveness_table(report: Mapping[str, Any]) -> str:
    """The report as aligned plain text, rates in per cent."""
    lost = sum(row["n_without_score"] for row in report["presentations"].values())
    parts = {f"APCER <= {name}": rates for name, rates in report["bpcer_at_apcer"].items()}
    if "at_threshold" in report:
        parts = {"given": report["at_threshold"]} | parts
    rows: list[tuple[str, ...]] = [("", "threshold", "rate", "value", "95 % interval", "errors")]
    for where, rates in parts.items():
        threshold = f"{rates['threshold']:.4f}"
        lines = {f"APCER {kind}": entry for kind, entry in rates["apcer"].items()}
        lines |= {f"APCER highest: {rates['worst']}": rates["apcer_max"]}
        lines |= {"BPCER": rates["bpcer"], "ACER": rates["acer"]}
        rows += [(where, threshold, name, *_cells(entry)) for name, entry in lines.items()]
    head = (
        f"{report['model']}  {LIVENESS}  on {report['data']}: {report['n_live']:,} live, "
        f"{report['n_attacks']:,} attacks, {lost:,} without a score"
    )
    notes = [f"note: {text}" for text in report["cannot_show"]]
    return "\n".join([head, *align_columns(rows), *notes])


def _split(scores: LivenessScores) -> tuple[Scores, dict[str, Scores]]:
    own = [kind for kind in scores.kinds if kind.lower() in LIVE]
    attacks = {kind: one for kind, one in scores.kinds.items() if kind not in own}
    if not own or not attacks:
        raise DataError(
            f"{scores.data}: expected scores of kind live ({', '.join(LIVE[1:])}) and of at least "
            f"one kind of attack, got {', '.join(sorted(scores.kinds)) or 'none'}"
        )
    return np.concatenate([scores.kinds[kind] for kind in own]), attacks


def _rates(rates: AttackRates, attacks: Mapping[str, Scores], live: Scores) -> dict[str, Any]:
    def counted(kind: str) -> dict[str, Any]:
        passed = int(np.sum(attacks[kind] >= rates.threshold))
        return interval_dict(rates.apcer[kind], n_errors=passed, n_trials=len(attacks[kind]))

    refused = int(np.sum(live < rates.threshold))
    return {
        "threshold": rates.threshold,
        "worst": rates.worst,
        "apcer": {kind: counted(kind) for kind in rates.apcer},
        "apcer_max": interval_dict(rates.apcer_max),
        "bpcer": interval_dict(rates.bpcer, n_errors=refused, n_trials=len(live)),
        "acer": interval_dict(rates.acer),
    }


def _cells(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    limits = f"{100 * entry['low']:.2f} .. {100 * entry['high']:.2f}"
    counts = f"{entry['n_errors']} of {entry['n_trials']}" if "n_errors" in entry else ""
    said = "; ".join(part for part in (counts, entry.get("reason", "")) if part)
    return (f"{100 * entry['value']:.2f} %", limits, said)
