"""The one door to a network in an ONNX file: float32 in, float32 out, on a device said aloud."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crossface.core.errors import MissingExtra, UsageError, WeightsError
from crossface.core.types import FloatArray

Runtime = Literal["onnxruntime", "openvino"]

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph; a dimension is None where it is dynamic or unknown."""

    name: str
    shape: tuple[int | None, ...]
    kind: str


class Session:
    """A network with one image input, opened on one runtime and device.

    Args:
        path: the ONNX file.
        threads: of one run.
        runtime: "onnxruntime", or "openvino" (``pip install 'crossface[openvino]'``).
        device: "cpu", "cuda", "cuda:1" (onnxruntime); "cpu", "gpu" (openvino). What is asked for
            is used or refused, never exchanged for another.

    Attributes:
        name: the file's name.
        inputs: what the graph takes.
        outputs: what it gives.
        metadata: the file's own key-value pairs.
        threads: of one run.

    Raises:
        WeightsError: not an ONNX file, truncated or broken.
        UsageError: an unknown runtime or device, or a device that is not there.
        MissingExtra: openvino is asked for and not installed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int,
        runtime: Runtime = "onnxruntime",
        device: str = "cpu",
    ) -> None:
        file = Path(path)
        if threads < 1:
            raise ValueError(f"threads must be >= 1, got {threads}")
        if runtime not in {"onnxruntime", "openvino"}:
            raise UsageError(f"no runtime is named {runtime!r}; known: onnxruntime, openvino")
        if not file.is_file():
            raise WeightsError(f"{file.name}: expected an ONNX file, there is no such file")
        self.name = file.name
        self.threads = threads
        own = runtime == "onnxruntime"
        # onnxruntime describes the graph in either case: its shape inference decides what a file is
        session = _open_onnxruntime(file, threads, device if own else "cpu")
        self.inputs = tuple(_port(entry) for entry in session.get_inputs())
        if len(self.inputs) != 1:
            raise WeightsError(
                f"{self.name}: expected a network with one input, it has {len(self.inputs)}"
            )
        self.outputs = tuple(_port(entry) for entry in session.get_outputs())
        self.metadata = dict(session.get_modelmeta().custom_metadata_map)
        if own:
            self._run = _onnxruntime_runner(session)
            self._errors = _session_errors()
        else:
            self._run = _openvino_runner(file, threads, device)
            self._errors = (RuntimeError, ValueError)

    def run(self, values: FloatArray) -> list[Any]:
        """The outputs for one input tensor, in the graph's order.

        Raises:
            WeightsError: if the network cannot be run on it.
        """
        try:
            return self._run(values)
        except self._errors as error:
            raise WeightsError(f"{self.name}: cannot be run: {_first_line(error)}") from None


def available_cores() -> int:
    """Cores this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def float_outputs(session: Session, values: FloatArray) -> list[FloatArray]:
    """``session.run`` whose outputs are checked to be float arrays, as float32.

    Raises:
        WeightsError: if the network cannot be run or gives another kind of output.
    """
    outputs = session.run(values)
    for output in outputs:
        if not isinstance(output, np.ndarray) or output.dtype.kind != "f":
            raise WeightsError(f"{session.name}: expected float outputs, got another kind")
    return [output.astype(np.float32, copy=False) for output in outputs]


def _open_onnxruntime(path: Path, threads: int, device: str) -> Any:  # noqa: ANN401
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # it keeps a plan for every picture size it has ever seen
    # idle threads that spin take the cores from the next network of the same pipeline
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # its warnings on unused initialisers are not the user's
    providers = _providers(device)
    try:
        session = onnxruntime.InferenceSession(str(path), sess_options=options, providers=providers)
    except _session_errors() as error:
        raise WeightsError(
            f"{path.name}: expected an ONNX model, it is another kind of file, truncated or "
            f"broken ({type(error).__name__})"
        ) from None
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if wanted not in session.get_providers():  # it falls back without an error of its own
        raise UsageError(f"{path.name}: device {device!r} was asked for and could not be opened")
    return session


def _providers(device: str) -> list[Any]:
    import onnxruntime

    family, _, number = device.partition(":")
    if family not in _PROVIDERS or (number and (family == "cpu" or not number.isdigit())):
        raise UsageError(f"no device is named {device!r}; known: cpu, cuda, cuda:0, cuda:1 ...")
    provider = _PROVIDERS[family]
    present = onnxruntime.get_available_providers()
    if provider not in present:
        raise UsageError(
            f"device {device!r} was asked for; this onnxruntime has only {', '.join(present)}"
        )
    return [(provider, {"device_id": number})] if number else [provider]


def _onnxruntime_runner(session: Any) -> Callable[[FloatArray], list[Any]]:  # noqa: ANN401
    name = session.get_inputs()[0].name

    def run(values: FloatArray) -> list[Any]:
        outputs: list[Any] = session.run(None, {name: values})
        return outputs

    return run


def _openvino_runner(path: Path, threads: int, device: str) -> Callable[[FloatArray], list[Any]]:
    try:
        openvino: Any = import_module("openvino")
    except ModuleNotFoundError:
        raise MissingExtra("openvino", "openvino") from None
    core = openvino.Core()
    present = core.available_devices
    if device.upper() not in present:
        raise UsageError(
            f"device {device!r} was asked for; this openvino has only "
            f"{', '.join(name.lower() for name in present)}"
        )
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}  # its own may be bfloat16
    if device == "cpu":
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = core.compile_model(core.read_model(str(path)), device.upper(), options)
    except RuntimeError as error:
        raise WeightsError(f"{path.name}: openvino cannot use it: {_first_line(error)}") from None

    def run(values: FloatArray) -> list[Any]:
        result = compiled.create_infer_request().infer([values])
        return [np.array(result[port]) for port in compiled.outputs]

    return run


def _port(entry: Any) -> Port:  # noqa: ANN401
    shape = tuple(d if isinstance(d, int) and d > 0 else None for d in entry.shape)
    return Port(entry.name, shape, entry.type)


def _session_errors() -> tuple[type[Exception], ...]:
    """Everything onnxruntime raises; its classes share no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kinds = [k for k in vars(state).values() if isinstance(k, type) and issubclass(k, Exception)]
    return (RuntimeError, ValueError, *kinds)


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n", 1)[0]
    return text if len(text) <= 200 else text[:197] + "..."
