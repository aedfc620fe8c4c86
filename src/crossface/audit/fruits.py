"""FRUITS: the whole pipeline on one thread, photograph to embedding, and what it reaches in time.

Paper: Zhu et al., "WebFace260M", arXiv:2103.04098 (FRUITS-100, -500, -1000), measured as the code
of its MFR track does: one thread, warmed up, no reading of files inside the timer, the face of
largest ``area - 2 * distance²`` to the middle of the picture.
Deviation: median and 95th percentile in place of the track's fast order statistic; times with
and without decoding, which the track leaves out; the process is kept on one core; pictures
without a face, or too late, are compared as different from everything, where the track compares
a zero vector.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.audit.fruits_figures import budget_figures
from crossface.audit.timing import peak_memory_mib, run_apart, timing
from crossface.core.errors import DataError, ImageError, NoFaceFound, UsageError
from crossface.core.geometry import align
from crossface.core.images import decode_image
from crossface.core.progress import Progress
from crossface.core.protocols import Embedder
from crossface.core.types import Failure, FloatArray
from crossface.data import open_faces
from crossface.data.formats.pair_list import PairList, read_pairs
from crossface.data.formats.pictures import StoredFaces
from crossface.evaluation.embed import EmbeddedFaces
from crossface.pipeline.detectors import Detections, Detector, DetectorOptions, open_detector
from crossface.pipeline.embedding import embed_crops
from crossface.pipeline.runtimes.opening import open_embedder
from crossface.pipeline.store import ModelStore

BUDGETS_MS = (100.0, 500.0, 1000.0)
STAGES = ("decode", "detect", "align", "embed")
MAX_PASSES = 1000

Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What is timed: a detector, an embedder, and whether the mirror image is embedded too."""

    detector: Detector
    embedder: Embedder
    flip: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Passes:
    """Every picture's times, and its face.

    Attributes:
        seconds: (passes, pictures, 4) spent in each of ``STAGES``; 0 where one was not reached.
        embeddings: (pictures, D) float32 unit rows; zero where there is none.
        reasons: of each picture, why it has no embedding; None where it has.
    """

    seconds: npt.NDArray[np.float64]
    embeddings: FloatArray
    reasons: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class FruitsJob:
    """What to time.

    Attributes:
        model: ONNX file, safetensors model or run folder.
        detector: ONNX file or a name of the model store.
        pictures: a folder or zip of photographs.
        pairs: a pair list over them; without it there is no accuracy.
        budgets_ms: time a picture may take, in milliseconds.
        passes: times over all pictures, after a warm-up.
        max_side_px: larger pictures are scaled down to it for the detector.
        flip: embed the mirror image too; FRUITS does not.
        input_spec: see ``open_embedder``.
        progress: show progress on stderr.

    Raises:
        UsageError: numbers out of range.
    """

    model: str
    detector: str
    pictures: str
    pairs: str | None = None
    budgets_ms: Sequence[float] = BUDGETS_MS
    passes: int = 3
    max_side_px: int = 640
    flip: bool = False
    input_spec: str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if not self.budgets_ms or not all(0 < budget < math.inf for budget in self.budgets_ms):
            raise UsageError(
                f"--budgets: expected milliseconds above 0, got {list(self.budgets_ms)}"
            )
        if not 1 <= self.passes <= MAX_PASSES:
            raise UsageError(f"--passes: expected 1 to {MAX_PASSES}, got {self.passes}")


def bench_fruits(job: FruitsJob) -> Report:
    """Time the whole pipeline in a process of its own, on one core and one thread.

    Raises:
        DataError: pictures or a list that do not fit.
        NoFaceFound: no picture could be embedded.
        WeightsError: networks that cannot be opened.
    """
    return run_apart({"kind": "fruits", **asdict(job)}, threads=1)


def measure_fruits(job: FruitsJob, *, one_core: bool = False) -> Report:
    """The report, measured in this process; see ``bench_fruits``.

    Args:
        job: what to time.
        one_core: whether this process was kept on one core, for the report.
    """
    listed = None if job.pairs is None else read_pairs(job.pairs)
    source = _open_pictures(job.pictures)
    chosen, without = _chosen(source, listed)
    options = DetectorOptions(max_side_px=job.max_side_px)
    found = ModelStore().resolve(job.detector, "detection").path
    pipeline = Pipeline(
        open_detector(found, options=options, threads=1),
        open_embedder(job.model, input_spec=job.input_spec, threads=1),
        job.flip,
    )
    data = [(source.key(index), source.encoded(index)) for index in chosen]
    taken = run_passes(pipeline, data, passes=job.passes, progress=job.progress)
    faces = _faces(pipeline, source, chosen, taken)
    kept = _kept(listed, {key for key, _ in data})
    return {
        **_head(faces, listed, without),
        "detector": found.name,
        "max_side_px": job.max_side_px,
        **_times(taken),
        "budgets": budget_figures(faces, kept, taken, budgets_ms=sorted(set(job.budgets_ms))),
        "passes": job.passes,
        "threads": 1,
        "one_core": one_core,
        "flip": job.flip,
        "timed": "decoding, detection, alignment and embedding of one face, one picture at a time",
        "not_timed": "opening, reading files, one warm-up picture",
        "peak_memory_mib": peak_memory_mib(),
    }


