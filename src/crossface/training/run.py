"""A run folder: the resolved configuration, what it ran on, a line of metrics per report."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import crossface
from crossface.core.errors import ConfigError, DataError
from crossface.core.files import atomic_path, write_json
from crossface.pipeline.runtimes.opening import RUN_MODEL
from crossface.training.config import config_json, parse_config
from crossface.training.schema import RunConfig

CONFIG = "config.json"
METRICS = "metrics.jsonl"
ENVIRONMENT = "environment.json"
CHECKPOINT = "checkpoint.safetensors"
SUMMARY = "summary.json"

_PACKAGES = ("torch", "numpy", "lightning-fabric", "onnxruntime", "opencv-python-headless")


class RunFolder:
    """Where one run keeps its files.

    Args:
        path: the folder; made if missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def checkpoint(self) -> Path:
        """Newest state of the loop."""
        return self.path / CHECKPOINT

    @property
    def best(self) -> Path:
        """The finished student: averaged weights, InputSpec, contract and training card."""
        return self.path / RUN_MODEL

    def require_free(self) -> None:
        """Refuse a folder that holds a run, and a file.

        Raises:
            ConfigError: saying what is there.
        """
        if (self.path / CONFIG).exists():
            raise ConfigError(
                f"{self.path.name}: already holds a run; go on with it by --resume {self.path}, "
                "or choose another --out"
            )
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path.name}: a run folder is needed, this is a file")

    def sweep(self) -> None:
        """Remove what a killed process was in the middle of writing."""
        for part in self.path.glob(".*.part"):
            part.unlink(missing_ok=True)

    def start(self, config: BaseModel, *, facts: dict[str, Any]) -> None:
        """Make the folder for a new run; an existing run is never overwritten.

        Raises:
            ConfigError: if the folder already holds a run.
        """
        self.require_free()
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / CONFIG, config_json(config))
        write_json(self.path / ENVIRONMENT, environment() | facts)

    def config(self) -> RunConfig:
        """The resolved configuration the run was started with.

        Raises:
            DataError: if the folder holds no run.
        """
        return parse_config(self.document(), source=f"{self.path.name}/{CONFIG}")

    def document(self) -> dict[str, Any]:
        """The configuration as it was written, unchecked: runs are of several kinds.

        Raises:
            DataError: if the folder holds no run.
        """
        file = self.path / CONFIG
        try:
            document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except OSError:
            raise DataError(f"{self.path.name}: holds no run ({CONFIG} is missing)") from None
        except ValueError as error:
            raise DataError(f"{self.path.name}/{CONFIG}: not JSON: {error}") from None
        return document

    def environment(self) -> dict[str, Any]:
        """What the run was started on."""
        text = (self.path / ENVIRONMENT).read_text(encoding="utf-8")
        told: dict[str, Any] = json.loads(text)
        return told

    def log(self, values: dict[str, Any]) -> None:
        """Append one line of metrics; values that are not finite become null."""
        clean = {
            k: None if isinstance(v, float) and not math.isfinite(v) else v
            for k, v in values.items()
        }
        with (self.path / METRICS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(clean) + "\n")

    def drop_metrics_after(self, step: int, *, counter: str = "step") -> None:
        """Forget lines of steps that a resumed run will do again, counted by ``counter``."""
        file = self.path / METRICS
        if not file.exists():
            return
        kept = [line for line in self.metrics() if line.get(counter, 0) <= step]
        with atomic_path(file) as temporary:
            text = "".join(json.dumps(line) + "\n" for line in kept)
            temporary.write_text(text, encoding="utf-8")

    def metrics(self) -> list[dict[str, Any]]:
        """All whole lines of metrics; a line cut short by a crash is left out."""
        file = self.path / METRICS
        if not file.exists():
            return []
        lines = []
        for text in file.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                continue
        return lines

    def finish(self, summary: dict[str, Any]) -> None:
        """Write what the run came to."""
        write_json(self.path / SUMMARY, summary)


def environment() -> dict[str, Any]:
    """Versions, commit and processor; nothing that names a user or a host."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "crossface": crossface.__version__,
        "python": platform.python_version(),
        "versions": versions,
        "commit": git_commit(),
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """Processor model, usable cores and memory."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return {"cpu": model, "cores": usable_cores(), "system": platform.system()}


def usable_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def git_commit() -> str | None:
    """Commit of the source tree crossface runs from, with "+" behind it where files differ.

    None where crossface is installed: a repository around the installation is somebody else's.
    """
    here = Path(__file__).parent
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name, cwd=here)
        commit = _git("rev-parse", "--short=12", "HEAD", cwd=here)
        dirty = _git("status", "--porcelain", "--untracked-files=no", cwd=here)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if dirty else "")


def _git(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
