"""Milliseconds and memory of a head's loss and its gradient, each head against CosFace.

Milliseconds are the processor's, so that other work on the machine hardly counts, and the heads
take turns. Memory is the most
bytes of tensors that live at once beyond what lived before, as torch's profiler counts them.
Prints one JSON line.

    python benchmarks/head_cost.py [--classes 85742] [--rows 128] [--out cost.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from crossface.losses import HEADS
from crossface.training.run import environment

DIM = 512


def batch(rows: int, classes: int):
    """Embeddings that need a gradient, and labels of two pictures a person."""
    draw = torch.Generator().manual_seed(0)
    x = (torch.randn(rows, DIM, generator=draw)).requires_grad_()
    return x, (torch.arange(rows) // 2) % classes


def step(head, x, labels) -> None:
    x.grad = None
    head.zero_grad(set_to_none=True)
    head.loss(x, labels)["loss"].backward()


def peak_bytes(head, x, labels) -> int:
    """Highest sum of allocations minus releases during one loss and gradient."""
    x.grad = None
    head.zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        head.loss(x, labels)["loss"].backward()
    live = peak = 0
    changes = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(changes, key=lambda e: e.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=85742)
    parser.add_argument("--rows", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    result = {
        "classes": options.classes, "dim": DIM, "threads": options.threads,
        "environment": environment(), "rows": {},
    }  # fmt: skip
    heads = {name: HEADS.resolve(name)(options.classes, DIM) for name in HEADS.names()}
    for rows in options.rows:
        x, labels = batch(rows, options.classes)
        times = {name: [] for name in heads}
        for head in heads.values():
            step(head, x, labels)
        for _ in range(options.rounds):
            for name, head in heads.items():
                start = time.process_time()
                step(head, x, labels)
                times[name].append((time.process_time() - start) * 1e3)
        pairs = rows * (rows - 1) // 2
        result["rows"][rows] = {
            "pairs": pairs,
            "appended_logits_mb": rows * pairs * 4 / 1e6,
            "heads": {
                name: {
                    "ms": round(statistics.median(times[name]), 1),
                    "to_cosface": round(
                        statistics.median(
                            a / b for a, b in zip(times[name], times["cosface"], strict=True)
                        ),
                        3,
                    ),
                    "peak_mb": round(peak_bytes(head, x, labels) / 1e6, 1),
                }
                for name, head in heads.items()
            },
        }
    text = json.dumps(result)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
