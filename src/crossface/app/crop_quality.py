"""``--quality``: a table, the embedding's length, or what the runtime measures on a crop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossface.core.protocols import FaceSource
    from crossface.evaluation.quality import Quality

NORM = "norm"
PARTS = ("sharpness", "light")
"""Of the runtime's quality, what a crop in the template still shows: eye distance and pose are
those of the template."""


def quality_named(text: str, source: FaceSource, *, progress: bool) -> Quality | None:
    """The quality of each picture of a set; None for the default, the embedding's length.

    Args:
        text: norm, sharpness, light, a CSV with the columns key and quality, or LightQNet's file.
        source: the pictures.
        progress: show progress on stderr.

    Raises:
        UsageError: for another word. DataError: for a table that does not fit.
        WeightsError: for a file that is not LightQNet.
    """
    from crossface.core.errors import UsageError
    from crossface.evaluation.quality import measure_quality, read_quality

    if text == NORM:
        return None
    suffix = Path(text).suffix.lower()
    if suffix == ".csv":
        return read_quality(text)
    if text not in PARTS and suffix != ".onnx":
        raise UsageError(
            f"--quality: expected {NORM}, {', '.join(PARTS)}, a CSV with key,quality, or "
            f"LightQNet's ONNX file, got {text!r}"
        )
    from crossface.core.template import ARCFACE_POINTS_112
    from crossface.core.types import Box, UInt8Image
    from crossface.pipeline.quality import QualityMeter

    meter = QualityMeter(lightqnet=text if suffix == ".onnx" else None)
    landmarks, whole = ARCFACE_POINTS_112.astype("float32"), Box(0.0, 0.0, 112.0, 112.0)

    def measure(crop: UInt8Image) -> float:
        _, parts, _ = meter.measure(crop, whole, landmarks, crop)
        if parts.learned is not None:
            return parts.learned
        return parts.sharpness if text == "sharpness" else parts.light

    return measure_quality(source, Path(text).name, measure, progress=progress)
