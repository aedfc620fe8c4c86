"""Start or resume a run and leave a finished model in its folder."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import TrainingStopped
from crossface.core.log import get_logger
from crossface.core.weights import find_by_sha256
from crossface.nets.checkpoint import make_contract, save_model
from crossface.nets.layers import Backbone
from crossface.training.config import public_config
from crossface.training.loop import Session, run
from crossface.training.run import RunFolder, git_commit
from crossface.training.schema import RunConfig
from crossface.training.setup import prepare

log = get_logger("train")

_DECIDING = ("val_auc", "val_rank_correlation", "val_cosine")


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A finished run.

    Attributes:
        folder: the run folder.
        best: the student, safetensors with InputSpec, contract and training card.
        summary: steps, images, minutes, core-minutes and the last validation figures.
    """

    folder: Path
    best: Path
    summary: dict[str, Any]


def launch(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    show_progress: bool = True,
    cache: Path | None = None,
) -> FinishedRun:
    """Train a student as the configuration says.

    Args:
        config: the resolved configuration.
        out: the run folder; new, or that of the run to resume.
        resume: go on from the newest checkpoint in ``out``.
        show_progress: progress with an estimate of the time left on stderr.
        cache: where teacher embeddings are kept; ``training.cache.cache_folder()`` by default.

    Raises:
        CrossfaceError: naming what does not fit, where the run stopped, or how to go on.
    """
    folder = RunFolder(out)
    if not resume:
        folder.require_free()
    session = prepare(config, folder, show_progress=show_progress, cache=cache)
    if not resume:
        folder.start(config, facts=_facts(session))
    progressed = run(session, resume=resume, show_progress=show_progress)
    if not session.average.updates:
        raise TrainingStopped(f"{folder.path.name}: the budget ended before the first step")
    images = progressed.step * config.batch_size
    net, chosen = choose_weights(session)
    summary = {
        "steps": progressed.step,
        "images": images,
        "minutes": round(progressed.elapsed_s / 60, 3),
        "core_minutes": round(progressed.core_s / 60, 3),
        "images_per_s": round(images / max(progressed.elapsed_s, 1e-9), 1),
        "waited_share": round(progressed.waited_s / max(progressed.elapsed_s, 1e-9), 4),
        **progressed.history,
        **chosen,
    }
    _save_student(session, net, summary)
    folder.finish(summary)
    return FinishedRun(folder.path, folder.best, summary)


def choose_weights(session: Session) -> tuple[Backbone, dict[str, Any]]:
    """The averaged weights, or the newest ones where those do better on the held-out pictures.

    An average is better as a rule. It is worse where channels died on the way: their batch norms
    divide by next to nothing, and what is left of them in the average is blown up.

    Returns:
        The network, and {"weights": "average" or "newest", the figures of the chosen one}.
    """
    average = session.average.net
    if session.validate is None or session.config.optim.ema_decay == 0:
        return average, {"weights": "average"}
    newest = copy.deepcopy(session.objective.student).eval()
    figures = {"average": session.validate(average), "newest": session.validate(newest)}
    better = max(figures, key=lambda name: [figures[name].get(key, 0.0) for key in _DECIDING])
    log.info("kept the %s weights: %s", better, figures[better])
    return (average if better == "average" else newest), {"weights": better, **figures[better]}


def _facts(session: Session) -> dict[str, Any]:
    source = session.loader.source
    return {
        "seed": session.config.seed,
        "data": {"name": source.name, "pictures": len(source), "digest": source.digest()},
        "steps_per_epoch": session.loader.batches_per_epoch,
        "student_parameters": sum(p.numel() for p in session.objective.student.parameters()),
    }


def _licence_note(teachers: tuple[EmbeddingContract, ...]) -> str:
    if not teachers:
        return "the restrictions of the training pictures apply"
    parts = []
    for teacher in teachers:
        known = find_by_sha256(teacher.digest)
        terms = "not known to crossface" if known is None else f"{known.licence} ({known.caveat})"
        parts.append(f"{teacher.model_id}: the restrictions of its weights ({terms})")
    return f"distilled from {', from '.join(parts)} and of the training pictures apply"


def _save_student(session: Session, net: Backbone, summary: dict[str, Any]) -> None:
    teachers = session.teacher_contracts
    teacher = teachers[0] if teachers else None
    space = None
    if teacher is not None and session.objective.keeps_space:
        space = teacher.space_id
    config = session.config
    training = {
        "data": {"name": session.loader.source.name, "digest": session.loader.source.digest()},
        "teacher": None if teacher is None else teacher.model_dump(mode="json"),
        "other_teachers": [other.model_dump(mode="json") for other in teachers[1:]],
        "method": "supervised" if config.distiller is None else config.distiller.name,
        "licence_note": _licence_note(teachers),
        "started_from": session.started_from,
        "config": public_config(config),
        "commit": git_commit(),
        "summary": summary,
    }
    save_model(
        net,
        session.folder.best,
        contract=make_contract(net, InputSpec(), space_id=space),
        input_spec=InputSpec(),
        training=training,
    )
