"""How fast batches are made, and whether a training step on the CPU ever waits for them.

Prints one JSON line. Runs of a bare step (one fixed batch, no loader) and of the same
step fed by the loader take turns, so that a busy machine slows both; the first step is left out.

    python benchmarks/loader_speed.py --threads 2 --batch 128 --steps 8
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from crossface.data import open_faces
from crossface.data.augment import PRESETS, Augment
from crossface.data.dataset import MemoryFaces, Subset
from crossface.data.loader import TrainLoader
from crossface.nets import create_model


class Patterns:
    """Smooth coloured pictures with a little grain; no file is needed."""

    name = "patterns"

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
        grown = coarse.repeat(14, axis=1).repeat(14, axis=2)
        grain = rng.integers(0, 6, grown.shape, dtype=np.uint8)
        self.pictures = np.minimum(grown, 249) + grain
        self.size = size

    def __len__(self) -> int:
        return self.size

    def key(self, index: int) -> str:
        return f"{index:06d}"

    def identity(self, index: int) -> str | None:
        return None

    def read(self, index: int) -> np.ndarray:
        return self.pictures[index % 64]

    def digest(self) -> str:
        return "0" * 64


def augment_ms(source, preset: str, count: int = 1500) -> dict[str, float]:
    augment, times = Augment(preset), []
    for index in range(count):
        image = source.read(index % len(source))
        start = time.perf_counter()
        augment(image, seed=0, epoch=0, index=index)
        times.append(1e3 * (time.perf_counter() - start))
    return {"median": round(statistics.median(times), 4), "mean": round(statistics.mean(times), 4)}


def images_per_second(source, preset: str, batch: int, steps: int = 24) -> float:
    loader = TrainLoader(source, batch_size=batch, seed=0, augment=preset)
    batches = loader.batches(0, steps)
    next(batches)
    start = time.perf_counter()
    count = sum(len(item) for item in batches)
    return round(count / (time.perf_counter() - start), 1)


def training_step(width: float) -> Callable[[torch.Tensor], None]:
    torch.manual_seed(0)
    net = create_model("mobilefacenet", width=width, embedding_dim=512)
    net = net.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    target = functional.normalize(torch.randn(4096, 512))

    def step(images: torch.Tensor) -> None:
        loss = (1 - functional.cosine_similarity(net(images), target[: len(images)])).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def training(source, preset: str, batch: int, steps: int, width: float) -> dict[str, float]:
    """Runs with and without the loader, in turns; in a fed run it works during every step."""
    step = training_step(width)
    loader = TrainLoader(source, batch_size=batch, seed=0, augment=preset)
    fixed = loader.batch(0).images
    rates: dict[str, list[float]] = {"bare": [], "fed": []}
    waited = 0.0
    step(fixed)
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(steps):
            step(fixed)
        rates["bare"].append(batch * steps / (time.perf_counter() - start))
        batches = loader.batches()
        step(next(batches).images)
        before = loader.wait_seconds
        start = time.perf_counter()
        for _ in range(steps):
            step(next(batches).images)
        seconds = time.perf_counter() - start
        rates["fed"].append(batch * steps / seconds)
        waited += (loader.wait_seconds - before) / seconds / 3
        batches.close()
    bare, fed = (statistics.median(rates[kind]) for kind in ("bare", "fed"))
    return {
        "bare_images_per_s": round(bare, 1),
        "fed_images_per_s": round(fed, 1),
        "fed_over_bare": round(fed / bare, 4),
        "waiting_fraction": round(waited, 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="a set of real crops; patterns without it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--presets", nargs="+", default=PRESETS, help="train with these")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = 4096
    source = Patterns(size)
    decode_s = None
    if options.data:
        stored = open_faces(options.data)
        start = time.perf_counter()
        source = MemoryFaces(Subset(stored, range(min(size, len(stored)))), progress=False)
        decode_s = round(len(source) / (time.perf_counter() - start), 1)
    result = {
        "benchmark": "loader_speed",
        "machine": {"processor": platform.machine(), "threads": options.threads,
                    "torch": torch.__version__, "python": platform.python_version()},
        "batch": options.batch,
        "width": options.width,
        "pictures": "real" if options.data else "patterns",
        "decoded_per_s": decode_s,
        "augment_ms": {p: augment_ms(source, p) for p in PRESETS},
        "loader_images_per_s": {p: images_per_second(source, p, options.batch) for p in PRESETS},
        "training": {p: training(source, p, options.batch, options.steps, options.width)
                     for p in options.presets},
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
