"""Face detectors: pictures of any size in, boxes, scores and five landmarks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossface.core.errors import WeightsError
from crossface.core.files import sha256_file
from crossface.core.registry import Registry
from crossface.core.weights import announce_licence, find_by_sha256
from crossface.pipeline.detectors.base import Detections, Detector, DetectorOptions, OnnxDetector
from crossface.pipeline.runtimes.sessions import Session, available_cores

__all__ = ["DETECTORS", "Detections", "Detector", "DetectorOptions", "open_detector"]

DETECTORS = Registry(
    "detector",
    {
        "crossface": "crossface.pipeline.detectors.own:OwnDetector",
        "retinaface": "crossface.pipeline.detectors.retinaface:RetinaFace",
        "scrfd": "crossface.pipeline.detectors.scrfd:Scrfd",
        "yunet": "crossface.pipeline.detectors.yunet:YuNet",
    },
    group="crossface.detectors",
)


def open_detector(
    path: str | Path,
    *,
    kind: str | None = None,
    options: DetectorOptions | None = None,
    threads: int | None = None,
    runtime: Any = "onnxruntime",  # noqa: ANN401  # see Session
    device: str = "cpu",
) -> OnnxDetector:
    """A detector from an ONNX file.

    Args:
        path: the file.
        kind: one of ``DETECTORS``; found from the graph's outputs where it is not said.
        options: score and overlap thresholds, largest side; those of the kind by default.
        threads: of one inference; the cores this process may use by default.
        runtime: "onnxruntime" or "openvino".
        device: see ``runtimes.sessions``.

    Raises:
        UnknownName: no such kind.
        WeightsError: not an ONNX file, or its outputs are those of no kind, of several, or of
            another than was said.
    """
    named = None if kind is None else DETECTORS.resolve(kind)
    opened = {"threads": threads or available_cores(), "runtime": runtime, "device": device}
    session = Session(path, **opened)
    known = find_by_sha256(sha256_file(path))
    if known is not None:
        announce_licence(known)
    made: OnnxDetector = (named or _kind_of(session))(session, options)
    made.open_second(Path(path).parent, **opened)
    return made


def _kind_of(session: Session) -> Any:  # noqa: ANN401  # a class of the table
    found = [name for name in DETECTORS.names() if DETECTORS.resolve(name).matches(session)]
    if len(found) != 1:
        outputs = ", ".join(f"{port.name} {list(port.shape)}" for port in session.outputs)
        what = "no detector this knows" if not found else f"those of {' and of '.join(found)}"
        raise WeightsError(
            f"{session.name}: expected the outputs of one of {', '.join(DETECTORS.names())}, "
            f"these are {what}: {outputs[:300]}; say its kind if you know it"
        )
    return DETECTORS.resolve(found[0])
