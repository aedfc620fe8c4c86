"""How the evaluation grows: pair lists, all pairs of LFW's shape, 1:1 of IJB-C's size.

Usage: python benchmarks/evaluation_scale.py [--out benchmarks/results/evaluation_scale.json]
       python benchmarks/evaluation_scale.py --job templates --size 1.0

Each job runs at three sizes in a process of its own, so that the peak memory is the job's. All
embeddings are drawn at random; embedding pictures is excluded, drawing too. Seconds are by the
clock and of the processor, all cores summed (``cpu_s``): where other work keeps the machine busy
(``load_average``) the clock says more about that work than about this one.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

from crossface.core.contract import EmbeddingContract
from crossface.core.files import write_json
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.intervals import LEVEL
from crossface.evaluation.pair_bootstrap import product_bootstrap
from crossface.evaluation.pair_scores import PairScores
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs, table_figures
from crossface.evaluation.template_pairs import pair_table, score_index_pairs
from crossface.training.run import environment

SIZES = (0.25, 0.5, 1.0)
IJBC_TARGETS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
BARS = {  # seconds and GiB at size 1
    "pairs": {"seconds": 5.0},
    "all-pairs": {"seconds": 60.0},
    "templates": {"seconds": 180.0, "peak_gib": 6.0},
}


def vectors_of(owner, dim, rng, noise=2.2):
    """Noisy copies of one direction per person, unit length."""
    centres = rng.standard_normal((int(owner.max()) + 1, dim), dtype=np.float32)
    vectors = noise * rng.standard_normal((len(owner), dim), dtype=np.float32)
    vectors += centres[owner]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def lfw_sizes(people, images):
    """Pictures per person by a power law with LFW's mean, people without a second one included."""
    ranks = np.arange(1, people + 1)
    extra = ranks**-1.05
    sizes = 1 + np.floor(extra / extra.sum() * (images - people)).astype(int)
    sizes[: images - sizes.sum()] += 1
    return sizes


def pairs_job(size):
    """6,000 pairs in 10 folds, every statistic in 2,000 replicates."""
    rng = np.random.default_rng(0)
    per_fold, people = int(300 * size), 4000
    a = rng.integers(0, people, 20 * per_fold)
    same = np.tile([True, False], 10 * per_fold)
    b = np.where(same, a, (a + 1 + rng.integers(0, people - 2, len(a))) % people)
    scores = np.where(same, 0.5, 0.0) + 0.15 * rng.normal(size=len(a))
    folds = np.repeat(np.arange(10), 2 * per_fold)
    pairs = PairScores(scores.astype(np.float32), same, folds, a, b, 0)
    yield
    values = product_bootstrap(pairs, (1e-2,), replicates=2000)
    yield {"n_pairs": len(a), "replicates": len(values), "tar_se": float(values[:, 3].std())}


def all_pairs_job(size):
    """13,233 pictures of 5,749 people, 512 numbers each, every figure with its interval."""
    rng = np.random.default_rng(0)
    people, images = int(5749 * size), int(13_233 * size)
    owner = np.repeat(np.arange(people), lfw_sizes(people, images))
    faces = EmbeddedFaces(
        embeddings=vectors_of(owner, 512, rng),
        keys=tuple(f"{i:05d}" for i in range(len(owner))),
        identities=tuple(f"{person:05d}" for person in owner),
        failures=(),
        contract=EmbeddingContract(
            model_id="random", digest="0" * 64, dim=512, space_id="random", input_digest="0" * 64
        ),
        input_spec_source=None,
        source_name="random",
        source_digest="0" * 64,
        flip=True,
        seconds=0.0,
    )
    yield
    report = evaluate_all_pairs(faces)
    yield {"n_pairs": report["n_pairs"], "fnmr_at_fmr": report["fnmr_at_fmr"]["1e-3"]}


def templates_job(size):
    """23,124 templates of 3,531 people, 15.7 million pairs, TAR at FMR 1e-1 to 1e-6."""
    rng = np.random.default_rng(0)
    people, templates = 3531, 23_124
    genuine, total = int(19_557 * size), int(15_658_489 * size)
    owner = np.sort(np.append(np.arange(people), rng.integers(0, people, templates - people)))
    vectors = vectors_of(owner, 512, rng)
    starts = np.searchsorted(owner, np.arange(people + 1))
    first = rng.integers(0, templates, total)
    second = rng.integers(0, templates, total)
    own = owner[first[:genuine]]
    second[:genuine] = starts[own] + rng.integers(0, 2**31, genuine) % np.diff(starts)[own]
    keep = first != second
    first, second = first[keep], second[keep]
    yield
    scores = score_index_pairs(vectors, first, second)
    names = tuple(str(i) for i in range(people))
    table = pair_table(scores, owner[first], owner[second], names)
    report = table_figures(table, IJBC_TARGETS)
    points = {
        name: None if found["value"] is None else 1 - found["value"]
        for name, found in report["fnmr_at_fmr"].items()
    }
    limited = all(
        one["value"] is None or one["low"] is not None for one in report["fnmr_at_fmr"].values()
    )
    yield {"n_pairs": len(first), "tar_at_fmr": points, "level": LEVEL, "with_limits": limited}


JOBS = {"pairs": pairs_job, "all-pairs": all_pairs_job, "templates": templates_job}


def run_job(name, size):
    job = JOBS[name](size)
    next(job)
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    found = next(job)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "job": name,
        "size": size,
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu, 2),
        "peak_gib": round(after.ru_maxrss / 2**20, 3),
        **found,
    }


def kept(row, bar):
    """Whether each bar holds, by the clock and by the processor's time."""
    found = {f"{key} by the clock" if key == "seconds" else key: row[key] < bar[key] for key in bar}
    return {**found, "seconds of the processor": row["cpu_s"] < bar["seconds"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", choices=JOBS)
    parser.add_argument("--size", type=float, default=1.0)
    parser.add_argument("--out")
    args = parser.parse_args()
    if args.job:
        print(json.dumps(run_job(args.job, args.size)))
        return
    rows = []
    for name in JOBS:
        for size in SIZES:
            command = [sys.executable, __file__, "--job", name, "--size", str(size)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rows.append(json.loads(done.stdout))
            print(json.dumps(rows[-1]))
    whole = {row["job"]: row for row in rows if row["size"] == 1.0}
    result = {
        "benchmark": "evaluation_scale",
        "command": "python benchmarks/evaluation_scale.py",
        "load_average": [round(one, 1) for one in os.getloadavg()],
        "bars": BARS,
        "kept": {name: kept(whole[name], bar) for name, bar in BARS.items()},
        "jobs": rows,
        **environment(),
    }
    if args.out:
        write_json(args.out, result)


if __name__ == "__main__":
    main()
