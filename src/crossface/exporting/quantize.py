"""A recogniser in 8-bit integers, with the layers that cannot bear it left as they are."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from crossface.core.errors import DataError, MissingExtra, ParityError, WeightsError
from crossface.core.files import atomic_path
from crossface.core.geometry import normalise
from crossface.core.progress import Progress
from crossface.core.types import FloatArray, UInt8Batch
from crossface.core.vectors import unit
from crossface.pipeline.runtimes.onnx_runtime import CONTRACT_KEY, INPUT_SPEC_KEY, OnnxEmbedder

QUANTIZATION_KEY = "crossface.quantization"
"""Metadata of the file: ``Quantization`` as JSON."""

LEAST_CROPS = 64
KINDS = ("Conv", "Gemm", "MatMul")
_BATCH = 16  # crops of one calibration step; the quantiser wants all steps alike


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a file was made and how near it is to the original.

    Attributes:
        original: digest of the original's contract.
        calibration_crops: from which the ranges of the activations come.
        judged_crops: others, on which everything below was measured.
        mean_cosine, least_cosine: of both embeddings of one crop.
        layers: how many there are that could be quantised.
        kept: those that stay in float32, the most sensitive first.
        sensitivity: 1 - mean cosine when a layer alone is quantised, by its name.
        size_bytes: of the file.
    """

    original: str
    calibration_crops: int
    judged_crops: int
    mean_cosine: float
    least_cosine: float
    layers: int
    kept: tuple[str, ...]
    sensitivity: dict[str, float]
    size_bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def quantize_onnx(
    model: str | Path,
    out_path: str | Path,
    *,
    crops: UInt8Batch,
    mean_cosine: float = 0.995,
    progress: bool = True,
) -> Quantization:
    """Static quantisation after training: weights by channel, activations by percentiles.

    Each layer is quantised alone, which shows how much it can bear; then all are, and the most
    sensitive are given back to float32 one by one until the embeddings are near enough. The file
    keeps the original's space and InputSpec; its contract is its own. A threshold card is not
    kept: it was measured on other numbers.

    Args:
        model: an ONNX recogniser in float32.
        out_path: the file; an old one is replaced only if the new one is near enough.
        crops: (N, H, W, 3) uint8 RGB in the model's template, at least 64, none that will judge
            it later. The first half calibrates, the second decides.
        mean_cosine: of both embeddings of a crop, that is wanted.
        progress: on stderr.

    Raises:
        MissingExtra: if onnx is not installed.
        DataError: too few crops.
        WeightsError: if the file is no recogniser, takes one crop at a time only, or has no layer
            that can be quantised.
        ParityError: if half of the layers would have to stay in float32.
    """
    if find_spec("onnx") is None:
        raise MissingExtra("onnx", "export")
    if len(crops) < LEAST_CROPS:
        raise DataError(f"quantisation needs at least {LEAST_CROPS} crops, got {len(crops)}")
    embedder = OnnxEmbedder(model, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        calibration = normalise(crops[: len(crops) // 2], embedder.input_spec)
        work = _Work(Path(folder), Path(model), calibration)
        done = _choose(work, embedder, crops, mean_cosine, progress=progress)
        if done.mean_cosine < mean_cosine:
            raise ParityError(
                f"{Path(out_path).name}: expected a mean cosine of {mean_cosine:g} to the "
                f"original, with half of its {done.layers} layers left in float32 it is "
                f"{done.mean_cosine:.4f}"
            )
        return _write(work, embedder, Path(out_path), done)


def _choose(
    work: _Work, embedder: OnnxEmbedder, crops: UInt8Batch, mean_cosine: float, *, progress: bool
) -> Quantization:
    """The fewest of the most sensitive layers left in float32 that bring the embeddings near
    enough, or as near as half of the layers do.
    """
    half = len(crops) // 2
    wanted = unit(embedder.embed(crops[half:]))

    def near(names: Iterable[str]) -> FloatArray:
        tried = work.quantise(names)
        got = unit(
            OnnxEmbedder(tried, input_spec=embedder.input_spec, threads=1).embed(crops[half:])
        )
        cosines: FloatArray = (got.astype(np.float64) * wanted).sum(axis=1)
        return cosines

    sensitivity = _sensitivity(work, near, progress=progress)
    order = sorted(sensitivity, key=lambda name: -sensitivity[name])
    kept: list[str] = []
    cosines = near(sensitivity)
    for name in order[: len(order) // 2]:
        if cosines.mean() >= mean_cosine:
            break
        kept.append(name)
        cosines = near(set(sensitivity) - set(kept))
    return Quantization(
        embedder.contract.digest,
        half,
        len(crops) - half,
        round(float(cosines.mean()), 6),
        round(float(cosines.min()), 6),
        len(sensitivity),
        tuple(kept),
        {name: round(value, 6) for name, value in sensitivity.items()},
    )


class _Work:
    """A folder with the original, prepared once, and the file that is tried now."""

    def __init__(self, folder: Path, model: Path, values: FloatArray) -> None:
        import onnx

        self._prepared, self.tried = folder / "prepared.onnx", folder / "tried.onnx"
        self._values = values
        proto = onnx.load(model)
        self.metadata = {entry.key: entry.value for entry in proto.metadata_props}
        self.layers = _named(proto)
        entry = proto.graph.input[0]
        self._input = entry.name
        fixed = entry.type.tensor_type.shape.dim[0].dim_value
        if fixed and len(values) % fixed:
            raise WeightsError(f"{model.name}: takes {fixed} crops at a time, a batch must be free")
        self._batch = fixed or _BATCH
        if not self.layers:
            raise WeightsError(f"{model.name}: has no layer that can be quantised")
        onnx.save(proto, self._prepared)

    def quantise(self, names: Iterable[str]) -> Path:
        """Write the original with these layers in integers."""
        from onnxruntime import quantization as ort

        chosen = set(names)
        with _quiet():
            ort.quantize_static(
                self._prepared,
                self.tried,
                _Reader(self._input, self._values, self._batch),
                quant_format=ort.QuantFormat.QDQ,
                per_channel=True,
                activation_type=ort.QuantType.QUInt8,
                weight_type=ort.QuantType.QInt8,
                calibrate_method=ort.CalibrationMethod.Percentile,
                nodes_to_exclude=[name for name in self.layers if name not in chosen],
            )
        return self.tried


class _Reader:
    """Calibration pictures, as onnxruntime asks for them."""

    def __init__(self, name: str, values: FloatArray, batch: int) -> None:
        self._name = name
        whole = len(values) // batch * batch
        self._parts = iter(np.split(values[:whole], whole // batch))

    def get_next(self) -> dict[str, FloatArray] | None:
        part = next(self._parts, None)
        return None if part is None else {self._name: part}

    def __iter__(self) -> _Reader:
        return self

    def __next__(self) -> dict[str, FloatArray]:
        found = self.get_next()
        if found is None:
            raise StopIteration
        return found


def _sensitivity(work: _Work, near: Any, *, progress: bool) -> dict[str, float]:  # noqa: ANN401
    found = {}
    with Progress("layers", len(work.layers), enabled=progress) as bar:
        for name in work.layers:
            found[name] = 1 - float(near([name]).mean())
            bar.advance(1, name)
    return found


def _named(proto: Any) -> list[str]:  # noqa: ANN401  # onnx has no types
    """Names of the layers that can be quantised; layers without one get one."""
    names = []
    for number, node in enumerate(proto.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
        if node.op_type in KINDS:
            names.append(node.name)
    return names


def _write(work: _Work, embedder: OnnxEmbedder, out: Path, done: Quantization) -> Quantization:
    import onnx

    work.quantise(set(work.layers) - set(done.kept))
    proto = onnx.load(work.tried)
    del proto.metadata_props[:]
    for part in (proto.graph.node, proto.graph.value_info):
        for item in part:
            item.ClearField("doc_string")
    digest = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
    old = embedder.contract
    contract = old.model_copy(update={"model_id": f"{old.model_id}_int8", "digest": digest})
    told = {
        key: text for key, text in work.metadata.items() if key.startswith("crossface.training")
    }
    told |= {
        INPUT_SPEC_KEY: embedder.input_spec.model_dump_json(),
        CONTRACT_KEY: contract.model_dump_json(),
        QUANTIZATION_KEY: json.dumps(done.as_json(), sort_keys=True),
    }
    for key, text in told.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text
    with atomic_path(out) as temporary:
        temporary.write_bytes(proto.SerializeToString())
        size = temporary.stat().st_size
    return Quantization(**{**asdict(done), "kept": done.kept, "size_bytes": size})


@contextlib.contextmanager
def _quiet() -> Any:  # noqa: ANN401
    """Silence: the quantiser prints its progress and logs advice through the root logger."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.root.setLevel(level)
