"""Does CADFR beat plain embedding regression on real faces? Four arms, several seeds, one student.

Arms, all with the same student, pictures, augmentation, images and schedule:

- ``original``: regression to the original black-box teacher's cached embedding
- ``swin``: regression to the embedding of a Swin of ours, itself distilled from the original
- ``cadfr``: the original's embedding as target, URFM and APT over the Swin's pixel features
- ``cadfr_no_apt``: the same without prompts
- ``original_longer``: ``original`` with ``--longer-steps`` steps, as many as fit into the time
  that ``cadfr`` takes when both are timed side by side (equal minutes)

Every finished cell is a run folder with a summary and a scores file; a second call goes on where
the first stopped. With ``--evaluate`` the finished cells are measured once on the benchmark set and
compared, mean over seeds against mean over the same seeds, with paired intervals.

    python benchmarks/four_arms.py --data faces.zip --teacher teacher.onnx --swin runs/swin \
        --out runs/four_arms --steps 500 --limit 12000 --seeds 0 1 2
    python benchmarks/four_arms.py ... --evaluate lfw112.zip --json results.json
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

from crossface.api import embed, export
from crossface.core.files import write_json
from crossface.evaluation.compare import (
    FMR_TARGETS,
    Parts,
    all_pairs_influences,
    compare_influences,
)
from crossface.evaluation.scores import score_all_pairs
from crossface.training.config import parse_config
from crossface.training.launch import launch
from crossface.training.run import SUMMARY, environment

ARMS = ("original", "swin", "cadfr", "cadfr_no_apt", "original_longer")
# The attention term in its scale-free form; weights fixed before the run, not tuned.
CADFR = {"attention_form": "centred", "attention_weight": 0.1, "feature_weight": 0.1}


def cell_config(arm: str, seed: int, options: argparse.Namespace) -> dict:
    """The whole configuration of one cell."""
    teacher = {"path": options.swin if arm == "swin" else options.teacher}
    distiller: dict = {"name": "embedding"}
    if arm.startswith("cadfr"):
        teacher["features"] = options.swin
        distiller = {"name": "cadfr", "options": CADFR | {"apt": arm == "cadfr"}}
    steps = options.longer_steps if arm == "original_longer" else options.steps
    return {
        "data": {
            "path": options.data,
            "labels": "none",
            "holdout": options.holdout,
            "limit": options.limit,
            "augment": options.augment,
        },
        "teacher": teacher,
        "student": {"name": "mobilefacenet", "options": {"width": options.width}},
        "distiller": distiller,
        "optim": {"name": "muon", "lr": options.lr, "ema_decay": 0.99},
        "budget": {"steps": steps},
        "batch_size": options.batch_size,
        "seed": seed,
        "threads": options.threads,
        "precision": options.precision,
        "compile": options.compile,
    }


def run_cells(options: argparse.Namespace) -> None:
    """Train what is not there yet, seed by seed, so that every stop leaves whole blocks."""
    for seed, arm in itertools.product(options.seeds, options.arms):
        folder = Path(options.out) / f"{arm}-{seed}"
        if (folder / SUMMARY).exists():
            continue
        config = parse_config(cell_config(arm, seed, options), source="four_arms")
        launch(config, folder, resume=(folder / "config.json").exists())


def evaluate_cells(options: argparse.Namespace) -> dict:
    """Rates of every finished cell, and paired differences over the seeds that both arms have."""
    parts: dict[str, dict[int, Parts]] = {arm: {} for arm in options.arms}
    cells = []
    sizes = None
    for arm, seed in itertools.product(options.arms, options.seeds):
        folder = Path(options.out) / f"{arm}-{seed}"
        if not (folder / SUMMARY).exists():
            continue
        table = score_all_pairs(
            embed(
                exported(folder),
                options.evaluate,
                flip=not options.no_flip,
                threads=options.threads,
            )
        )
        sizes = table.sizes
        parts[arm][seed] = all_pairs_influences(table, FMR_TARGETS)
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        rates = {
            name: part if isinstance(part, str) else part.value
            for name, part in parts[arm][seed].items()
        }
        cells.append({"arm": arm, "seed": seed, "summary": summary, "rates": rates})
    wanted = [(arm, options.arms[0]) for arm in options.arms[1:]]
    wanted += [("cadfr", "original_longer")] if "original_longer" in parts else []
    differences = []
    for arm, other in wanted:
        seeds = sorted(parts.get(arm, {}).keys() & parts[other].keys())
        if seeds:
            pair = [[parts[name][seed] for seed in seeds] for name in (arm, other)]
            row = {"a": arm, "b": other, "seeds": seeds}
            differences.append(row | {"a_minus_b": compare_influences(*pair, sizes)})
    return {
        "experiment": "four_arms",
        "data": Path(options.evaluate).name,
        "flip": not options.no_flip,
        "cells": cells,
        "differences": differences,
        "configs": {arm: anonymous(cell_config(arm, 0, options)) for arm in options.arms},
        **environment(),
    }


def exported(folder: Path) -> Path:
    """The cell's student as ONNX, which embeds faster; parity is checked when it is written."""
    path = folder / "student.onnx"
    if not path.exists():
        export(folder, path)
    return path


def anonymous(config: dict) -> dict:
    """File names instead of paths."""
    config = json.loads(json.dumps(config))
    for table, key in (("data", "path"), ("teacher", "path"), ("teacher", "features")):
        if key in config[table]:
            config[table][key] = Path(config[table][key]).name
    return config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--swin", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--arms", nargs="+", default=list(ARMS[:4]), choices=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--longer-steps", type=int, help="steps of original_longer")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--augment", default="light")
    parser.add_argument("--limit", type=int, help="pictures used, held-out ones included")
    parser.add_argument("--holdout", type=int, default=2000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--evaluate", help="labelled crops; never used to choose anything")
    parser.add_argument("--no-flip", action="store_true", help="half the evaluation's time")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.evaluate:
        result = evaluate_cells(options)
        if options.json:
            write_json(options.json, result)
        else:
            print(json.dumps(result, indent=2))
    else:
        run_cells(options)


if __name__ == "__main__":
    main()
