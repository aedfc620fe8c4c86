"""May this file replace that one? Faster by enough, no less accurate beyond what can be shown."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from crossface.core.protocols import FaceSource
from crossface.core.seeds import generator
from crossface.core.types import UInt8Batch
from crossface.core.vectors import unit
from crossface.evaluation.compare import compare_pairs
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.pair_scores import PairListLike
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder
from crossface.pipeline.runtimes.sessions import Runtime

RUNTIMES: tuple[Runtime, ...] = ("onnxruntime", "openvino")
_WARM_UP = 5


@dataclass(frozen=True, slots=True)
class ReplacementRules:
    """What is asked of the new file.

    Attributes:
        least_speedup: old time over new, the lower end of its interval, on ONNX Runtime.
        most_loss: of the accuracy over the pair list, the upper end of the paired interval.
        least_cosine: mean cosine of both embeddings of a crop.
    """

    least_speedup: float = 1.3
    most_loss: float = 0.003
    least_cosine: float = 0.99


def judge_replacement(
    new: str | Path,
    old: str | Path,
    *,
    crops: UInt8Batch,
    faces: FaceSource,
    pairs: PairListLike,
    rules: ReplacementRules | None = None,
    rounds: int = 200,
    progress: bool = True,
) -> dict[str, Any]:
    """Both files on the same crops, pairs and core.

    Args:
        new: an ONNX recogniser.
        old: the one it would replace, of the same template.
        crops: (N, H, W, 3) uint8 RGB in that template, for the cosine; none that made the file.
        faces: labelled crops, 112x112.
        pairs: the verification list over them.
        rules: what is asked.
        rounds: of the timing; in each both take one crop, by turns first.
        progress: on stderr.

    Returns:
        {accepted, reasons: why not, rules, cosine, speed: by runtime, accuracy: the paired
        difference new - old with its interval, vnni}.
    """
    rules = rules or ReplacementRules()
    ours, theirs = OnnxEmbedder(new, threads=1), OnnxEmbedder(old, threads=1)
    cosines = (unit(ours.embed(crops)).astype(np.float64) * unit(theirs.embed(crops))).sum(axis=1)
    speed = {runtime: _speed(new, old, runtime, rounds) for runtime in RUNTIMES}
    embedded = [embed_faces(model, faces, progress=progress) for model in (ours, theirs)]
    compared = compare_pairs(embedded[:1], embedded[1:], pairs)["differences"]["accuracy"]
    reasons = []
    low = speed["onnxruntime"]["speedup"]["low"]
    if low < rules.least_speedup:
        reasons.append(f"{low:.2f} times as fast at least, {rules.least_speedup:g} is asked")
    worst = None if compared["low"] is None else -compared["low"]
    if worst is None or worst > rules.most_loss:
        shown = "unknown" if worst is None else f"{100 * worst:.2f} points"
        reasons.append(f"may lose {shown} of accuracy, {100 * rules.most_loss:g} are allowed")
    if cosines.mean() < rules.least_cosine:
        reasons.append(f"mean cosine {cosines.mean():.4f}, {rules.least_cosine:g} is asked")
    return {
        "accepted": not reasons,
        "reasons": reasons,
        "rules": asdict(rules),
        "cosine": {
            "crops": len(crops),
            "mean": round(float(cosines.mean()), 6),
            "least": round(float(cosines.min()), 6),
        },
        "speed": speed,
        "accuracy": compared,
        "vnni": has_vnni(),
    }


def _speed(new: str | Path, old: str | Path, runtime: Runtime, rounds: int) -> dict[str, Any]:
    """Old time over new for one crop on one thread, pair by pair."""
    if runtime == "openvino" and find_spec("openvino") is None:
        return {"reason": "openvino is not installed"}
    both = [OnnxEmbedder(path, threads=1, runtime=runtime) for path in (new, old)]
    rng = generator("replacement crops", 0)
    crop = rng.integers(0, 256, (1, *both[0].input_spec.size_hw, 3)).astype(np.uint8)
    taken = np.empty((rounds, 2))
    for number in range(-_WARM_UP, rounds):
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.perf_counter()
            both[which].embed(crop)
            if number >= 0:
                taken[number, which] = time.perf_counter() - start
    return {
        "milliseconds": {
            "new": _least_and_median(taken[:, 0]),
            "old": _least_and_median(taken[:, 1]),
        },
        "speedup": _ratio(taken[:, 1] / taken[:, 0]),
    }


def _least_and_median(seconds: Any) -> dict[str, float]:  # noqa: ANN401  # an array
    return {
        "least": round(1000 * float(seconds.min()), 4),
        "median": round(1000 * float(np.median(seconds)), 4),
    }


def _ratio(ratios: Any, replicates: int = 2000) -> dict[str, float]:  # noqa: ANN401  # an array
    """The median of paired ratios and its 95 % interval over the rounds."""
    rng = generator("replacement rounds", len(ratios))
    drawn = np.median(ratios[rng.integers(0, len(ratios), (replicates, len(ratios)))], axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return {
        "value": round(float(np.median(ratios)), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
    }


def has_vnni() -> bool | None:
    """Whether this processor multiplies 8-bit integers four at a time; None where unknown."""
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return None
    words: Sequence[str] = file.read_text(encoding="utf-8", errors="replace").split()
    if "flags" not in words:  # not an x86: other instructions do the same there
        return None
    return "avx512_vnni" in words or "avx_vnni" in words
