"""InsightFace model packs, so that their users switch without downloading anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossface.core.contract import InputSpec
from crossface.core.errors import WeightsError
from crossface.core.files import sha256_file
from crossface.core.log import get_logger
from crossface.core.weights import Task

MANIFEST = "manifest.json"
LICENCE = "MODEL.LICENSE"
PUBLIC_TERMS = "InsightFace's public terms: non-commercial research only"

_DETECTION = ("det_", "scrfd_")
_EMBEDDING = ("w600k_", "glintr", "webface_", "ms1mv3_", "glint360k_", "arcface_")

_log = get_logger("pipeline")


@dataclass(frozen=True, slots=True)
class PackFile:
    """One network of a pack."""

    path: Path
    sha256: str | None
    input_spec: InputSpec | None


@dataclass(frozen=True, slots=True)
class Pack:
    """A folder with a detector and a recogniser.

    Attributes:
        name: the folder's, or the manifest's ``model_id``.
        files: by task, "detection" and "embedding".
        licence: in a line.
        non_commercial: whether commercial use is not allowed.
    """

    name: str
    files: dict[Task, PackFile]
    licence: str
    non_commercial: bool

    def file(self, task: Task) -> Path:
        """The file of a task, its hash checked where the manifest holds one.

        Raises:
            WeightsError: the pack has no such file, or it is not the one of the manifest.
        """
        entry = self.files.get(task)
        if entry is None:
            raise WeightsError(
                f"{self.name}: expected a file for {task}, the pack has "
                f"{', '.join(sorted(self.files)) or 'none that is known'}"
            )
        if not entry.path.is_file():
            raise WeightsError(f"{self.name}: its file {entry.path.name} is not there")
        if entry.sha256 is not None and sha256_file(entry.path) != entry.sha256:
            raise WeightsError(
                f"{self.name}: {entry.path.name} has another sha256 than the manifest says; "
                "get the pack again"
            )
        _announce(self.name, self.licence, self.non_commercial)
        return entry.path


def read_pack(folder: Path) -> Pack | None:
    """A pack from its folder, or None if it is none.

    Read are the manifest (version 2) or, without one, the classic file names (det_10g.onnx,
    w600k_r50.onnx ...). The networks for age, gender and dense landmarks are left alone.

    Raises:
        WeightsError: a manifest that cannot be understood, or two files for one task.
    """
    if not folder.is_dir():
        return None
    manifest = folder / MANIFEST
    if manifest.is_file():
        return _from_manifest(folder, manifest)
    files: dict[Task, PackFile] = {}
    for path in sorted(folder.glob("*.onnx")):
        task = _classic_task(path.stem.lower())
        if task is None:
            continue
        if task in files:
            raise WeightsError(
                f"{folder.name}: two files for {task}, {files[task].path.name} and {path.name}; "
                "name the one you mean"
            )
        files[task] = PackFile(path, None, InputSpec() if task == "embedding" else None)
    if not files:
        return None
    return Pack(folder.name, files, *_licence(folder / LICENCE))


def _classic_task(stem: str) -> Task | None:
    if stem.startswith(_DETECTION):
        return "detection"
    return "embedding" if stem.startswith(_EMBEDDING) else None


class _Normalisation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    mean: float
    std: float = Field(gt=0)


class _TaskEntry(BaseModel):
    """What is read of a task; a manifest may say more."""

    file: str = Field(min_length=1)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    preprocessing: str | _Normalisation | None = None
    input_size: tuple[int, int] = (112, 112)


class _Manifest(BaseModel):
    manifest_version: int
    model_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")
    license: str = LICENCE
    tasks: dict[str, Any]


def _from_manifest(folder: Path, path: Path) -> Pack:
    where = f"{folder.name}/{MANIFEST}"
    try:
        manifest = _Manifest.model_validate_json(path.read_bytes())
        if manifest.manifest_version != 2:
            raise WeightsError(
                f"{where}: expected manifest_version 2, got {manifest.manifest_version}"
            )
        known: tuple[tuple[str, Task], ...] = (
            ("detection", "detection"),
            ("recognition", "embedding"),
        )
        files: dict[Task, PackFile] = {
            task: _task_file(folder, where, name, _TaskEntry.model_validate(manifest.tasks[name]))
            for name, task in known
            if name in manifest.tasks
        }
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise WeightsError(f"{where}: {place}: {first['msg']}") from None
    licence = _inside(folder, where, manifest.license)
    return Pack(manifest.model_id, files, *_licence(licence))


def _task_file(folder: Path, where: str, task: str, entry: _TaskEntry) -> PackFile:
    path = _inside(folder, where, entry.file)
    given = entry.preprocessing
    if task == "detection":
        if isinstance(given, str) or (given and (given.mean, given.std) != (127.5, 128.0)):
            raise WeightsError(f"{where}: its detector is not normalised by (x - 127.5) / 128")
        return PackFile(path, entry.sha256, None)
    if isinstance(given, str) and given != "embedded":
        raise WeightsError(f"{where}: unknown preprocessing {given!r}")
    if entry.input_size != (112, 112):
        raise WeightsError(f"{where}: expected crops of 112x112, got {entry.input_size}")
    if isinstance(given, str):  # the graph normalises
        spec = InputSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    elif given is None:
        spec = InputSpec()
    else:
        spec = InputSpec(mean=(given.mean,) * 3, std=(given.std,) * 3)
    return PackFile(path, entry.sha256, spec)


def _inside(folder: Path, where: str, name: str) -> Path:
    """A file of the pack; a manifest may not point elsewhere."""
    relative = PurePosixPath(name)
    path = (folder / relative).resolve()
    if "\\" in name or relative.is_absolute() or not path.is_relative_to(folder.resolve()):
        raise WeightsError(f"{where}: {name!r} points outside the pack")
    return path


def _licence(path: Path) -> tuple[str, bool]:
    """The licence in a line, and whether it forbids commercial use; doubt forbids."""
    if not path.is_file():
        return PUBLIC_TERMS, True
    try:
        grant = json.loads(path.read_bytes()[: 64 * 1024]).get("grant")
    except (ValueError, AttributeError):
        grant = None
    if grant == "commercial":
        return f"{path.name} grants commercial use; its signature is not checked here", False
    return f"{path.name} grants {grant or 'nothing that can be read'}: non-commercial", True


@cache  # once per process
def _announce(name: str, licence: str, non_commercial: bool) -> None:
    if non_commercial:
        _log.warning("%s: NON-COMMERCIAL weights: %s", name, licence)
    else:
        _log.info("%s: %s", name, licence)
