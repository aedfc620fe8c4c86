"""crossface: distil a face-recognition teacher into a CNN, prove how good it is, and run it.

Importing this package imports nothing heavy: every public name is resolved on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "FaceAnalysis": "crossface.pipeline.analysis",
    "Gallery": "crossface.photo_gallery",
    "compare": "crossface.api",
    "compat": "crossface.api",
    "create_model": "crossface.nets",
    "distill": "crossface.api",
    "evaluate": "crossface.api",
    "export": "crossface.api",
    "list_models": "crossface.nets",
    "list_protocols": "crossface.api",
    "load_model": "crossface.api",
    "train": "crossface.api",
    "verify": "crossface.pipeline.verify",
}

__all__ = sorted([*_PUBLIC, "__version__"])  # noqa: PLE0605


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'crossface' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
