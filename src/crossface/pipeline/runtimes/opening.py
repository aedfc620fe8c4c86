"""Any model a user names as an embedder; torch is imported only for networks of ours."""

from __future__ import annotations

from pathlib import Path

from crossface.core.errors import UsageError
from crossface.core.protocols import Embedder
from crossface.pipeline.runtimes.sessions import Runtime

RUN_MODEL = "student.safetensors"
"""The finished student of a run folder."""


def open_embedder(
    path: str | Path,
    *,
    input_spec: str | None = None,
    threads: int | None = None,
    runtime: Runtime = "onnxruntime",
) -> Embedder:
    """An ONNX file, a safetensors model or a run folder as an embedder.

    Args:
        path: the file or folder.
        input_spec: a preset name or JSON file for an ONNX file that does not say what it wants.
        threads: CPU threads; all usable cores by default.
        runtime: what runs an ONNX file; a model of ours runs on torch.

    Raises:
        WeightsError: if the file cannot be read or does not say what input it wants.
        UsageError: if another runtime is asked for a model of ours.
        MissingExtra: openvino is asked for and not installed.
    """
    if Path(path).suffix == ".onnx":
        from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder
        from crossface.pipeline.runtimes.specs import read_input_spec

        spec = None if input_spec is None else read_input_spec(input_spec)
        return OnnxEmbedder(path, input_spec=spec, threads=threads, runtime=runtime)
    if runtime != "onnxruntime":
        raise UsageError(f"{Path(path).name}: {runtime} runs ONNX files; this is a model of ours")
    from crossface.pipeline.runtimes.torch_runtime import TorchEmbedder

    return TorchEmbedder(model_file(path), threads=threads)


def model_file(path: str | Path) -> Path:
    """The model of a run folder, or the path itself."""
    given = Path(path)
    return given / RUN_MODEL if given.is_dir() else given


def is_own_model(path: str | Path) -> bool:
    """Whether the path is a safetensors model or a run folder with its student."""
    given = Path(path)
    return given.suffix == ".safetensors" or (given / RUN_MODEL).is_file()
