"""The student of a run from its newest checkpoint, as a finished run keeps it today.

Both weight sets of the checkpoint, averaged and newest, are measured on the run's held-out
pictures and the better one is kept, as ``training.launch.choose_weights`` does. Needed once: the
first real student was trained by commit 06c2fdf, before that choice existed.

    python benchmarks/finish_run.py RUN --out student.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors import safe_open

from crossface.training.launch import _save_student, choose_weights
from crossface.training.run import SUMMARY, RunFolder
from crossface.training.setup import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    options = parser.parse_args()
    folder = RunFolder(options.run)
    session = prepare(folder.config(), RunFolder(options.out))
    with safe_open(folder.checkpoint, framework="pt") as handle:
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
    nets = {"objective.student.": session.objective.student, "average.": session.average.net}
    for prefix, net in nets.items():
        net.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
    net, chosen = choose_weights(session)
    summary = json.loads((folder.path / SUMMARY).read_text(encoding="utf-8")) | chosen
    options.out.mkdir(parents=True, exist_ok=True)
    _save_student(session, net, summary)
    RunFolder(options.out).finish(summary)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
