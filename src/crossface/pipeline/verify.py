"""Are these two pictures of the same person? A decision with the error rate it stands for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crossface.core.card import OperatingPoint, ThresholdCard, operating_point
from crossface.core.contract import EmbeddingContract
from crossface.core.errors import NoFaceFound, WeightsError
from crossface.core.protocols import Embedder
from crossface.core.types import Face, Verification
from crossface.core.weights import DEFAULT_MODEL
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.detectors import Detector

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_FMR = 1e-3
"""False match rate that is asked for where nothing else is said."""


def verify(
    a: str | Path | bytes | Image | npt.NDArray[np.uint8],
    b: str | Path | bytes | Image | npt.NDArray[np.uint8],
    *,
    model: str | Path | Embedder | FaceAnalysis = DEFAULT_MODEL,
    detector: str | Path | Detector | None = None,
    threshold: float | None = None,
    fmr: float = DEFAULT_FMR,
    threads: int | None = None,
) -> Verification:
    """Compare the largest face of two pictures.

    The threshold is that of the model's threshold card; without a card, or with one that does not
    promise the FMR that is asked for, no verdict is given unless ``threshold`` is.

    Args:
        a: a picture: path, encoded bytes, PIL image or (H, W, 3) uint8 RGB array.
        b: another.
        model: see ``FaceAnalysis``; or a ``FaceAnalysis``, which is then used as it is.
        detector: see ``FaceAnalysis``.
        threshold: accept when the cosine is at least this; wins over the card.
        fmr: the largest false match rate that is wanted of the card.
        threads: CPU threads.

    Raises:
        ImageError: a picture that cannot be decoded.
        NoFaceFound: a picture without a usable face.
        CrossfaceError: a model that cannot be opened.
        ValueError: a threshold outside [-1, 1] or an fmr outside (0, 1).
    """
    if threshold is not None and not -1 <= threshold <= 1:
        raise ValueError(f"a threshold is a cosine in [-1, 1], got {threshold}")
    if not 0 < fmr < 1:
        raise ValueError(f"fmr must lie between 0 and 1, got {fmr}")
    analysis = (
        model
        if isinstance(model, FaceAnalysis)
        else FaceAnalysis(model, detector, quality=False, threads=threads)
    )
    card = getattr(analysis.embedder, "threshold_card", None)
    if not isinstance(model, FaceAnalysis):
        analysis.follow_card()
    first, first_notes = largest_face(analysis, a, "the first picture")
    second, second_notes = largest_face(analysis, b, "the second picture")
    similarity = _cosine(first, second)
    notes = [*first_notes, *second_notes]
    if threshold is not None:
        return Verification(similarity, threshold, None, similarity >= threshold, tuple(notes))
    row, why = _row(card, analysis.contract, fmr, flip=analysis.flip)
    if row is None:
        return Verification(similarity, None, None, None, (*notes, f"uncalibrated: {why}"))
    if row.extrapolated:
        notes.append("the threshold comes from a fitted tail, beyond what was counted")
    rate = row.fmr_target if row.fmr.value is None else row.fmr.value
    return Verification(similarity, row.threshold, rate, similarity >= row.threshold, tuple(notes))


def largest_face(
    analysis: FaceAnalysis,
    image: str | Path | bytes | Image | npt.NDArray[np.uint8],
    name: str,
) -> tuple[Face, list[str]]:
    """The largest face of a picture with its embedding, and a note where it was not the only one.

    Raises:
        ImageError: a picture that cannot be decoded.
        NoFaceFound: no face, or the largest could not be embedded.
    """
    label = Path(image).name if isinstance(image, str | Path) else name
    faces = analysis.get(image, name=label)
    if not faces:
        raise NoFaceFound(f"{label}: no face was found")
    best = max(faces, key=lambda face: face.prominence)
    if best.failure is not None or best.embedding is None:
        reason = best.failure.reason if best.failure else "no recogniser ran"
        raise NoFaceFound(f"{label}: its largest face cannot be used: {reason}")
    if len(faces) == 1:
        return best, []
    return best, [f"{label}: the largest of {len(faces)} faces was taken"]


def _cosine(a: Face, b: Face) -> float:
    if a.embedding is None or b.embedding is None:
        raise WeightsError("a face without an embedding cannot be compared")
    return float(np.clip(a.embedding.astype(np.float64) @ b.embedding, -1.0, 1.0))


def _row(
    card: ThresholdCard | None, contract: EmbeddingContract, fmr: float, *, flip: bool
) -> tuple[OperatingPoint | None, str]:
    """The lowest threshold that promises the FMR, or why there is none."""
    if card is None:
        return None, "the model carries no threshold card; pass a threshold to get a verdict"
    if card.contract_id != contract.contract_id:
        return None, "the model's threshold card was measured with another model or input"
    if bool(getattr(card, "flip", flip)) != flip:
        return None, "the threshold card was measured with another use of the mirror image"
    row = operating_point(card, fmr=fmr)
    if row is None:
        return None, f"the threshold card supports no FMR of {fmr:g} or less"
    return row, ""
