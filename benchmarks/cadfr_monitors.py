"""Is a finished CADFR run healthy: does its prompted teacher still recognise, did URFM collapse?

For every run folder: how the prompted Swin, the same Swin without prompts and the student rank the
pairs of the held-out crops, each against a black-box teacher; and the first and last line of the
run's own monitors (spread, entropy of the pixel attention, effective rank).

    python benchmarks/cadfr_monitors.py RUN [RUN ...] --black-box teacher.onnx --out monitors.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from crossface.core.files import write_json
from crossface.pipeline.runtimes.opening import open_embedder
from crossface.training.checkpoint import load_checkpoint
from crossface.training.loop import Session
from crossface.training.run import RunFolder, environment
from crossface.training.setup import prepare, read_pictures
from crossface.training.teachers import clean_targets
from crossface.training.validation import agreement, embed_crops, read_holdout


def monitors(folder: RunFolder, black_box: str) -> dict:
    """The figures of one run."""
    session = prepare(folder.config(), folder, show_progress=False)
    load_checkpoint(
        folder.checkpoint,
        objective=session.objective,
        optimizer=session.optimizer,
        average=session.average,
        config_digest=session.config_digest,
    )
    lines = [line for line in folder.metrics() if "loss" in line]
    return {
        "distiller": session.config.distiller.model_dump(),
        "teacher": _teacher(session, black_box),
        "first": _monitors_of(lines[0]),
        "last": _monitors_of(lines[-1]),
    }


def _teacher(session: Session, black_box: str) -> dict | None:
    """Held-out agreement with the black box, prompted and not; None without prompts."""
    prompted = getattr(session.objective, "prompted", None)
    if prompted is None:
        return None
    source = read_pictures(session.config.data, show_progress=False).holdout
    threads = session.config.threads
    targets = clean_targets(open_embedder(black_box, threads=threads), source, progress=False)
    crops = read_holdout(source, None).crops
    with_prompts = embed_crops(prompted.eval(), crops)
    without = embed_crops(prompted.swin.eval(), crops)
    sides = {
        "prompted": agreement(with_prompts, targets),
        "unprompted": agreement(without, targets),
        "prompted_with_unprompted": agreement(with_prompts, without),
    }
    ranks = [sides[side]["rank_correlation"] for side in ("prompted", "unprompted")]
    return sides | {"rank_correlation_lost": ranks[1] - ranks[0]}


def _monitors_of(line: dict) -> dict:
    kept = ("urfm_", "weight_", "attention", "feature", "anchor", "prompt", "student", "step")
    return {name: value for name, value in line.items() if name.startswith(kept)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--black-box", required=True, help="who taught the Swin (an ONNX file)")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = {run.name: monitors(RunFolder(run), options.black_box) for run in options.runs}
    write_json(options.out, {"experiment": "cadfr_monitors", "runs": found, **environment()})


if __name__ == "__main__":
    main()
