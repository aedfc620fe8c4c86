"""Pictures of one person each: the face that is meant, or the reason why none can be taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from crossface.core.errors import CrossfaceError, ImageError, NoFaceFound
from crossface.core.types import Face, Failure
from crossface.pipeline.analysis import FaceAnalysis

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = str | Path | bytes | Image | npt.NDArray[np.uint8]

BYSTANDER_WIDTH = 0.5
"""A face less wide than this share of the widest stands in the background and is passed over."""


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """The face of a picture that shows one person; ``others`` counts people in the background."""

    name: str
    face: Face
    others: int = 0


def portraits(
    analysis: FaceAnalysis,
    pictures: Iterable[Picture],
    *,
    largest: bool = False,
    min_quality: float | None = None,
) -> Iterator[Portrait | CrossfaceError]:
    """The one face of each picture, in their order, or the error, not raised, that says why none.

    A picture with several people in front does not say who is meant, so it is refused.

    Args:
        analysis: finds and embeds.
        pictures: paths, encoded bytes, PIL images or (H, W, 3) uint8 RGB arrays.
        largest: take the largest face of several instead of refusing the picture.
        min_quality: the quality below which a face is refused; None asks for none.

    Yields:
        a portrait, or an ``ImageError`` (not readable) or ``NoFaceFound`` (no usable face).
    """
    names: list[str] = []

    def noted() -> Iterator[Picture]:
        for number, picture in enumerate(pictures, start=1):
            path = isinstance(picture, str | Path)
            names.append(Path(picture).name if path else f"picture {number}")  # type: ignore[arg-type]
            yield picture

    for number, found in enumerate(analysis.get_many(noted())):
        name, names[number] = names[number], ""
        if isinstance(found, Failure):
            yield ImageError(found.reason)
            continue
        try:
            yield portrait(name, found, largest=largest, min_quality=min_quality)
        except NoFaceFound as error:
            yield error


def portrait(
    name: str, faces: list[Face], *, largest: bool = False, min_quality: float | None = None
) -> Portrait:
    """The face that is meant among those of one picture; see ``portraits``.

    Raises:
        NoFaceFound: no face, several people in front, or a face that cannot be used.
    """
    if not faces:
        raise NoFaceFound(f"{name}: no face was found")
    best = max(faces, key=lambda face: face.prominence)
    if not largest:
        front = [f for f in faces if f.bbox.width >= BYSTANDER_WIDTH * best.bbox.width]
        if len(front) > 1:
            raise NoFaceFound(
                f"{name}: expected one person, {len(front)} faces are in front; crop the picture, "
                "or ask for the largest"
            )
    if best.embedding is None:
        reason = best.failure.reason if best.failure else "no recogniser ran"
        raise NoFaceFound(f"{name}: its face cannot be used: {reason}")
    if min_quality is not None and (best.quality is None or best.quality < min_quality):
        told = "no quality" if best.quality is None else f"quality {best.quality:.2f}"
        raise NoFaceFound(f"{name}: its face has {told}, at least {min_quality:.2f} is asked for")
    return Portrait(name, best, len(faces) - 1)
