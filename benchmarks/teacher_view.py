"""Is a picture worth more when the teacher sees the very crop that the student sees?

Two arms, several seeds, equal pictures: the clean picture's embedding, cached once, against the
embedding of the same augmented crop (``views`` differently augmented rounds, embedded once). Judged
on held-out crops only: cosine to the teacher and rank correlation of pair similarities. A finished
cell is a run folder; a second call goes on where the first stopped.

    python benchmarks/teacher_view.py --data faces.zip --teacher teacher.onnx --out runs/views \
        --json result.json
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np

from crossface.core.files import write_json
from crossface.training.config import parse_config
from crossface.training.launch import launch
from crossface.training.run import SUMMARY, environment

ARMS = {"clean": {"view": "clean"}, "same": {"view": "same", "views": 4}}


def cell_config(arm: str, seed: int, options: argparse.Namespace) -> dict:
    """The whole configuration of one cell."""
    return {
        "data": {
            "path": options.data,
            "labels": "none",
            "holdout": 2000,
            "limit": options.limit,
            "augment": options.augment,
        },
        "teacher": {"path": options.teacher, **ARMS[arm]},
        "student": {"name": "mobilefacenet", "options": {"width": options.width}},
        "distiller": {"name": "embedding"},
        "optim": {"name": "muon", "lr": options.lr, "ema_decay": 0.99},
        "budget": {"steps": options.steps},
        "batch_size": 32,
        "seed": seed,
        "threads": 1,
        "precision": options.precision,
        "compile": True,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--limit", type=int, default=12_000, help="held-out 2,000 included")
    parser.add_argument("--augment", default="strong")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    cells: dict[str, list[dict]] = {arm: [] for arm in ARMS}
    for seed, arm in itertools.product(options.seeds, ARMS):
        folder = options.out / f"{arm}-{seed}"
        if not (folder / SUMMARY).exists():
            config = parse_config(cell_config(arm, seed, options), source="teacher_view")
            launch(config, folder, resume=(folder / "config.json").exists())
        cells[arm].append(json.loads((folder / SUMMARY).read_text(encoding="utf-8")))
        config = cell_config("same", 0, options)
        config["data"]["path"] = Path(options.data).name
        config["teacher"]["path"] = Path(options.teacher).name
        result = {
            "experiment": "teacher_view",
            "config_of_same": config,
            "cells": cells,
            "same_minus_clean": differences(cells),
            **environment(),
        }
        write_json(options.json, result)


def differences(cells: dict[str, list[dict]]) -> dict[str, dict]:
    """Per seed, and the mean with the standard deviation of the differences."""
    out = {}
    pairs = list(zip(cells["clean"], cells["same"], strict=False))
    for name in ("val_cosine", "val_rank_correlation"):
        values = [same[name] - clean[name] for clean, same in pairs]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        mean = float(np.mean(values)) if values else None
        out[name] = {"by_seed": values, "mean": mean, "standard_deviation": spread}
    return out


if __name__ == "__main__":
    main()
