"""Labelled and unlabelled face images, on disk or drawn, as samples and batches."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

from crossface.core.errors import DataError, UsageError
from crossface.core.protocols import FaceSource
from crossface.core.registry import Registry

FORMATS = Registry(
    "face set format",
    {
        "bin": "crossface.data.formats.verification_bin:VerificationBin",
        "folder": "crossface.data.formats.image_folder:ImageFolder",
        "rec": "crossface.data.formats.recordio:RecordIO",
        "zip": "crossface.data.formats.zip_crops:ZipCrops",
    },
    "crossface.formats",
)
"""File suffix (or "folder") to a class ``(path, *, labels) -> FaceSource``."""

DRAWN_PREFIX = "drawn:"

__all__ = ["DRAWN_PREFIX", "FORMATS", "open_faces"]


def open_faces(path: str | Path, *, labels: Literal["auto", "none"] = "auto") -> FaceSource:
    """A set of face crops, whatever it is stored in.

    Args:
        path: a directory, a ``.zip`` of crops, an InsightFace ``.rec`` (with its ``.idx``) or
            verification ``.bin``, or the text ``drawn:ids=64,per_id=8,seed=0``.
        labels: "auto" takes the identities the set has; "none" ignores them.

    Raises:
        DataError: if there is nothing there, or nothing that can be read.
        UsageError: if ``labels`` is another word.
    """
    if labels not in ("auto", "none"):
        raise UsageError(f"labels must be 'auto' or 'none', got {labels!r}")
    if isinstance(path, str) and path.startswith(DRAWN_PREFIX):
        return _open_drawn(path, labels)
    place = Path(path)
    if not place.exists():
        raise DataError(f"{place}: expected a face set, there is no such file or folder")
    kind = "folder" if place.is_dir() else place.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS.names() if name != "folder")
        raise DataError(f"{place.name}: expected a folder or one of {known}")
    return cast(FaceSource, FORMATS.resolve(kind)(place, labels=labels))


def _open_drawn(spec: str, labels: str) -> FaceSource:
    from crossface.data.dataset import Unlabelled
    from crossface.data.drawn import parse_spec

    source = cast(FaceSource, parse_spec(spec))
    return Unlabelled(source) if labels == "none" else source
