"""Training steps a second in fp32 and bf16, with plain and with our depth-wise convolutions.

One net, one constant batch, compiled; the four cases take turns, so that a machine whose speed
drifts hurts all alike. Prints one JSON line.

    python benchmarks/training_precision.py [--threads 1] [--batch-size 32] [--rounds 6]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time

import torch

from crossface.nets import create_model
from crossface.nets.layers import DepthwiseConv2d
from crossface.training.memory import keep_freed_memory
from crossface.training.run import environment


def stepper(precision: str, ways: str, options: argparse.Namespace):
    """A training step of a net of its own."""
    torch.manual_seed(0)
    net = create_model("mobilefacenet", width=options.width).train()
    net = net.to(memory_format=torch.channels_last)
    if ways == "plain":
        for module in net.modules():
            for name, child in list(module.named_children()):
                if isinstance(child, DepthwiseConv2d):
                    setattr(module, name, plain(child))
    forward = torch.compile(net, dynamic=False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    x = torch.randn(options.batch_size, 3, 112, 112)
    x = x.contiguous(memory_format=torch.channels_last)
    target = torch.nn.functional.normalize(torch.randn(options.batch_size, 512))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            embedding = forward(x)
        loss = (1 - torch.nn.functional.cosine_similarity(embedding.float(), target)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def plain(layer: DepthwiseConv2d) -> torch.nn.Conv2d:
    """The same layer as ``nn.Conv2d``."""
    channels = layer.in_channels
    conv = torch.nn.Conv2d(
        channels,
        channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        groups=channels,
        bias=False,
    )
    return conv.to(memory_format=torch.channels_last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one case in one round")
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    cases = list(itertools.product(("fp32", "bf16"), ("plain", "ours")))
    steps = {case: stepper(*case, options) for case in cases}
    for step in steps.values():
        for _ in range(3):
            step()
    rates: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    for _ in range(options.rounds):
        for case, step in steps.items():
            done, start = 0, time.perf_counter()
            while time.perf_counter() - start < options.seconds:
                step()
                done += 1
            rates[case].append(done * options.batch_size / (time.perf_counter() - start))
    base = rates["fp32", "plain"]
    rows = {
        f"{precision} {ways}": {
            "images_per_s": round(statistics.median(values), 1),
            "times_fp32_plain": round(
                statistics.median(v / b for v, b in zip(values, base, strict=True)), 3
            ),
        }
        for (precision, ways), values in rates.items()
    }
    print(
        json.dumps(
            {"benchmark": "training_precision", **vars(options), "rows": rows} | environment()
        )
    )


if __name__ == "__main__":
    main()
