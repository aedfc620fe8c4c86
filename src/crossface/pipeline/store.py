"""Where model files live: known by name and hash, fetched whole or not at all."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from crossface.core.contract import InputSpec
from crossface.core.errors import UnknownName, UsageError, WeightsError
from crossface.core.files import atomic_path, sha256_file
from crossface.core.progress import Progress
from crossface.core.weights import (
    KnownWeights,
    Task,
    asset_path,
    find_by_name,
    known_weights,
)
from crossface.pipeline.packs import Pack, read_pack

_BLOCK = 1 << 20
_MAX_BYTES = 2 << 30
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file to open; ``input_spec`` where a pack says it."""

    path: Path
    input_spec: InputSpec | None = None


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A row of the table; ``path`` is where its file lies, None where it is not here."""

    known: KnownWeights
    path: Path | None


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a stored file is the one its name promises; ``reason`` where it is not."""

    name: str
    path: Path
    reason: str | None


def default_home() -> Path:
    """``CROSSFACE_HOME``, or ``crossface`` in the platform's cache folder."""
    explicit = os.environ.get("CROSSFACE_HOME")
    if explicit:
        return Path(explicit)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "crossface"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "crossface"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossface"


def is_offline() -> bool:
    """Whether ``CROSSFACE_OFFLINE`` forbids the network."""
    return os.environ.get("CROSSFACE_OFFLINE", "") not in {"", "0"}


class ModelStore:
    """Model files by name; a folder, nothing more.

    Args:
        home: its folder; ``default_home()`` by default.
        insightface: folder of InsightFace's packs; ``~/.insightface/models`` by default.
    """

    def __init__(self, home: Path | None = None, *, insightface: Path | None = None) -> None:
        self.home = home or default_home()
        self.packs_folder = insightface or Path.home() / ".insightface" / "models"

    def path_of(self, row: KnownWeights) -> Path:
        """Where the file of a row lies or would lie."""
        if row.packaged is not None:
            return asset_path(row.packaged)
        return self.home / "models" / f"{row.name}.onnx"

    def models(self) -> list[StoredModel]:
        """All rows of the table, with where their files lie."""
        rows = ((row, self.path_of(row)) for row in known_weights())
        return [StoredModel(row, path if path.is_file() else None) for row, path in rows]

    def packs(self) -> list[Pack]:
        """InsightFace's packs on this machine."""
        if not self.packs_folder.is_dir():
            return []
        found = (read_pack(folder) for folder in sorted(self.packs_folder.iterdir()))
        return [pack for pack in found if pack is not None]

    def find_pack(self, name: str | Path) -> Pack | None:
        """A pack by its folder or by its name, or None."""
        folder = Path(name)
        if folder.is_dir():
            return read_pack(folder)
        plain = folder.name == str(name) and str(name) not in {".", ".."}
        return read_pack(self.packs_folder / str(name)) if plain else None

    def resolve(self, name: str | Path, task: Task) -> ModelFile:
        """The file behind a path, a name of the table or a pack.

        Raises:
            UnknownName: neither a file nor a name.
            UsageError: a name of another task.
            WeightsError: a file that is not here yet or is damaged, with the command to try.
        """
        path = Path(name)
        if path.is_file() or path.suffix == ".onnx":
            return ModelFile(path)
        row = find_by_name(str(name))
        if row is not None:
            if row.task != task:
                raise UsageError(f"{row.name} is for {row.task}, not for {task}")
            return ModelFile(self._checked(row))
        pack = self.find_pack(name)
        if pack is not None:
            file = pack.file(task)
            return ModelFile(file, pack.files[task].input_spec)
        raise _unknown(str(name), task)

    def pull(self, name: str, *, source: Path | None = None, progress: bool = True) -> Path:
        """Bring a file into the store: its hash is checked before it gets its name.

        Args:
            name: a row of the table.
            source: a file, or a folder in which a file with the right hash is looked for, instead
                of the network.
            progress: show progress on stderr.

        Returns:
            Where it lies; nothing is done if it is there already.

        Raises:
            UnknownName: no such row.
            WeightsError: offline, no address, not reachable, or another file than expected.
        """
        row = self.row(name)
        target = self.path_of(row)
        if row.packaged is not None:  # it came with the package, whose folder is not ours to write
            return self._checked(row)
        if target.is_file() and sha256_file(target) == row.sha256:
            return target
        if source is not None:
            local = _local(row, source)
            with atomic_path(target) as temporary:
                shutil.copyfile(local, temporary)
                _check_hash(row, temporary, f"a copy of {local.name}")
            return target
        url = _address(row)
        with atomic_path(target) as temporary:
            with temporary.open("wb") as out:
                _download(url, out, row.name, show=progress)
            _check_hash(row, temporary, "the download")
        return target

    def row(self, name: str) -> KnownWeights:
        """The row of a name.

        Raises:
            UnknownName: with near matches.
        """
        row = find_by_name(name)
        if row is None:
            raise _unknown(name, None)
        return row

    def verify(self, name: str | None = None) -> list[Checked]:
        """Hash the stored files (or one) and compare.

        Raises:
            UnknownName: no such row. WeightsError: a named file that is not here.
        """
        if name is not None:
            row = self.row(name)
            path = self.path_of(row)
            if not path.is_file():
                raise _absent(row)
            return [_check(row, path)]
        return [_check(entry.known, entry.path) for entry in self.models() if entry.path]

    def _checked(self, row: KnownWeights) -> Path:
        path = self.path_of(row)
        if not path.is_file():
            raise _absent(row)
        checked = _check(row, path)
        if checked.reason is not None:
            how = f"crossface models pull {row.name}" if row.packaged is None else "install again"
            raise WeightsError(f"{row.name}: {checked.reason}; {how}")
        return path


