"""A trained network to an ONNX file that is refused unless it gives the same embeddings."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossface.core.contract import EmbeddingContract
from crossface.core.errors import MissingExtra, ParityError, WeightsError
from crossface.core.files import atomic_path
from crossface.core.log import get_logger
from crossface.core.types import UInt8Batch
from crossface.exporting.card import card_json
from crossface.exporting.parity import ParityReport, measure_parity
from crossface.exporting.rewrite import replace_prelu
from crossface.pipeline.runtimes.onnx_runtime import CONTRACT_KEY, INPUT_SPEC_KEY, OnnxEmbedder
from crossface.pipeline.runtimes.torch_runtime import TorchEmbedder

if TYPE_CHECKING:
    from crossface.nets.checkpoint import LoadedModel

_log = get_logger("exporting")

TRAINING_KEY = "crossface.training"
INPUT_NAME = "input"
OUTPUT_NAME = "embedding"
_BATCH_AXIS = "batch"


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written and how close it is to the original.

    Attributes:
        path: the ONNX file.
        contract: the file's own contract; its space is the original's.
        parity: the comparison with the original.
        card: the training card, as ``export.card.card_json`` makes it.
        opset: version of the ONNX operators.
        size_bytes: of the file.
        seconds: that writing took, without the comparison.
    """

    path: Path
    contract: EmbeddingContract
    parity: ParityReport
    card: dict[str, Any]
    opset: int
    size_bytes: int
    seconds: float

    def raise_if_different(self, atol: float = 1e-4) -> None:
        """Refuse the file, and remove it, if it differs from the original by more than ``atol``.

        Raises:
            ParityError: with the figures.
        """
        try:
            self.parity.raise_if_different(atol, name=self.path.name)
        except ParityError:
            self.path.unlink(missing_ok=True)
            raise

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a report; the file by its name only."""
        return {
            "file": self.path.name,
            "contract": self.contract.model_dump(mode="json"),
            "parity": self.parity.as_json(),
            "opset": self.opset,
            "size_bytes": self.size_bytes,
            "seconds": self.seconds,
        }


def export_onnx(
    model: str | Path | LoadedModel,
    out_path: str | Path,
    *,
    samples: UInt8Batch,
    opset: int = 18,
    atol: float = 1e-4,
) -> ExportReport:
    """Write a network as ONNX, compare it with the original, and keep it only if they agree.

    The graph takes ``input`` (batch, 3, H, W) float32 normalised pixels and gives ``embedding``
    (batch, D) float32, not normalised. Batch norms are folded into the layers before them and
    PReLUs are written in faster operators. The metadata carries the InputSpec, a contract in the
    original's space, and the training card.

    Args:
        model: a file written by ``save_model``, or what ``load_model`` gave.
        out_path: the ONNX file; an old one is replaced only if the new one is kept.
        samples: (N, H, W, 3) uint8 RGB crops to compare on, N >= 16.
        opset: version of the ONNX operators.
        atol: largest allowed difference of a number of an embedding, in lengths of the embedding.

    Raises:
        MissingExtra: if torch, onnx or onnxscript is not installed.
        WeightsError: if the model cannot be read or its network cannot be written as ONNX.
        ParityError: if the export differs; nothing is left behind.
    """
    loaded = _load(model)
    if loaded.threshold_card is not None:
        _log.warning(
            "%s: the model's threshold card stays behind, the export is measured anew: "
            "crossface card",
            Path(out_path).name,
        )
    reference = TorchEmbedder(loaded)
    start = time.perf_counter()
    proto, contract = _build(loaded, opset)
    with atomic_path(out_path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
        seconds = time.perf_counter() - start
        parity = measure_parity(reference, OnnxEmbedder(temporary), samples)
        parity.raise_if_different(atol, name=Path(out_path).name)
    return ExportReport(
        path=Path(out_path),
        contract=contract,
        parity=parity,
        card=card_json(contract, loaded.input_spec, loaded.training, parity),
        opset=opset,
        size_bytes=Path(out_path).stat().st_size,
        seconds=round(seconds, 3),
    )


def require_export() -> None:
    """Refuse to go on without what writing ONNX takes.

    Raises:
        MissingExtra: if torch, onnx or onnxscript is not installed.
    """
    for package in ("torch", "onnx", "onnxscript"):
        if find_spec(package) is None:
            raise MissingExtra(package, "export")


def _load(model: str | Path | LoadedModel) -> LoadedModel:
    require_export()
    if not isinstance(model, str | Path):
        return model
    from crossface.nets.checkpoint import load_model

    return load_model(model)


def _build(loaded: LoadedModel, opset: int) -> tuple[Any, EmbeddingContract]:
    """The ONNX model with its metadata, and its contract."""
    proto = _trace(loaded, opset)
    strip(proto)
    replace_prelu(proto)
    weights = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
    contract = loaded.contract.model_copy(update={"digest": weights})
    for key, text in (
        (INPUT_SPEC_KEY, loaded.input_spec.model_dump_json()),
        (CONTRACT_KEY, contract.model_dump_json()),
        (TRAINING_KEY, json.dumps(loaded.training, sort_keys=True, allow_nan=False)),
    ):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text
    return proto, contract


def _trace(loaded: LoadedModel, opset: int) -> Any:  # noqa: ANN401  # onnx has no types
    import torch

    net = copy.deepcopy(loaded.net).cpu().float().eval().requires_grad_(False)
    example = torch.zeros(2, 3, *loaded.input_spec.size_hw)
    try:
        with quiet_exporter():
            program = torch.onnx.export(
                net,
                (example,),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_shapes=({0: _BATCH_AXIS},),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise WeightsError(
            f"{loaded.contract.model_id} cannot be written as ONNX: {reason}"
        ) from None
    if program is None:
        raise WeightsError(f"{loaded.contract.model_id} cannot be written as ONNX")
    return program.model_proto


def strip(proto: Any) -> None:  # noqa: ANN401
    """Drop what the exporter notes about itself: stack traces with paths of this machine."""
    graph = proto.graph
    del proto.metadata_props[:]
    del graph.metadata_props[:]
    for part in (graph.node, graph.input, graph.output, graph.value_info, graph.initializer):
        for item in part:
            del item.metadata_props[:]
            item.ClearField("doc_string")
    for function in proto.functions:
        del function.metadata_props[:]
        for node in function.node:
            del node.metadata_props[:]


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep the exporter's remarks about itself and about torchvision from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
