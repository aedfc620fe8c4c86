"""Is anybody of the sets that judge in the pictures that taught? Nearest neighbours, both ways.

python benchmarks/leakage.py MODEL... --trained-on fairface_train112.zip \
    --judged-on lfw112.zip fairface_val112.zip --out RESULT.json --exclude LIST.txt

Every picture that judges is compared with every picture that taught, by each model's embeddings and
by a difference hash of the pixels. A cosine says "as alike as": the report gives, beside the
candidates, what share of LFW's own pairs of one person and of strangers are as alike, so that a
reader can tell a person in both sets from the most alike of half a billion pairs of strangers.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from crossface.api import embed
from crossface.audit.leakage import Hashes, find_leakage, hash_faces
from crossface.core.files import sha256_file, write_json
from crossface.data import open_faces
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.scores import score_all_pairs
from crossface.training.run import environment

QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)


def nearest(judged: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """(N,) the largest cosine of each picture that judges with one that taught."""
    best = np.full(len(judged), -1.0, np.float32)
    for start in range(0, len(trained), 4096):
        best = np.maximum(best, (judged @ trained[start : start + 4096].T).max(axis=1))
    return best


def look(
    model: str,
    theirs: EmbeddedFaces,
    judged: str,
    threshold: float,
    hashes: Any,
    excluded: set[str],
) -> dict[str, Any]:
    ours = embed(model, judged, flip=False)
    report = find_leakage(ours, theirs, threshold=threshold, hashes=hashes)
    report["most_alike"] = report["most_alike"][:20]
    best = nearest(ours.embeddings, theirs.embeddings)
    back = nearest(theirs.embeddings, ours.embeddings)
    excluded |= {key for key, value in zip(theirs.keys, back, strict=True) if value >= threshold}
    report["nearest"] = {str(q): round(float(np.quantile(best, q)), 4) for q in QUANTILES}
    if len(set(ours.identities)) < len(ours.keys) and None not in ours.identities:
        table = score_all_pairs(ours)
        genuine = np.asarray(table.genuine)
        report["genuine_pairs_as_alike"] = {
            "at_the_threshold": round(float((genuine >= threshold).mean()), 5),
            "as_the_most_alike_candidate": round(float((genuine >= best.max()).mean()), 5),
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--trained-on", required=True)
    parser.add_argument("--judged-on", nargs="+", required=True)
    parser.add_argument("--threshold", type=float, default=0.6)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--exclude", type=Path, help="list for data.exclude: whoever may be in both"
    )
    args = parser.parse_args()
    known: dict[str, Hashes] = {
        place: hash_faces(open_faces(place)) for place in (args.trained_on, *args.judged_on)
    }
    found: dict[str, dict[str, Any]] = {}
    excluded: set[str] = set()
    for model in args.models:
        found[Path(model).stem] = {"sha256": sha256_file(model)}
        theirs = embed(model, args.trained_on, flip=False)
        for judged in args.judged_on:
            hashes = (known[judged], known[args.trained_on])
            report = look(model, theirs, judged, args.threshold, hashes, excluded)
            found[Path(model).stem][Path(judged).name] = report
    if args.exclude is not None:
        names = " and ".join(Path(judged).name for judged in args.judged_on)
        which = f"{len(excluded)} of {Path(args.trained_on).name}"
        head = f"# {which}: cosine {args.threshold} or more with somebody of {names}"
        args.exclude.write_text("\n".join([head, *sorted(excluded)]) + "\n", encoding="utf-8")
    write_json(args.out, {"models": found, "excluded": len(excluded), "environment": environment()})


if __name__ == "__main__":
    main()
