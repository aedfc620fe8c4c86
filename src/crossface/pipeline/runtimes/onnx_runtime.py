"""Any ONNX face embedder on onnxruntime: uint8 crops in, raw float32 embeddings out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from crossface.core.card import ThresholdCard, parse_card
from crossface.core.contract import EmbeddingContract, InputSpec, parse_model
from crossface.core.errors import ContractMismatch, WeightsError
from crossface.core.files import sha256_file
from crossface.core.geometry import normalise, retarget_crops
from crossface.core.log import get_logger
from crossface.core.protocols import Embedder
from crossface.core.types import FloatArray, UInt8Batch
from crossface.core.weights import announce_licence, find_by_sha256
from crossface.pipeline.runtimes.sessions import Runtime, Session, available_cores

INPUT_SPEC_KEY = "crossface.input_spec"
CONTRACT_KEY = "crossface.contract"
THRESHOLD_CARD_KEY = "crossface.threshold_card"

SpecSource = Literal["argument", "metadata", "table", "assumed"]

_log = get_logger("pipeline")


class OnnxEmbedder:
    """A face embedder in an ONNX file, run on the CPU.

    The input it wants comes from, in this order: ``input_spec``; the file's metadata (written by
    ``crossface export``); the table of known third-party files, by sha256; and, if the graph's
    input is exactly (N, 3, 112, 112), the ArcFace convention, which is then logged as a warning
    and recorded as ``input_spec_source = "assumed"``.

    Args:
        path: the ONNX file.
        input_spec: how crops must be aligned and normalised, if the file does not say.
        threads: of one inference; the cores this process may use by default.
        batch_size: rows run at once; a graph with a fixed batch uses its own.
        runtime: "onnxruntime" or "openvino".
        device: "cpu", "cuda", "cuda:1"; used or refused, see ``runtimes.sessions``.

    Attributes:
        contract: who this is and which space it embeds into.
        input_spec: how its crops must be aligned and normalised.
        input_spec_source: where ``input_spec`` came from.
        threshold_card: thresholds measured on this model, None where the file carries none.
        licence: of a known third-party file, else None.

    Raises:
        WeightsError: not an ONNX file, truncated, not an embedder, or of an unknown input.
        ContractMismatch: if the file carries the threshold card of another model.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        input_spec: InputSpec | None = None,
        threads: int | None = None,
        batch_size: int = 64,
        runtime: Runtime = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        if batch_size < 1 or (threads is not None and threads < 1):
            raise ValueError(f"batch_size and threads must be >= 1, got {batch_size}, {threads}")
        self._name = Path(path).name
        self.threads = threads or available_cores()
        self._session = Session(path, threads=self.threads, runtime=runtime, device=device)
        graph = _read_graph(self._session, self._name)
        digest = sha256_file(path)
        known = find_by_sha256(digest)
        metadata = self._session.metadata
        self._fixed_batch = graph.batch
        self._batch_size = graph.batch or batch_size
        self.licence = None if known is None else f"{known.licence} ({known.caveat})"
        if known is not None:
            announce_licence(known)
        self.input_spec_source: SpecSource
        if input_spec is not None:
            self._input_spec, self.input_spec_source = input_spec, "argument"
        elif INPUT_SPEC_KEY in metadata:
            text = metadata[INPUT_SPEC_KEY]
            self._input_spec = parse_model(InputSpec, text, source=self._name)
            self.input_spec_source = "metadata"
        elif known is not None and known.input_spec is not None:
            self._input_spec, self.input_spec_source = known.input_spec, "table"
        else:
            self._input_spec, self.input_spec_source = _assume_spec(graph, self._name), "assumed"
        _check_size(self._input_spec, graph, self._name)
        self._dim = self._probe_dim()
        self._contract = self._make_contract(metadata, known.name if known else None, digest)
        self._threshold_card = self._read_card(metadata)

    @property
    def contract(self) -> EmbeddingContract:
        """Who this is and which space it embeds into."""
        return self._contract

    @property
    def input_spec(self) -> InputSpec:
        """How its crops must be aligned and normalised."""
        return self._input_spec

    @property
    def threshold_card(self) -> ThresholdCard | None:
        """Thresholds measured on this model, None where the file carries none.

        A card belongs to one way of making crops: with another ``input_spec`` than the file's
        there is none.
        """
        return self._threshold_card

    def embed(self, crops: UInt8Batch) -> FloatArray:
        """Raw embeddings.

        Args:
            crops: (N, H, W, 3) uint8 RGB, in this embedder's own template.

        Returns:
            (N, D) float32, not normalised.

        Raises:
            ValueError: if the crops have another size.
            WeightsError: if the model gives a value that is not finite.
        """
        out = np.empty((len(crops), self._dim), dtype=np.float32)
        for start in range(0, len(crops), self._batch_size):
            part = crops[start : start + self._batch_size]
            out[start : start + len(part)] = self._run(normalise(part, self._input_spec))
        if not np.isfinite(out).all():
            row = int(np.flatnonzero(~np.isfinite(out).all(axis=1))[0])
            raise WeightsError(
                f"{self._name}: expected finite embeddings, row {row} of {len(out)} is not"
            )
        return out

    def _run(self, values: FloatArray) -> FloatArray:
        """(n, D) raw output of n <= batch rows; short batches of a fixed graph are padded."""
        rows = len(values)
        if self._fixed_batch and rows < self._fixed_batch:
            missing = self._fixed_batch - rows
            values = np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])
        (output,) = self._session.run(values)
        if not isinstance(output, np.ndarray) or output.dtype.kind != "f":
            raise WeightsError(f"{self._name}: expected a float output, got another kind")
        flat = output.reshape(len(output), -1) if output.ndim >= 2 else output
        if flat.ndim != 2 or len(flat) != len(values) or max(output.shape[1:]) != flat.shape[1]:
            raise WeightsError(
                f"{self._name}: expected embeddings (N, D) or (N, D, 1, 1), "
                f"got {output.shape} for {len(values)} crops"
            )
        return flat[:rows].astype(np.float32, copy=False)

    def _probe_dim(self) -> int:
        blank = np.zeros((1, *self._input_spec.size_hw, 3), dtype=np.uint8)
        return int(self._run(normalise(blank, self._input_spec)).shape[1])

    def _read_card(self, metadata: dict[str, str]) -> ThresholdCard | None:
        text = metadata.get(THRESHOLD_CARD_KEY)
        if text is None:
            return None
        card = parse_card(text, source=self._name)
        if card.contract_id == self._contract.contract_id:
            return card
        if self.input_spec_source == "argument":
            _log.warning("%s: its threshold card is for another input spec", self._name)
            return None
        raise ContractMismatch(
            f"{self._name}: carries the threshold card of {card.model_id} ({card.contract_id}), "
            f"the model is {self._contract.model_id} ({self._contract.contract_id})"
        )

    def _make_contract(
        self, metadata: dict[str, str], known_name: str | None, digest: str
    ) -> EmbeddingContract:
        if CONTRACT_KEY in metadata:
            contract: EmbeddingContract = parse_model(
                EmbeddingContract, metadata[CONTRACT_KEY], source=self._name
            )
            if contract.dim != self._dim:
                raise WeightsError(
                    f"{self._name}: its contract says {contract.dim} dimensions, "
                    f"the graph gives {self._dim}"
                )
            return contract.model_copy(update={"input_digest": self._input_spec.digest})
        stem = known_name or Path(self._name).stem
        return EmbeddingContract(
            model_id=stem,
            digest=digest,
            dim=self._dim,
            space_id=f"{stem}:{digest[:16]}",
            input_digest=self._input_spec.digest,
        )


