"""The demo's steps, from drawn people to figures with intervals."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossface.app.demo.faces import copy_first, write_zip
from crossface.app.demo.packaged import Packaged, use_packaged
from crossface.app.demo.plan import MODELS, STUDENTS, DemoPlan
from crossface.core.errors import TrainingStopped
from crossface.core.log import get_logger
from crossface.data import open_faces
from crossface.data.dataset import MemoryFaces
from crossface.evaluation.compare import compare_all_pairs
from crossface.evaluation.embed import EmbeddedFaces, embed_faces
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
from crossface.evaluation.report import Report
from crossface.evaluation.scores import ScoreTable, score_all_pairs
from crossface.exporting.onnx import export_onnx
from crossface.pipeline.runtimes.torch_runtime import TorchEmbedder
from crossface.training.launch import launch
from crossface.training.run import RunFolder
from crossface.training.schema import RunConfig

log = get_logger("demo")

TARGET = "1e-2"
FNMR = f"FNMR at FMR {TARGET}"
COMPARISONS = {
    "teacher_vs_alone": ("teacher", "student_alone"),
    "embedding_vs_alone": ("student_embedding", "student_alone"),
    "cadfr_vs_alone": ("student_cadfr", "student_alone"),
    "cadfr_vs_embedding": ("student_cadfr", "student_embedding"),
}
_FMR_TARGETS = (1e-2, 1e-3)
_PARITY_CROPS = 64
_STEPS = 4 + len(MODELS)


@dataclass(slots=True)
class Clock:
    """Seconds by step, with a line on stderr as each begins.

    Attributes:
        seconds: wall seconds by step.
        core_seconds: processor seconds by step, of this process and those it started.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    core_seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, told: str) -> Iterator[None]:
        """Time one step."""
        log.info("[%d/%d] %s", len(self.seconds) + 1, _STEPS, told)
        wall, core = time.perf_counter(), _core_seconds()
        yield
        self.seconds[name] = round(time.perf_counter() - wall, 1)
        self.core_seconds[name] = round(_core_seconds() - core, 1)

    def as_json(self) -> dict[str, Any]:
        """Seconds by step, in total, and the processor's share."""
        total = round(sum(self.seconds.values()), 1)
        cores = self.core_seconds | {"total": round(sum(self.core_seconds.values()), 1)}
        return {**self.seconds, "total": total, "core_seconds": cores}


def _core_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


@dataclass(slots=True)
class Outcome:
    """What the demo came to.

    Attributes:
        test: the held-out pictures.
        reports: evaluation by model.
        comparisons: paired differences by name.
        tables: all similarities by model.
        faces: embeddings by model.
        metrics: lines of the training log by model.
        facts: of every run: steps, images, parameters.
        best: the student that was exported.
        export: its export report.
        packaged: what the packaged models made of drawn pictures and of the reader's own.
        clock: seconds by step.
    """

    test: MemoryFaces
    clock: Clock
    reports: dict[str, Report] = field(default_factory=dict)
    comparisons: dict[str, Report] = field(default_factory=dict)
    tables: dict[str, ScoreTable] = field(default_factory=dict)
    faces: dict[str, EmbeddedFaces] = field(default_factory=dict)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    best: str = ""
    export: dict[str, Any] = field(default_factory=dict)
    packaged: Packaged = field(default_factory=Packaged)


