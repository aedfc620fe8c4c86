"""Seconds of all-pairs and of a pair list on random embeddings of LFW's shape; one JSON line.

Usage: python benchmarks/evaluation_speed.py [--images 13233] [--people 5749] [--dim 512]

Excluded: embedding the pictures. One warm-up of the matrix product is run first.
"""

import argparse
import json
import platform
import resource
import time
from dataclasses import dataclass

import numpy as np

from crossface.core.contract import EmbeddingContract
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
from crossface.evaluation.protocols.pairs import evaluate_pairs
from crossface.evaluation.scores import score_all_pairs


@dataclass(frozen=True)
class Pair:
    fold: int
    a: str
    b: str
    same: bool


@dataclass(frozen=True)
class PairList:
    pairs: tuple[Pair, ...]


def draw(images, people, dim, rng):
    """Noisy copies of one vector per person; one person has as many pictures as in LFW."""
    extra = np.concatenate([np.zeros(529, int), rng.integers(0, people, images - people - 529)])
    owner = np.sort(np.concatenate([np.arange(people), extra]))
    centres = rng.normal(size=(people, dim)).astype(np.float32)
    vectors = centres[owner] + 0.9 * rng.normal(size=(images, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contract = EmbeddingContract(
        model_id="random", digest="0" * 64, dim=dim, space_id="random", input_digest="0" * 64
    )
    return EmbeddedFaces(
        embeddings=vectors,
        keys=tuple(f"{person:05d}/{i:05d}" for i, person in enumerate(owner)),
        identities=tuple(f"{person:05d}" for person in owner),
        failures=(),
        contract=contract,
        input_spec_source=None,
        source_name="random",
        source_digest="0" * 64,
        flip=True,
        seconds=0.0,
    )


def lfw_like_pairs(faces, rng):
    """10 folds of 300 genuine and 300 impostor pairs."""
    owner = np.array([int(label) for label in faces.identities])
    places = np.flatnonzero(owner[1:] == owner[:-1])
    rows = []
    for fold in range(10):
        for i in rng.choice(places, 300, replace=False):
            rows.append(Pair(fold, faces.keys[i], faces.keys[i + 1], True))
        while len(rows) < 600 * (fold + 1):
            i, j = rng.integers(0, len(owner), 2)
            if owner[i] != owner[j]:
                rows.append(Pair(fold, faces.keys[i], faces.keys[j], False))
    return PairList(tuple(rows))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=13_233)
    parser.add_argument("--people", type=int, default=5_749)
    parser.add_argument("--dim", type=int, default=512)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    faces = draw(args.images, args.people, args.dim, rng)
    faces.embeddings[:1000] @ faces.embeddings.T
    start = time.perf_counter()
    table = score_all_pairs(faces)
    scored = time.perf_counter()
    report = evaluate_all_pairs(faces, table=table)
    evaluated = time.perf_counter()
    evaluate_pairs(faces, lfw_like_pairs(faces, rng))
    listed = time.perf_counter()
    print(
        json.dumps(
            {
                "benchmark": "evaluation_speed",
                "n_pairs": report["n_pairs"],
                "score_all_pairs_s": round(scored - start, 2),
                "all_pairs_intervals_s": round(evaluated - scored, 2),
                "pair_list_s": round(listed - evaluated, 2),
                "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "machine": platform.processor() or platform.machine(),
                "numpy": np.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