def crops_for(embedder: Embedder, crops112: UInt8Batch) -> FloatArray:
    """Raw embeddings of crops in the ArcFace 112x112 template, resampled once for the embedder.

    Args:
        embedder: any embedder.
        crops112: (N, 112, 112, 3) uint8 RGB.

    Returns:
        (N, D) float32, not normalised.
    """
    return embedder.embed(retarget_crops(crops112, embedder.input_spec))


@dataclass(frozen=True, slots=True)
class _Graph:
    """What the graph's only input says; None where an axis is dynamic."""

    shape: tuple[int | None, ...]

    @property
    def batch(self) -> int | None:
        return self.shape[0]

    def size_hw(self, layout: str) -> tuple[int | None, int | None]:
        height, width = self.shape[2:4] if layout == "nchw" else self.shape[1:3]
        return height, width

    @property
    def text(self) -> str:
        return "(" + ", ".join("N" if d is None else str(d) for d in self.shape) + ")"


def _read_graph(session: Session, name: str) -> _Graph:
    inputs, outputs = session.inputs, session.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise WeightsError(
            f"{name}: expected an embedder with one input and one output, "
            f"got {len(inputs)} and {len(outputs)}"
        )
    (entry,) = inputs
    graph = _Graph(entry.shape)
    if entry.kind != "tensor(float)" or len(entry.shape) != 4:
        raise WeightsError(
            f"{name}: expected a float32 image batch as input, got {entry.kind} {graph.text}"
        )
    return graph


def _assume_spec(graph: _Graph, name: str) -> InputSpec:
    if graph.shape[1:] != (3, 112, 112):
        raise WeightsError(
            f"{name}: nothing says how its crops are aligned and normalised and its input is "
            f"{graph.text}, not (N, 3, 112, 112); pass --input-spec with that size"
        )
    _log.warning(
        "%s does not say how its crops are normalised; assuming the ArcFace convention: "
        "RGB, 112x112, (value - 127.5) / 127.5; pass --input-spec if that is wrong",
        name,
    )
    return InputSpec()


def _check_size(spec: InputSpec, graph: _Graph, name: str) -> None:
    channels = graph.shape[1 if spec.layout == "nchw" else 3]
    wanted = graph.size_hw(spec.layout)
    agrees = all(w in {None, s} for w, s in zip(wanted, spec.size_hw, strict=True))
    if channels not in {None, 3} or not agrees:
        height, width = spec.size_hw
        raise WeightsError(
            f"{name}: its input spec says {height}x{width} {spec.layout}, "
            f"the graph's input is {graph.text}"
        )
