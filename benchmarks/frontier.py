"""Accuracy against latency: embedders on one core, taking turns, beside what they reach on LFW.

python benchmarks/frontier.py default edgeface_xs.onnx ... --accuracy embedders.json default.json \
    --out frontier.json --plot frontier.png

Milliseconds are those of a whole ``embed`` call (uint8 crops in the model's own template in, raw
embeddings out), one thread; models take turns, so that a machine whose speed drifts hurts all
alike. Accuracies are read from result files (``embedders.json``) and cards of packaged models, all
measured on LFW's ten folds with the mirror image. A model lies on the frontier if none is both
faster and at least as accurate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from crossface.core.files import sha256_file, write_json
from crossface.core.weights import find_by_name
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder
from crossface.pipeline.store import ModelStore
from crossface.training.run import environment

LATENCY_BATCH, STREAM_BATCH = 1, 8


def accuracies(files: list[Path]) -> dict[str, dict]:
    """LFW's figure by sha256 of the model's file."""
    found = {}
    for path in files:
        document = json.loads(path.read_text(encoding="utf-8"))
        for entry in document.get("models", [document]):
            figures = entry.get("lfw_view_2") or entry["lfw_with_mirror_image"]
            found[entry["sha256"]] = figures["accuracy"]
    return found


def timer(embedder: OnnxEmbedder, batch: int, seconds: float):
    """Milliseconds a crop of one turn."""
    height, width = embedder.input_spec.size_hw
    crops = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), dtype=np.uint8)

    def turn() -> list[float]:
        times, end = [], time.perf_counter() + seconds
        while time.perf_counter() < end or not times:
            start = time.perf_counter()
            embedder.embed(crops)
            times.append(1e3 * (time.perf_counter() - start) / batch)
        return times

    embedder.embed(crops)
    return turn


def on_frontier(row: dict, rows: list[dict]) -> bool:
    """Whether nobody is faster and at least as accurate."""
    return not any(
        other["ms"] < row["ms"] and other["accuracy"]["value"] >= row["accuracy"]["value"]
        for other in rows
    )


def plot(rows: list[dict], path: Path) -> None:
    """Accuracy over milliseconds, intervals as bars, the frontier filled."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for row in rows:  # names above the frontier's and below the others': neighbours stay apart
        value, low, high = (100 * row["accuracy"][key] for key in ("value", "low", "high"))
        axes.errorbar(
            row["ms"], value, [[value - low], [high - value]], fmt="o", color="tab:blue", capsize=3,
            mfc="tab:blue" if row["on_frontier"] else "white",
        )  # fmt: skip
        axes.annotate(
            row["model"], (row["ms"], high if row["on_frontier"] else low), ha="center", fontsize=8,
            xytext=(0, 5 if row["on_frontier"] else -12), textcoords="offset points",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.margins(x=0.16, y=0.12)
    axes.set_xlabel("milliseconds a crop, one thread, one crop a call")
    axes.set_ylabel("LFW, ten folds, %")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="ONNX files or names of the model store")
    parser.add_argument("--accuracy", nargs="+", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of one model in one turn")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    known = accuracies(options.accuracy)
    store = ModelStore()
    rows, turns = [], []
    for name in options.models:
        path = store.path_of(row) if (row := find_by_name(name)) else Path(name)
        embedder = OnnxEmbedder(path, threads=1, batch_size=STREAM_BATCH)
        rows.append(
            {"model": Path(name).stem, "bytes": path.stat().st_size}
            | {"accuracy": known[sha256_file(path)]}
        )
        batches = (LATENCY_BATCH, STREAM_BATCH)
        turns.append([timer(embedder, batch, options.seconds / 2) for batch in batches])
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in rows]
    for _ in range(options.rounds):
        for kept, pair in zip(times, turns, strict=True):
            for samples, turn in zip(kept, pair, strict=True):
                samples.extend(turn())
    for row, (single, stream) in zip(rows, times, strict=True):
        row["ms"] = round(statistics.median(single), 3)
        row["ms_95th"] = round(statistics.quantiles(single, n=20)[-1], 3)
        row["crops_per_s_batch_8"] = round(1e3 / statistics.median(stream), 1)
    for row in rows:
        row["on_frontier"] = on_frontier(row, rows)
    rows.sort(key=lambda row: row["ms"])
    write_json(options.out, {"benchmark": "frontier", "models": rows, **environment()})
    if options.plot:
        plot(rows, options.plot)
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
