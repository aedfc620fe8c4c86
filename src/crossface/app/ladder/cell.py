"""One cell in this process: train, measure, keep the result in two small files."""

from __future__ import annotations

import json
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossface.app.ladder.code_lines import method_code
from crossface.app.ladder.plan import Cell, EvaluateConfig
from crossface.core.errors import ConfigError
from crossface.core.files import write_json
from crossface.training.config import config_json, parse_config, public_config
from crossface.training.schema import RunConfig

KEPT_TARGETS = (1e-3, 1e-4)

_MEMORY = "memory.json"
_SAMPLE_S = 0.05


@dataclass(frozen=True, slots=True)
class CellTask:
    """What a process needs to know to run a cell.

    Attributes:
        cell: which one.
        config: of its run.
        folder: its run folder, with the weights.
        record: the JSON that is kept of it; its influences lie beside, as ``.npz``.
        evaluate: what the student is measured on, if anything.
    """

    cell: Cell
    config: RunConfig
    folder: Path
    record: Path
    evaluate: EvaluateConfig | None

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "cell": asdict(self.cell),
            "config": config_json(self.config),
            "folder": str(self.folder),
            "record": str(self.record),
            "evaluate": None if self.evaluate is None else self.evaluate.model_dump(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> CellTask:
        """What ``as_json`` gave."""
        evaluate = value["evaluate"]
        return cls(
            cell=Cell(**value["cell"]),
            config=parse_config(value["config"], source="cell"),
            folder=Path(value["folder"]),
            record=Path(value["record"]),
            evaluate=None if evaluate is None else EvaluateConfig(**evaluate),
        )


def run_cell(task: CellTask, *, show_progress: bool = True) -> None:
    """Train what is not trained yet, measure it, and write its record.

    Raises:
        CrossfaceError: naming what does not fit, or where the run stopped.
    """
    from crossface.training.distillers import DISTILLERS
    from crossface.training.run import SUMMARY, environment

    if not (task.folder / SUMMARY).exists():
        _train(task, show_progress=show_progress)
    memory = task.folder / _MEMORY
    distiller = task.config.distiller
    record: dict[str, Any] = {
        "cell": asdict(task.cell),
        "summary": _read(task.folder / SUMMARY),
        "memory": _read(memory) if memory.exists() else None,
        "code": None if distiller is None else method_code(DISTILLERS, distiller.name),
        "config": public_config(task.config),
        **environment(),
        "evaluate": None,
        "evaluation": None,
    }
    if task.evaluate is not None:
        record["evaluate"] = task.evaluate.public()
        record["evaluation"] = _measure(task, task.evaluate, show_progress=show_progress)
    # Last, since it says that the cell is finished.
    write_json(task.record, record)


def _read(path: Path) -> Any:  # noqa: ANN401  # a JSON value
    return json.loads(path.read_text(encoding="utf-8"))


def _train(task: CellTask, *, show_progress: bool) -> None:
    from crossface.training.launch import launch
    from crossface.training.run import CONFIG, RunFolder

    started = (task.folder / CONFIG).exists()
    if started and RunFolder(task.folder).config() != task.config:
        raise ConfigError(
            f"{task.cell.path}: its run folder was started with another configuration; remove it, "
            "or choose another --out"
        )
    with PeakMemory() as memory:
        launch(task.config, task.folder, resume=started, show_progress=show_progress)
    write_json(task.folder / _MEMORY, memory.as_dict(task.config.device))


def _measure(task: CellTask, evaluate: EvaluateConfig, *, show_progress: bool) -> dict[str, Any]:
    """The report of the finished student; its influences are written beside the record."""
    from crossface.data import open_faces
    from crossface.evaluation.compare import all_pairs_influences
    from crossface.evaluation.embed import embed_faces
    from crossface.evaluation.influence_file import save_influences
    from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
    from crossface.evaluation.scores import score_all_pairs
    from crossface.pipeline.runtimes.opening import open_embedder

    student = open_embedder(str(task.folder), input_spec=None, threads=task.config.threads)
    source = open_faces(evaluate.data)
    faces = embed_faces(student, source, flip=evaluate.flip, progress=show_progress)
    table = score_all_pairs(faces)
    report = evaluate_all_pairs(faces, table=table)
    influences = all_pairs_influences(table, KEPT_TARGETS)
    kept = {name: part for name, part in influences.items() if name.startswith("FNMR")}
    save_influences(task.record.with_suffix(".npz"), kept, table.sizes, faces.keys)
    return report


class PeakMemory:
    """The most memory this process had while the context was open, in MB.

    ``own_mb`` leaves out what is mapped from files: how many of the shared pictures a run has
    touched depends on the number of its steps, not on its method. It is sampled 20 times a second.
    """

    def __init__(self) -> None:
        self.own_mb: float | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

    def as_dict(self, device: str) -> dict[str, float | None]:
        """{"peak_rss_mb", "peak_own_mb"} and, on an accelerator, "peak_gpu_mb"."""
        result = {"peak_rss_mb": peak_rss_mb(), "peak_own_mb": self.own_mb}
        if device != "cpu":
            import torch

            result["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
        return result

    def _watch(self) -> None:
        while True:
            now = _status_mb("RssAnon")
            if now is not None:
                self.own_mb = max(now, self.own_mb or 0.0)
            if self._done.wait(_SAMPLE_S):
                return


def peak_rss_mb() -> float | None:
    """Highest resident set of this process so far, in MB; None where the system does not say."""
    # Not getrusage on Linux: a child begins there with the peak of the process that started it.
    found = _status_mb("VmHWM")
    if found is not None:
        return found
    try:
        import resource
    except ModuleNotFoundError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / 2 ** (20 if sys.platform == "darwin" else 10), 1)


def _status_mb(key: str) -> float | None:
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(f"{key}:"):
            return round(int(line.split()[1]) / 1024, 1)
    return None
