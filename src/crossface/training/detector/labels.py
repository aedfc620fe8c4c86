"""What permissive detectors and a pose network say about aligned crops, asked once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossface.core.errors import DataError, WeightsError
from crossface.core.files import sha256_file
from crossface.core.progress import Progress
from crossface.core.protocols import FaceSource
from crossface.core.seeds import generator
from crossface.core.template import ARCFACE_POINTS_112
from crossface.core.types import Box, FloatArray, UInt8Image
from crossface.core.weights import find_by_sha256
from crossface.data.scenes import CropLabels
from crossface.pipeline.detectors import DetectorOptions, open_detector
from crossface.pipeline.detectors.base import OnnxDetector
from crossface.pipeline.pose import FsaNet

MARGIN_PX = 40
"""Grey border around a crop: detectors want to see where a face ends."""

AGREE_PX = 10.0
"""Landmarks of two detectors, and of the template, farther apart than this are no label."""

_GREY = 110


class CropTeacher:
    """Detectors whose labels are averaged, and FSA-Net for the head pose.

    Args:
        detectors: ONNX files; a crop is left out unless all of them find the same face.
        pose: FSA-Net files, averaged.

    Raises:
        WeightsError: if a file may not be used commercially: what is learnt from it may not either.
    """

    def __init__(self, detectors: Sequence[str | Path], pose: Sequence[str | Path]) -> None:
        if not detectors:
            raise WeightsError("labels of crops need at least one detector, got none")
        for path in (*detectors, *pose):
            known = find_by_sha256(sha256_file(path)) if Path(path).is_file() else None
            if known is not None and known.non_commercial:
                raise WeightsError(
                    f"{Path(path).name}: may not be used commercially ({known.licence}); "
                    "a packaged detector learns from permissive ones only"
                )
        options = DetectorOptions(min_score=0.3, max_faces=1)
        self._detectors: list[OnnxDetector] = [
            open_detector(path, options=options, threads=1) for path in detectors
        ]
        self._pose = FsaNet(pose)
        self.digest = "+".join(sha256_file(path)[:16] for path in (*detectors, *pose))

    def look(self, crop: UInt8Image) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Points (5, 2), box (4,) and angles (3,) of the face of a crop; None if it is unsure."""
        wide = np.full((112 + 2 * MARGIN_PX, 112 + 2 * MARGIN_PX, 3), _GREY, np.uint8)
        wide[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX] = crop
        points, boxes = [], []
        for detector in self._detectors:
            (found,) = detector.detect([wide])
            if not len(found):
                return None
            points.append(found.landmarks[0] - MARGIN_PX)
            boxes.append(found.boxes[0] - MARGIN_PX)
        said = np.stack([*points, ARCFACE_POINTS_112.astype(np.float32)])
        apart = np.linalg.norm(said[:, None] - said[None], axis=-1)
        if apart[:-1, :-1].mean(axis=2).max() > AGREE_PX or apart.mean(axis=2).max() > 2 * AGREE_PX:
            return None
        box = np.mean(boxes, axis=0)
        pose = self._pose.estimate(crop, Box(*(float(edge) for edge in box)))
        angles = np.array([pose.yaw_deg, pose.pitch_deg, pose.roll_deg], np.float32)
        return np.mean(points, axis=0), box, angles


def label_crops(
    source: FaceSource, teacher: CropTeacher, *, count: int | None, seed: int, progress: bool = True
) -> CropLabels:
    """Ask a teacher about a random part of a set.

    Args:
        source: aligned crops.
        teacher: who is asked.
        count: how many crops at most; all by default.
        seed: which ones.
        progress: show progress on stderr.

    Raises:
        DataError: if no crop has a face that the teachers agree about.
    """
    asked = min(count or len(source), len(source))
    order = generator(seed, "labelled crops").permutation(len(source))[:asked]
    kept: list[tuple[int, tuple[FloatArray, FloatArray, FloatArray]]] = []
    with Progress("label", asked, enabled=progress) as bar:
        for index in np.sort(order).tolist():
            said = teacher.look(source.read(index))
            if said is not None:
                kept.append((index, said))
            bar.advance()
    if not kept:
        raise DataError(f"{source.name}: the detectors agree about none of {asked} crops")
    points, boxes, angles = (
        np.stack(part).astype(np.float32) for part in zip(*(k[1] for k in kept), strict=True)
    )
    rows = np.array([k[0] for k in kept], dtype=np.int64)
    return CropLabels(source.digest(), teacher.digest, rows, points, boxes, angles, asked)
