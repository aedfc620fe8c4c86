"""A set of faces to unit embeddings, with what could not be embedded counted."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from crossface.core.contract import EmbeddingContract
from crossface.core.errors import ImageError, WeightsError
from crossface.core.geometry import retarget_crops
from crossface.core.progress import Progress
from crossface.core.protocols import Embedder, FaceSource
from crossface.core.types import Failure, FloatArray, UInt8Batch
from crossface.core.vectors import unit

_AHEAD = 2  # batches decoded while one is embedded


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedFaces:
    """The pictures of a source that could be embedded, and those that could not.

    Attributes:
        embeddings: (N, D) float32, unit rows.
        keys: (N,) names of the pictures in the source.
        identities: (N,) None where unlabelled.
        failures: pictures that could not be read or gave a zero vector.
        contract: of the embedder.
        input_spec_source: where the embedder's input spec came from, None if it does not say.
        source_name: of the faces.
        source_digest: of the faces.
        flip: whether each embedding is the sum over the crop and its mirror image.
        seconds: spent decoding and embedding.
        norms: (N,) float32 lengths of the raw embeddings (of the sum with ``flip``), a hint of
            quality that templates may weigh by; None where only unit embeddings are known.
    """

    embeddings: FloatArray
    keys: tuple[str, ...]
    identities: tuple[str | None, ...]
    failures: tuple[Failure, ...]
    contract: EmbeddingContract
    input_spec_source: str | None
    source_name: str
    source_digest: str
    flip: bool
    seconds: float
    norms: FloatArray | None = None

    @property
    def fta(self) -> float:
        """Failure-to-acquire rate: pictures without an embedding among all pictures."""
        total = len(self.keys) + len(self.failures)
        return len(self.failures) / total if total else 0.0


@runtime_checkable
class _SaysSpecSource(Protocol):
    @property
    def input_spec_source(self) -> str: ...


@dataclass(frozen=True, slots=True)
class _Batch:
    crops: UInt8Batch
    indices: list[int]
    failures: list[Failure]


def embed_faces(
    embedder: Embedder,
    source: FaceSource,
    *,
    flip: bool = True,
    batch_size: int = 64,
    progress: bool = True,
) -> EmbeddedFaces:
    """Embed every picture of a source.

    Crops are resampled once from the source's 112x112 template into the embedder's. As the field
    does, the raw embeddings of a crop and of its mirror image are summed before the length is
    set to one. Pictures are decoded in a thread while the previous batch is embedded.

    Args:
        embedder: any embedder.
        source: aligned 112x112 crops.
        flip: add the mirror image's embedding.
        batch_size: pictures per call of the embedder (twice as many crops with ``flip``).
        progress: show progress with the time left on stderr.

    Returns:
        Embeddings in the source's order, without the pictures that failed.

    Raises:
        WeightsError: if the embedder's output does not fit its contract.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be >= 1, got {batch_size}")
    start = time.perf_counter()
    rows: list[FloatArray] = []
    lengths: list[FloatArray] = []
    kept: list[int] = []
    failures: list[Failure] = []
    with Progress(f"embedding {source.name}", len(source), enabled=progress) as bar:
        for batch in _read_ahead(source, batch_size):
            failures += batch.failures
            if batch.indices:
                raw = _embed_batch(embedder, batch.crops, flip=flip)
                norms = np.linalg.norm(raw, axis=1)
                alive = norms > 0
                rows.append(unit(raw[alive]))
                lengths.append(norms[alive])
                for index, ok in zip(batch.indices, alive, strict=True):
                    if ok:
                        kept.append(index)
                    else:
                        failures.append(Failure(source.key(index), "its embedding is zero"))
            bar.advance(len(batch.indices) + len(batch.failures))
    dim = embedder.contract.dim
    return EmbeddedFaces(
        embeddings=np.concatenate(rows) if rows else np.empty((0, dim), dtype=np.float32),
        keys=tuple(source.key(index) for index in kept),
        identities=tuple(source.identity(index) for index in kept),
        failures=tuple(failures),
        contract=embedder.contract,
        input_spec_source=(
            embedder.input_spec_source if isinstance(embedder, _SaysSpecSource) else None
        ),
        source_name=source.name,
        source_digest=source.digest(),
        flip=flip,
        seconds=time.perf_counter() - start,
        norms=np.concatenate(lengths) if lengths else np.empty(0, dtype=np.float32),
    )


def _embed_batch(embedder: Embedder, crops112: UInt8Batch, *, flip: bool) -> FloatArray:
    crops = retarget_crops(crops112, embedder.input_spec)
    if flip:
        # the template is not symmetric, so the crop that the network would see is mirrored
        crops = np.concatenate([crops, crops[:, :, ::-1]])
    raw = embedder.embed(crops)
    if raw.shape != (len(crops), embedder.contract.dim) or raw.dtype != np.float32:
        raise WeightsError(
            f"{embedder.contract.model_id}: expected ({len(crops)}, {embedder.contract.dim}) "
            f"float32 embeddings, got {raw.shape} {raw.dtype}"
        )
    if not np.isfinite(raw).all():
        raise WeightsError(f"{embedder.contract.model_id}: gave an embedding that is not finite")
    if not flip:
        return raw
    half = len(crops112)
    return raw[:half] + raw[half:]


def _read_ahead(source: FaceSource, batch_size: int) -> Iterator[_Batch]:
    starts = iter(range(0, len(source), batch_size))
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode") as pool:
        waiting: deque[Future[_Batch]] = deque()
        try:
            for start in starts:
                stop = min(start + batch_size, len(source))
                waiting.append(pool.submit(_read_batch, source, range(start, stop)))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _read_batch(source: FaceSource, indices: range) -> _Batch:
    crops = np.empty((len(indices), 112, 112, 3), dtype=np.uint8)
    good: list[int] = []
    failures: list[Failure] = []
    for index in indices:
        try:
            crops[len(good)] = source.read(index)
        except ImageError as error:
            failures.append(Failure(source.key(index), str(error)))
        else:
            good.append(index)
    return _Batch(crops[: len(good)], good, failures)