def run_passes(
    pipeline: Pipeline, pictures: Sequence[tuple[str, bytes]], *, passes: int, progress: bool
) -> Passes:
    """Send every picture through the pipeline, so many times.

    Args:
        pipeline: opened with one thread.
        pictures: (key, encoded bytes).
        passes: at least one.
        progress: show progress on stderr.
    """
    seconds = np.zeros((passes, len(pictures), len(STAGES)))
    dim = pipeline.embedder.contract.dim
    embeddings = np.zeros((len(pictures), dim), np.float32)
    reasons: list[str | None] = [None] * len(pictures)
    for name, data in pictures[:1]:
        _one(pipeline, name, data)
    with Progress("FRUITS", passes * len(pictures), enabled=progress) as shown:
        for turn in range(passes):
            for row, (name, data) in enumerate(pictures):
                seconds[turn, row], answer = _one(pipeline, name, data)
                if isinstance(answer, str):
                    reasons[row] = answer
                else:
                    embeddings[row] = answer
                shown.advance()
    return Passes(seconds, embeddings, tuple(reasons))


def central_face(found: Detections, height: int, width: int) -> int:
    """Row of the face of largest ``area - 2 * distance²`` to the middle of the picture, in px²."""
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    away = middle - np.array([width / 2, height / 2], dtype=np.float32)
    return int(np.argmax(sides.prod(axis=1) - 2 * (away**2).sum(axis=1)))


def _one(
    pipeline: Pipeline, name: str, data: bytes
) -> tuple[npt.NDArray[np.float64], FloatArray | str]:
    """Seconds of each stage, and the face's unit embedding or the reason there is none."""
    marks = [time.perf_counter()]

    def done(answer: FloatArray | str) -> tuple[npt.NDArray[np.float64], FloatArray | str]:
        marks.append(time.perf_counter())
        spent = np.zeros(len(STAGES))
        spent[: len(marks) - 1] = np.diff(marks)
        return spent, answer

    try:
        image = decode_image(data, name=name)
    except ImageError as error:
        return done(str(error))
    marks.append(time.perf_counter())
    (found,) = pipeline.detector.detect([image])
    if not len(found):
        return done(f"{name}: no face was found")
    marks.append(time.perf_counter())
    row = central_face(found, *image.shape[:2])
    try:
        crop = align(image, found.landmarks[row], pipeline.embedder.input_spec)
    except ValueError as error:
        return done(f"{name}: its face cannot be aligned: {error}")
    marks.append(time.perf_counter())
    (answer,) = embed_crops(pipeline.embedder, [crop], flip=pipeline.flip)
    if answer.vector is None:
        return done(f"{name}: {answer.reason}")
    return done(answer.vector)


def _open_pictures(pictures: str) -> StoredFaces:
    source = open_faces(pictures)
    if not isinstance(source, StoredFaces):
        raise DataError(f"{source.name}: FRUITS times photographs, a folder or zip of them")
    return source


def _chosen(source: StoredFaces, listed: PairList | None) -> tuple[list[int], int]:
    """The pictures to time, and the pairs that are left out since a picture is not there."""
    if listed is None:
        return list(range(len(source))), 0
    place = {source.key(index): index for index in range(len(source))}
    whole = [pair for pair in listed.pairs if pair.a in place and pair.b in place]
    if not whole:
        first = listed.pairs[0]
        raise DataError(
            f"{listed.name}: none of its pairs has both pictures in {source.name}; the first is "
            f"{first.a!r} with {first.b!r}"
        )
    keys = {key for pair in whole for key in (pair.a, pair.b)}
    return sorted(place[key] for key in keys), len(listed.pairs) - len(whole)


def _kept(listed: PairList | None, keys: set[str]) -> PairList | None:
    if listed is None:
        return None
    pairs = tuple(pair for pair in listed.pairs if pair.a in keys and pair.b in keys)
    return PairList(listed.name, pairs)


def _faces(
    pipeline: Pipeline, source: StoredFaces, chosen: Sequence[int], taken: Passes
) -> EmbeddedFaces:
    """All pictures, those without a face among them as zero rows and as failures."""
    return EmbeddedFaces(
        embeddings=taken.embeddings,
        keys=tuple(source.key(index) for index in chosen),
        identities=tuple(source.identity(index) for index in chosen),
        failures=tuple(
            Failure(source.key(index), reason)
            for index, reason in zip(chosen, taken.reasons, strict=True)
            if reason is not None
        ),
        contract=pipeline.embedder.contract,
        input_spec_source=getattr(pipeline.embedder, "input_spec_source", None),
        source_name=source.name,
        source_digest=source.digest(),
        flip=pipeline.flip,
        seconds=float(taken.seconds.sum()),
    )


def _head(faces: EmbeddedFaces, listed: PairList | None, without: int) -> Report:
    warnings = []
    if listed is None:
        warnings.append("no pair list was given, so no accuracy was measured")
    if without:
        warnings.append(
            f"{without} of {len(listed.pairs) if listed else 0} pairs are left out: a picture of "
            f"theirs is not in {faces.source_name}"
        )
    return {
        "model": faces.contract.model_id,
        "contract_id": faces.contract.contract_id,
        "protocol": "FRUITS",
        "data": faces.source_name,
        "data_digest": faces.source_digest,
        "pair_list": None if listed is None else listed.name,
        "n_images": len(faces.keys),
        "n_without_embedding": len(faces.failures),
        "failures": [{"name": f.name, "reason": f.reason} for f in faces.failures],
        "warnings": warnings,
    }


def _times(taken: Passes) -> Report:
    """Each stage, and the whole with and without decoding, of pictures that got an embedding."""
    whole = np.array([reason is None for reason in taken.reasons])
    if not whole.any():
        first = taken.reasons[0]
        raise NoFaceFound(f"none of {len(whole)} pictures could be embedded, the first: {first}")
    rows = taken.seconds[:, whole].reshape(-1, len(STAGES))
    return {
        "stages": {name: timing(rows[:, column]) for column, name in enumerate(STAGES)},
        "whole": {
            "decode excluded": timing(rows[:, 1:].sum(axis=1)),
            "decode included": timing(rows.sum(axis=1)),
        },
    }
