"""Faces in a NumPy archive, whole or absent, readable without pickles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossface.core.contract import EmbeddingContract
from crossface.core.files import atomic_path
from crossface.core.types import Face, Failure


def write_faces(
    path: str | Path,
    names: Sequence[str],
    results: Sequence[list[Face] | Failure],
    contract: EmbeddingContract,
) -> int:
    """Write every face that has an embedding; how many there were.

    Args:
        path: the ``.npz`` file.
        names: of the pictures.
        results: of ``FaceAnalysis.get_many``.
        contract: of the recogniser.

    The arrays, a row per face: ``embeddings`` (N, D) float32 unit rows, ``raw_norm`` (N,),
    ``image`` (N,) text, ``bbox_xyxy_px`` (N, 4), ``kps_px`` (N, 5, 2), ``det_score`` (N,),
    ``quality`` (N,), NaN where it was not measured; and ``contract``, JSON.
    """
    rows = [
        (name, face)
        for name, result in zip(names, results, strict=True)
        if not isinstance(result, Failure)
        for face in result
        if face.embedding is not None
    ]
    faces = [face for _, face in rows]
    count = len(faces)
    vectors = np.array([face.embedding for face in faces], dtype=np.float32)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            embeddings=vectors.reshape(count, contract.dim),
            raw_norm=np.array([face.raw_norm for face in faces], dtype=np.float32),
            image=np.array([name for name, _ in rows], dtype=np.str_),
            bbox_xyxy_px=np.array([f.bbox.as_xyxy() for f in faces], np.float32).reshape(count, 4),
            kps_px=np.array([f.kps_px for f in faces], np.float32).reshape(count, 5, 2),
            det_score=np.array([face.det_score for face in faces], dtype=np.float32),
            quality=np.array(
                [np.nan if face.quality is None else face.quality for face in faces], np.float32
            ),
            contract=np.array(contract.model_dump_json()),
        )
    return count
