"""Do pictures bound a student? Its agreement with the teacher on crops learnt from and held out.

    python benchmarks/what_bounds.py tiny.safetensors default.safetensors --config \
        configs/default_student.toml --data fairface_train112.zip --teacher teacher.onnx --json ...

A student that agrees with its teacher on the crops it learnt from as little as on those held out
would not be helped by more of them; the gap between the two is what more pictures could close at
most. Clean crops, without augmentation; the first crops of the training part against all held out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from crossface.core.files import sha256_file, write_json
from crossface.data.dataset import Subset
from crossface.nets.checkpoint import load_model
from crossface.training.config import load_config
from crossface.training.run import environment
from crossface.training.setup import read_pictures
from crossface.training.teachers import clean_targets, open_target
from crossface.training.validation import agreement, embed_crops


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--config", required=True, help="of the run: split and teacher's runtime")
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    given = {"data": {"path": options.data}, "teacher": {"path": options.teacher}}
    config = load_config(options.config, [], given)
    pictures = read_pictures(config.data, show_progress=True)
    teacher = open_target(config.teacher, config.threads)
    targets = {
        "learnt": clean_targets(teacher, pictures.train.source, folder=None, progress=True),
        "held_out": clean_targets(teacher, pictures.holdout, folder=None, progress=True),
    }
    count = len(pictures.holdout)
    learnt = Subset(pictures.train.source, range(count))
    crops = {
        "learnt": np.stack([learnt.read(index) for index in range(count)]),
        "held_out": np.stack([pictures.holdout.read(index) for index in range(count)]),
    }
    rows = []
    for path in options.models:
        network = load_model(path).net.eval()
        row = {
            "model": path.stem,
            "sha256": sha256_file(path),
            "parameters": sum(p.numel() for p in network.parameters()),
        }
        for name, pixels in crops.items():
            row[name] = agreement(embed_crops(network, pixels), targets[name][:count])
        rows.append(row)
        print(row)
    write_json(options.json, {"crops_each": count, "models": rows, "measured": environment()})


if __name__ == "__main__":
    main()
