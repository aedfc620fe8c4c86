"""The public verbs: wires rooms that may not see each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossface.core.protocols import Embedder

PathLike = str | Path


def load_model(
    model: PathLike, *, input_spec: str | None = None, threads: int | None = None
) -> Embedder:
    """An embedder from an ONNX file, a safetensors model or a run folder.

    Args:
        model: the file or folder.
        input_spec: a preset name or JSON file for an ONNX file that does not say what it wants.
        threads: CPU threads; all usable cores by default.

    Raises:
        WeightsError: if it cannot be read or does not say what input it wants.
    """
    from crossface.train.teachers import open_teacher

    return open_teacher(str(model), input_spec=input_spec, threads=threads)
