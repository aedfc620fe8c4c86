"""Work that runs share: teacher embeddings computed once, pictures decoded once.

Embeddings are float16, both flips, resumable. Their key is the teacher's weights, its InputSpec and
the data: another teacher, another alignment or one changed picture gives another file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError, ImageError
from crossface.core.files import atomic_path, write_json
from crossface.core.geometry import retarget_crops
from crossface.core.progress import Progress
from crossface.core.protocols import Embedder, FaceSource
from crossface.data.dataset import MemoryFaces, decode_into

_VERSION = 1
_CHUNK = 512

HalfArray = npt.NDArray[np.float16]


def cache_folder() -> Path:
    """Where caches live: ``CROSSFACE_CACHE``, or ``crossface`` in the user's cache folder."""
    explicit = os.environ.get("CROSSFACE_CACHE")
    if explicit:
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossface"


def cache_key(teacher: Embedder, source: FaceSource) -> str:
    """Name of the cache of one teacher over one set."""
    parts = [_VERSION, teacher.contract.digest, teacher.input_spec.digest, source.digest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def cached_embeddings(
    teacher: Embedder,
    source: FaceSource,
    *,
    folder: Path | None = None,
    progress: bool = True,
) -> HalfArray:
    """Unit embeddings of every picture and its mirror image.

    Args:
        teacher: any embedder.
        source: aligned 112x112 crops.
        folder: where the cache lives; ``cache_folder()`` by default.
        progress: show how far and how long on stderr.

    Returns:
        (N, 2, D) float16, read-only memory map; [:, 0] as it is, [:, 1] mirrored.

    Raises:
        DataError: if a picture cannot be read (named) or the cache disagrees with its record.
    """
    root = (folder or cache_folder()) / "teacher"
    root.mkdir(parents=True, exist_ok=True)
    key = cache_key(teacher, source)
    data_file, record_file = root / f"{key}.npy", root / f"{key}.json"
    shape = (len(source), 2, teacher.contract.dim)
    if _done_so_far(data_file, record_file, shape) < shape[0]:
        with _only_one(root / f"{key}.lock"):
            # Another run may have gone on with it while this one waited.
            done = _done_so_far(data_file, record_file, shape)
            if done < shape[0]:
                _fill(teacher, source, data_file, record_file, shape, done, show=progress)
    result: HalfArray = np.load(data_file, mmap_mode="r", allow_pickle=False)
    return result


def decoded_faces(
    source: FaceSource, *, folder: Path | None = None, progress: bool = True
) -> MemoryFaces:
    """The pictures of a set, decoded by the first run that asks and mapped into memory by others.

    Args:
        source: aligned 112x112 crops.
        folder: where the cache lives; ``cache_folder()`` by default.
        progress: show how far and how long on stderr.

    Raises:
        ImageError: naming the first picture that cannot be read; no file is left.
    """
    root = (folder or cache_folder()) / "pictures"
    root.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(json.dumps([_VERSION, source.digest()]).encode()).hexdigest()[:24]
    file, shape = root / f"{name}.npy", (len(source), 112, 112, 3)
    with _only_one(root / f"{name}.lock"):
        if not file.exists():
            with atomic_path(file) as temporary:
                store = np.lib.format.open_memmap(temporary, "w+", dtype=np.uint8, shape=shape)
                decode_into(store, source, progress=progress)
                store.flush()
    crops = np.load(file, mmap_mode="r", allow_pickle=False)
    if crops.shape != shape or crops.dtype != np.uint8:
        raise DataError(f"{file.name}: expected {shape} uint8 pictures, got {crops.shape}")
    return MemoryFaces(source, crops=np.asarray(crops))


@contextmanager
def _only_one(lock_file: Path) -> Iterator[None]:
    """Let one process at a time fill a cache; the lock goes with the process that holds it."""
    try:
        import fcntl
    except ModuleNotFoundError:  # no such lock outside Unix
        yield
        return
    with lock_file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _done_so_far(data_file: Path, record_file: Path, shape: tuple[int, int, int]) -> int:
    if not (data_file.exists() and record_file.exists()):
        return 0
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
        stored = np.load(data_file, mmap_mode="r", allow_pickle=False)
        done = int(record["done"])
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return 0
    fits = stored.shape == shape and stored.dtype == np.float16 and 0 <= done <= shape[0]
    return done if fits else 0


def _fill(
    teacher: Embedder,
    source: FaceSource,
    data_file: Path,
    record_file: Path,
    shape: tuple[int, int, int],
    done: int,
    *,
    show: bool,
) -> None:
    mode: Literal["r+", "w+"] = "r+" if done else "w+"
    if not done:
        record_file.unlink(missing_ok=True)  # it speaks of data that is about to go
    store = np.lib.format.open_memmap(data_file, mode=mode, dtype=np.float16, shape=shape)
    with Progress(f"teacher embeddings of {source.name}", shape[0], enabled=show) as progress:
        progress.advance(done)
        for start in range(done, shape[0], _CHUNK):
            stop = min(start + _CHUNK, shape[0])
            crops = np.stack([_read(source, i) for i in range(start, stop)])
            store[start:stop, 0] = unit_rows(
                teacher.embed(retarget_crops(crops, teacher.input_spec))
            )
            mirrored = np.ascontiguousarray(crops[:, :, ::-1])
            store[start:stop, 1] = unit_rows(
                teacher.embed(retarget_crops(mirrored, teacher.input_spec))
            )
            store.flush()
            # The record follows the data: after a crash at most one chunk is done again.
            write_json(record_file, {"done": stop, "n": shape[0], "set": source.name})
            progress.advance(stop - start)


def _read(source: FaceSource, index: int) -> npt.NDArray[np.uint8]:
    try:
        return source.read(index)
    except ImageError as error:
        raise DataError(
            f"{source.name}: every training picture must be readable: {error}"
        ) from None


def unit_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Rows of unit length; a zero row stays zero instead of becoming not-a-number."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: npt.NDArray[np.float32] = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return result
