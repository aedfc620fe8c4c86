"""Images per second of the training loop against the same net in a bare PyTorch loop.

The bare loop has no data loading: one random batch stays in memory. Both use the same threads,
memory format, allocator setting, optimiser and compilation, and take turns, so that a machine whose
speed drifts hurts both alike. Prints one JSON line.

    python benchmarks/training_speed.py --data faces.zip --teacher teacher.onnx [--compile]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from crossface.nets import create_model
from crossface.training.config import parse_config
from crossface.training.loop import step_once
from crossface.training.memory import keep_freed_memory
from crossface.training.run import RunFolder, environment
from crossface.training.setup import prepare


def bare_loop(config, targets_dim: int, compiled: bool):
    """A step function over one constant batch: forward, loss, backward, step, in fp32 or bf16."""
    net = create_model(config.student.name, **config.student.options, embedding_dim=targets_dim)
    net = net.train().to(memory_format=torch.channels_last)
    forward = torch.compile(net) if compiled else net
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    batch = torch.randn(config.batch_size, 3, 112, 112).contiguous(
        memory_format=torch.channels_last
    )
    target = torch.nn.functional.normalize(torch.randn(config.batch_size, targets_dim))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
            embedding = forward(batch)
        loss = (1 - torch.nn.functional.cosine_similarity(embedding.float(), target)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--augment", default="strong")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    keep_freed_memory()
    config = parse_config(
        {
            "data": {"path": options.data, "labels": "none", "augment": options.augment},
            "teacher": {"path": options.teacher},
            "distiller": {"name": "embedding"},
            "student": {"name": "mobilefacenet", "options": {"width": options.width}},
            "budget": {"steps": 10**6},
            "compile": options.compile,
            "precision": options.precision,
            "batch_size": options.batch_size,
            "threads": options.threads,
        },
        source="benchmark",
    )
    with tempfile.TemporaryDirectory() as scratch:
        session = prepare(config, RunFolder(Path(scratch) / "run"))
        ours, optimizer = session.fabric.setup(session.objective, session.optimizer)
        ours.train()
        batches = session.loader.batches()
        bare = bare_loop(config, session.objective.student.embedding_dim, options.compile)

        def our_step() -> None:
            step_once(session, ours, optimizer, next(batches))

        for warm in (bare, our_step):
            for _ in range(3):
                warm()
        rates: dict[str, list[float]] = {"bare": [], "ours": []}
        waited = session.loader.wait_seconds
        spent = 0.0
        for _ in range(options.rounds):
            for name, step in (("bare", bare), ("ours", our_step)):
                start = time.perf_counter()
                for _ in range(options.steps):
                    step()
                seconds = time.perf_counter() - start
                rates[name].append(options.steps * config.batch_size / seconds)
                spent += seconds if name == "ours" else 0.0
        batches.close()
    ratios = [ours / bare for ours, bare in zip(rates["ours"], rates["bare"], strict=True)]
    print(
        json.dumps(
            {
                "benchmark": "training_speed",
                "width": options.width,
                "compile": options.compile,
                "precision": options.precision,
                "batch_size": options.batch_size,
                "threads": torch.get_num_threads(),
                "augment": options.augment,
                "images_per_s_bare": round(statistics.median(rates["bare"]), 1),
                "images_per_s_ours": round(statistics.median(rates["ours"]), 1),
                "ratio_median": round(statistics.median(ratios), 4),
                "ratios": [round(r, 4) for r in ratios],
                "waited_share": round((session.loader.wait_seconds - waited) / spent, 4),
                **environment(),
            }
        )
    )


if __name__ == "__main__":
    main()
