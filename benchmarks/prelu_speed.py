"""A training step without a compiler, with torch's PReLU and with ours.

One net each with the same weights and one constant batch; the two take turns, so that a machine
whose speed drifts hurts both alike. Prints one JSON line.

    python benchmarks/prelu_speed.py [--width 0.25] [--batch-size 64] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import nn

from crossface.nets import create_model
from crossface.nets.layers import PReLU
from crossface.training.memory import keep_freed_memory
from crossface.training.run import environment


def stepper(way: str, options: argparse.Namespace):
    """A forward and backward pass of a net of its own."""
    torch.manual_seed(0)
    net = create_model("mobilefacenet", width=options.width).train()
    net = net.to(memory_format=torch.channels_last)
    if way == "torch":
        for layer in net.modules():
            if isinstance(layer, PReLU):
                layer.__class__ = nn.PReLU
    x = torch.randn(options.batch_size, 3, 112, 112)
    x = x.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        net(x).square().mean().backward()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    steps = {way: stepper(way, options) for way in ("torch", "ours")}
    seconds: dict[str, list[float]] = {way: [] for way in steps}
    for turn in range(options.rounds + 2):
        for way, step in steps.items():
            start = time.process_time()
            step()
            if turn >= 2:
                seconds[way].append(time.process_time() - start)
    ratios = [t / o for t, o in zip(seconds["torch"], seconds["ours"], strict=True)]
    result = {
        "benchmark": "prelu_speed",
        **vars(options),
        "core_seconds": {way: round(statistics.median(v), 4) for way, v in seconds.items()},
        "times_faster": round(statistics.median(ratios), 3),
        "times_faster_quartiles": [round(q, 3) for q in statistics.quantiles(ratios, n=4)[::2]],
    }
    print(json.dumps(result | environment()))


if __name__ == "__main__":
    main()
