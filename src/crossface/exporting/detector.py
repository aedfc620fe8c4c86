"""A trained face detector to an ONNX file that is refused unless it says the same."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossface.core.errors import ParityError, WeightsError
from crossface.core.files import atomic_path
from crossface.core.types import FloatArray
from crossface.exporting.onnx import INPUT_NAME, TRAINING_KEY, quiet_exporter, require_export, strip
from crossface.nets.detector import STRIDES, DetectorOutputs, FaceDetector
from crossface.nets.landmarks import CROP_PX, LandmarkNet, LandmarkOutputs
from crossface.pipeline.detectors.own import DETECTOR_KEY, DetectorSpec, LandmarksFile
from crossface.pipeline.runtimes.sessions import Session, float_outputs

if TYPE_CHECKING:
    from torch import nn

MAX_BYTES = 500_000
"""Of a packaged detector, its second look included."""

_SIZES_HW = ((64, 64), (96, 160), (320, 256))
"""Sizes of the pictures that the export is compared on: none is the traced one."""


@dataclass(frozen=True, slots=True)
class DetectorExport:
    """What was written and how close it is to the network.

    Attributes:
        path: the ONNX file.
        size_bytes: of the file.
        opset: version of the ONNX operators.
        max_difference: largest absolute difference of an output, by its name.
        seconds: that writing and comparing took.
    """

    path: Path
    size_bytes: int
    opset: int
    max_difference: dict[str, float]
    seconds: float


def export_detector(
    net: FaceDetector,
    out_path: str | Path,
    *,
    min_score: float,
    training: dict[str, Any],
    scene_px: int = 256,
    second: LandmarksFile | None = None,
    opset: int = 18,
    atol: float = 1e-4,
) -> DetectorExport:
    """Write a detector for pictures of any size, and keep it only if it agrees with the network.

    The graph takes ``input`` (1, 3, H, W) float32, sides multiples of 32, and gives the outputs of
    ``pipeline.detectors.own.OUTPUTS``. Its metadata holds a ``DetectorSpec`` and the training card.

    Args:
        net: the trained network.
        out_path: the ONNX file; an old one is replaced only if the new one is kept.
        min_score: least score of a face, in (0, 1), after the second look where there is one.
        training: how it was made, of what, under which licences; JSON values.
        scene_px: side of the scenes it learnt from.
        second: the second look that belongs to it, a file of ``export_landmarks`` beside this one.
        opset: version of the ONNX operators.
        atol: largest allowed difference of an output.

    Raises:
        MissingExtra: if torch, onnx or onnxscript is not installed.
        WeightsError: if the network cannot be written as ONNX.
        ParityError: if the export differs; nothing is left behind.
    """
    spec = DetectorSpec(min_score=round(min_score, 4), scene_px=scene_px, landmarks=second)
    rows, columns = _sides("rows", "columns")
    step = STRIDES[-1]
    graph = _Graph(
        (1, 3, 6 * step, 8 * step),
        {2: step * rows, 3: step * columns},
        DetectorOutputs._fields,
        tuple((1, 3, *size) for size in _SIZES_HW),
    )
    metadata = {DETECTOR_KEY: spec.model_dump_json(), TRAINING_KEY: _plain(training)}
    return _export(net, out_path, graph, metadata, opset, atol)


def export_landmarks(
    net: LandmarkNet,
    out_path: str | Path,
    *,
    training: dict[str, Any],
    opset: int = 18,
    atol: float = 1e-4,
) -> DetectorExport:
    """Write a second look, and keep it only if it agrees with the network.

    The graph takes ``input`` (N, 3, 64, 64) float32 and gives the outputs of
    ``pipeline.detectors.landmarks.OUTPUTS``.

    Args:
        net: the trained network.
        out_path: the ONNX file; an old one is replaced only if the new one is kept.
        training: how it was made; JSON values.
        opset: version of the ONNX operators.
        atol: largest allowed difference of an output.

    Raises:
        MissingExtra, WeightsError, ParityError: as ``export_detector``.
    """
    (faces,) = _sides("faces")
    shape = (3, CROP_PX, CROP_PX)
    graph = _Graph(
        (2, *shape), {0: faces}, LandmarkOutputs._fields, ((1, *shape), (5, *shape), (32, *shape))
    )
    return _export(net, out_path, graph, {TRAINING_KEY: _plain(training)}, opset, atol)


@dataclass(frozen=True, slots=True)
class _Graph:
    traced: tuple[int, ...]
    dynamic: dict[int, Any]
    outputs: tuple[str, ...]
    compared: tuple[tuple[int, ...], ...]  # shapes of the input, none the traced one


def _sides(*names: str) -> list[Any]:
    require_export()
    import torch

    return [torch.export.Dim(name, min=1, max=512) for name in names]


def _plain(training: dict[str, Any]) -> str:
    return json.dumps(training, sort_keys=True, allow_nan=False)


def _export(  # one way for both networks
    net: nn.Module,
    out_path: str | Path,
    graph: _Graph,
    metadata: dict[str, str],
    opset: int,
    atol: float,
) -> DetectorExport:
    start = time.perf_counter()
    net = copy.deepcopy(net).cpu().float().eval().requires_grad_(False)
    proto = _trace(net, graph, opset)
    strip(proto)
    for key, text in metadata.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, text
    with atomic_path(out_path) as temporary:
        temporary.write_bytes(proto.SerializeToString())
        differences = measure_detector_parity(net, Session(temporary, threads=1), graph.compared)
        wrong = [name for name, value in differences.items() if not value <= atol]  # NaN is wrong
        if wrong:
            raise ParityError(
                f"{Path(out_path).name}: expected the network's outputs to {atol:.0e}, "
                f"{wrong[0]} differs by {differences[wrong[0]]:.2g}"
            )
        size = temporary.stat().st_size
    return DetectorExport(
        Path(out_path), size, opset, differences, round(time.perf_counter() - start, 3)
    )


def measure_detector_parity(
    net: nn.Module, session: Session, shapes: Sequence[tuple[int, ...]]
) -> dict[str, float]:
    """Largest absolute difference of each output between a network and its export, on noise."""
    import torch

    rng = np.random.default_rng(0)
    names = [port.name for port in session.outputs]
    worst: dict[str, float] = {}
    for shape in shapes:
        values: FloatArray = rng.uniform(-1, 1, shape).astype(np.float32)
        with torch.inference_mode():
            wanted = net(torch.from_numpy(values))
        got = dict(zip(names, float_outputs(session, values), strict=True))
        for name, tensor in wanted._asdict().items():
            if name not in got or got[name].shape != tuple(tensor.shape):
                raise WeightsError(
                    f"{session.name}: output {name!r} is missing or of another shape"
                )
            apart = float(np.abs(got[name] - tensor.numpy()).max())
            worst[name] = max(worst.get(name, 0.0), apart)
    return worst


def _trace(net: nn.Module, graph: _Graph, opset: int) -> Any:  # noqa: ANN401  # onnx has no types
    import torch

    try:
        with quiet_exporter():
            program = torch.onnx.export(
                net,
                (torch.zeros(graph.traced),),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT_NAME],
                output_names=list(graph.outputs),
                dynamic_shapes=(graph.dynamic,),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise WeightsError(f"the detector cannot be written as ONNX: {reason}") from None
    if program is None:
        raise WeightsError("the detector cannot be written as ONNX")
    return program.model_proto
