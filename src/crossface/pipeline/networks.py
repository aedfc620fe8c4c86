"""The networks of a pipeline, opened once for one picture and once for many."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import UsageError
from crossface.core.protocols import Embedder
from crossface.core.types import FloatArray, UInt8Batch, UInt8Image
from crossface.core.weights import DEFAULT_DETECTOR
from crossface.pipeline.detectors import Detections, Detector, DetectorOptions, open_detector
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder
from crossface.pipeline.runtimes.opening import is_own_model, model_file
from crossface.pipeline.runtimes.sessions import Runtime, available_cores
from crossface.pipeline.store import ModelStore


@dataclass(frozen=True, slots=True)
class Networks:
    """A detector and, where faces are embedded, an embedder."""

    detector: Detector
    embedder: Embedder | None


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """How networks given by a name or path are opened.

    Attributes:
        detector_kind: of a detector file whose outputs do not say it.
        detector_options: score, overlap, largest side, number of faces; those of the kind by
            default.
        input_spec: of a model file that does not say it.
        runtime: "onnxruntime" or "openvino".
        device: "cpu", "cuda", "cuda:1"; used or refused, never exchanged for another.
    """

    detector_kind: str | None = None
    detector_options: DetectorOptions | None = None
    input_spec: InputSpec | None = None
    runtime: Runtime = "onnxruntime"
    device: str = "cpu"


def open_networks(
    model: str | Path | Embedder | None,
    detector: str | Path | Detector | None,
    options: NetworkOptions,
    threads: int,
) -> tuple[Networks, Networks]:
    """Networks for one picture, which use all threads, and for many, which use one thread each.

    Objects that were made elsewhere serve both, one call at a time.

    Raises:
        CrossfaceError: a name or file that cannot be used, or a pack without a detector.
    """
    store = ModelStore()
    if detector is None:
        detector = _own_detector(model, store)
    one = Networks(
        _open_detector(detector, store, options, threads),
        _open_embedder(model, store, options, threads),
    )
    if threads == 1 or options.device != "cpu":
        return one, one
    many = Networks(
        one.detector
        if not isinstance(detector, str | Path)
        else _open_detector(detector, store, options, 1),
        one.embedder
        if not isinstance(model, str | Path)
        else _open_embedder(model, store, options, 1),
    )
    return one, many


def open_recogniser(
    model: str | Path, *, input_spec: InputSpec | None = None, threads: int | None = None
) -> Embedder:
    """The recogniser that ``FaceAnalysis`` would use, without a detector.

    Raises:
        CrossfaceError: a name or file that cannot be used.
    """
    options = NetworkOptions(input_spec=input_spec)
    opened = _open_embedder(model, ModelStore(), options, threads or available_cores())
    if opened is None:  # only where no model is named
        raise UsageError("a recogniser is missing: name a file or a model of the store")
    return opened


def _own_detector(model: str | Path | Embedder | None, store: ModelStore) -> str | Path:
    """The detector of the model's pack, else the one that comes with crossface."""
    pack = store.find_pack(model) if isinstance(model, str | Path) else None
    return DEFAULT_DETECTOR if pack is None else pack.file("detection")


def _open_detector(
    detector: str | Path | Detector, store: ModelStore, options: NetworkOptions, threads: int
) -> Detector:
    if not isinstance(detector, str | Path):
        return _OneAtATimeDetector(detector)
    return open_detector(
        store.resolve(detector, "detection").path,
        kind=options.detector_kind,
        options=options.detector_options,
        threads=threads,
        runtime=options.runtime,
        device=options.device,
    )


def _open_embedder(
    model: str | Path | Embedder | None, store: ModelStore, options: NetworkOptions, threads: int
) -> Embedder | None:
    if model is None:
        return None
    if not isinstance(model, str | Path):
        return _OneAtATimeEmbedder(model)
    if is_own_model(model):
        return _OneAtATimeEmbedder(_open_own(model, options, threads))
    found = store.resolve(model, "embedding")
    return OnnxEmbedder(
        found.path,
        input_spec=options.input_spec or found.input_spec,
        threads=threads,
        runtime=options.runtime,
        device=options.device,
    )


def _open_own(model: str | Path, options: NetworkOptions, threads: int) -> Embedder:
    """A network of ours on torch, which knows its input and has one number of threads for all."""
    from crossface.pipeline.runtimes.torch_runtime import TorchEmbedder

    for given, what in (
        (options.input_spec is not None, "input spec, it says its own"),
        (options.runtime != "onnxruntime", f"runtime {options.runtime}, export it first"),
    ):
        if given:
            raise UsageError(f"{Path(model).name}: a model of ours on torch takes no {what}")
    return TorchEmbedder(model_file(model), device=options.device, threads=threads)


class _OneAtATimeDetector:
    """A detector made elsewhere: nothing says that it may be called by several threads."""

    def __init__(self, inner: Detector) -> None:
        self._inner = inner
        self._lock = threading.Lock()

    def detect(self, images: Sequence[UInt8Image]) -> list[Detections]:
        """See ``Detector``."""
        with self._lock:
            return self._inner.detect(images)


class _OneAtATimeEmbedder:
    """An embedder made elsewhere, likewise."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self.threshold_card = getattr(inner, "threshold_card", None)

    @property
    def contract(self) -> EmbeddingContract:
        """See ``Embedder``."""
        return self._inner.contract

    @property
    def input_spec(self) -> InputSpec:
        """See ``Embedder``."""
        return self._inner.input_spec

    def embed(self, crops: UInt8Batch) -> FloatArray:
        """See ``Embedder``."""
        with self._lock:
            return self._inner.embed(crops)