def take_steps(
    plan: DemoPlan, out: Path, *, seed: int, photos: Sequence[Path] = (), progress: bool = True
) -> Outcome:
    """Draw, train, evaluate, compare and export, and use the packaged models, inside ``out``.

    Raises:
        TrainingStopped: if the teacher does not beat the CNN alone: nothing could be learnt.
        CrossfaceError: from any of the verbs.
    """
    clock = Clock()
    with clock.step("draw", f"drawing {plan.people} people, {plan.pictures} pictures"):
        test = draw(plan, out / "faces", seed=seed, progress=progress)
    outcome = Outcome(test, clock)
    for name, config in plan.configs(out, seed).items():
        steps = config.budget.steps
        with clock.step(name, f"{_TOLD[name]}: {steps} steps of {config.batch_size} pictures"):
            _train(outcome, name, config, out, progress=progress)
            _evaluate(outcome, name, out, threads=plan.threads, progress=progress)
        if name == "student_alone":
            _compare(outcome, "teacher_vs_alone")
            check_teacher(outcome.comparisons["teacher_vs_alone"], plan)
    with clock.step("compare", "paired comparisons"):
        for name in COMPARISONS:
            _compare(outcome, name)
    outcome.best = max(STUDENTS, key=lambda name: outcome.facts[name]["val_auc"])
    with clock.step("export", f"export of {outcome.best} to ONNX"):
        _export(outcome, out)
    with clock.step("package", "the detector and recogniser of the package on whole pictures"):
        outcome.packaged = use_packaged(plan.test_faces(seed), out, photos)
    return outcome


_TOLD = {
    "teacher": "a small Swin learns by itself",
    "student_alone": "a CNN learns by itself",
    "student_embedding": "the same CNN learns the Swin's embedding",
    "student_cadfr": "the same CNN learns the Swin's embedding and pixels",
}


def draw(plan: DemoPlan, folder: Path, *, seed: int, progress: bool) -> MemoryFaces:
    """Write teacher.zip, students.zip (its first people) and test.zip; the test set in memory."""
    sets = {"teacher.zip": plan.teacher_faces(seed), "test.zip": plan.test_faces(seed)}
    for name, faces in sets.items():
        write_zip(faces, folder / name, processes=plan.threads, progress=progress)
    shown = plan.student_identities * plan.per_identity
    copy_first(folder / "teacher.zip", folder / "students.zip", shown)
    # Read back: the figures are those of the files that are left behind.
    return MemoryFaces(open_faces(folder / "test.zip"), progress=progress)


def check_teacher(comparison: Report, plan: DemoPlan) -> None:
    """Stop unless the teacher misses fewer genuine pairs than the CNN alone.

    Raises:
        TrainingStopped: with both figures and the interval of the difference.
    """
    found = comparison["differences"][FNMR]
    if not plan.must_win or (found["high"] is not None and found["high"] < 0):
        return
    limits = "no interval"
    if found["low"] is not None:
        limits = f"{100 * found['low']:+.1f} to {100 * found['high']:+.1f} points"
    raise TrainingStopped(
        f"the teacher is not better than the CNN alone, so there is nothing to distil: {FNMR} "
        f"{_percent(found['a'])} against {_percent(found['b'])} (difference {limits}); "
        "try another --seed"
    )


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{100 * value:.1f} %"


def _train(outcome: Outcome, name: str, config: RunConfig, out: Path, *, progress: bool) -> None:
    folder = out / name
    run = launch(config, folder, show_progress=progress, cache=out / "cache")
    outcome.metrics[name] = RunFolder(folder).metrics()
    facts = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    outcome.facts[name] = {**run.summary, "parameters": facts["student_parameters"]}
    RunFolder(folder).checkpoint.unlink()  # nobody resumes a demo


def _evaluate(outcome: Outcome, name: str, out: Path, *, threads: int, progress: bool) -> None:
    model = TorchEmbedder(out / name / "student.safetensors", threads=threads)
    faces = embed_faces(model, outcome.test, progress=progress)
    table = score_all_pairs(faces)
    outcome.faces[name], outcome.tables[name] = faces, table
    outcome.reports[name] = evaluate_all_pairs(faces, fmr_targets=_FMR_TARGETS, table=table)


def _compare(outcome: Outcome, name: str) -> None:
    if name not in outcome.comparisons:
        a, b = (outcome.faces[model] for model in COMPARISONS[name])
        outcome.comparisons[name] = compare_all_pairs([a], [b], fmr_targets=_FMR_TARGETS)


def _export(outcome: Outcome, out: Path) -> None:
    crops = outcome.test.crops[:_PARITY_CROPS]
    model = out / outcome.best / "student.safetensors"
    report = export_onnx(model, out / "student.onnx", samples=crops)
    outcome.export = {"model": outcome.best, **report.as_json()}