def _check(row: KnownWeights, path: Path) -> Checked:
    actual = sha256_file(path)
    same = actual == row.sha256
    reason = None if same else f"expected sha256 {row.sha256[:16]}..., got {actual[:16]}..."
    return Checked(row.name, path, reason)


def _check_hash(row: KnownWeights, path: Path, what: str) -> None:
    reason = _check(row, path).reason
    if reason is not None:
        raise WeightsError(f"{row.name}: {what} is another file: {reason}")


def _local(row: KnownWeights, source: Path) -> Path:
    if source.is_file():
        return source
    if not source.is_dir():
        raise WeightsError(f"{source.name}: expected a file or folder, there is none")
    for path in sorted(source.glob("*.onnx"), key=lambda p: p.stem != row.name):
        if sha256_file(path) == row.sha256:
            return path
    raise WeightsError(
        f"{row.name}: no .onnx file in {source.name} has sha256 {row.sha256[:16]}..."
    )


def _address(row: KnownWeights) -> str:
    if row.url is None:
        raise WeightsError(
            f"{row.name}: no public address is known for it; bring the file and say "
            f"crossface models pull {row.name} --from FILE"
        )
    if is_offline():
        raise WeightsError(
            f"{row.name}: CROSSFACE_OFFLINE is set and it is not in the store; unset it, or bring "
            f"the file and say crossface models pull {row.name} --from FILE"
        )
    return row.url


def _download(url: str, out: BinaryIO, name: str, *, show: bool) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "crossface"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            length = int(answer.headers.get("Content-Length") or 0)
            with Progress(f"pull {name} (MB)", length >> 20 or None, enabled=show) as bar:
                done = 0
                while block := answer.read(_BLOCK):
                    done += len(block)
                    if done > _MAX_BYTES:
                        raise WeightsError(f"{name}: expected at most {_MAX_BYTES} bytes")
                    out.write(block)
                    bar.advance()
    except urllib.error.HTTPError as error:
        raise WeightsError(f"{name}: {url} answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(f"{name}: {url} cannot be reached: {reason}") from None
    if length and done != length:
        raise WeightsError(f"{name}: expected {length} bytes, {done} came")


def _absent(row: KnownWeights) -> WeightsError:
    if row.packaged is not None:
        return WeightsError(f"{row.name}: {row.packaged} is missing: install crossface again")
    how = "" if row.url else " --from FILE"
    return WeightsError(
        f"{row.name}: it is not in the model store; crossface models pull {row.name}{how}"
    )


def _unknown(name: str, task: Task | None) -> UnknownName:
    names = [row.name for row in known_weights() if task in {None, row.task}]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "crossface models list shows them"
    return UnknownName(f"no model, file or pack is named {name!r}; {hint}")
