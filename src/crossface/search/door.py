"""What may enter a gallery: names, unit vectors, faces good enough."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from crossface.core.errors import GalleryError
from crossface.core.types import Face, FloatArray
from crossface.core.vectors import check_unit
from crossface.search.people import NewTemplate

_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True, eq=False)
class Enrolling:
    """One person to enrol; see ``Gallery.enroll``."""

    name: str
    faces: FloatArray | Sequence[Face]
    quality: float | Sequence[float] | None = None
    consent: str | None = None
    retain_until: date | None = None
    note: str | Sequence[str] | None = None


def check_name(name: str) -> str:
    """The name in Unicode's composed form.

    Raises:
        GalleryError: if it is empty, too long or holds control characters.
    """
    composed = unicodedata.normalize("NFC", name).strip()
    if not composed or len(composed) > _LONGEST_NAME:
        raise GalleryError(f"a name has 1 to {_LONGEST_NAME} characters, got {len(composed)}")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in composed):
        raise GalleryError(f"the name {composed!r} holds control characters")
    return composed


def as_vectors(faces: FloatArray | Sequence[Face], dim: int) -> FloatArray:
    """(N, dim) float32 unit rows of an array or of faces.

    Raises:
        GalleryError: if a face has no embedding, or rows are no unit vectors of this length.
    """
    if isinstance(faces, np.ndarray):
        rows = faces
    else:
        for position, face in enumerate(faces, start=1):
            if face.embedding is None:
                raise GalleryError(
                    f"face {position} of {len(faces)} has no embedding: no recogniser ran on it"
                )
        rows = np.array([face.embedding for face in faces], dtype=np.float32)
        rows = rows.reshape(len(faces), -1)
    try:
        return check_unit(rows, dim=dim)
    except ValueError as error:
        raise GalleryError(str(error)) from None


def prepare(person: Enrolling, dim: int, min_quality: float | None) -> list[NewTemplate]:
    """Templates of one person, refused as a whole where one face may not enter.

    Raises:
        GalleryError: naming the person, the face and the reason.
    """
    try:
        vectors = as_vectors(person.faces, dim)
        if not len(vectors):
            raise GalleryError("no face was given")
        qualities = _qualities(person, len(vectors))
        notes = _notes(person.note, len(vectors))
        if min_quality is not None:
            for position, quality in enumerate(qualities, start=1):
                _check_quality(quality, min_quality, f"face {position} of {len(vectors)}")
    except GalleryError as error:
        raise GalleryError(f"{person.name!r} was not enrolled: {error}") from None
    return [
        NewTemplate(vector, quality, note)
        for vector, quality, note in zip(vectors, qualities, notes, strict=True)
    ]


def _qualities(person: Enrolling, count: int) -> list[float | None]:
    given = person.quality
    if given is None:
        if isinstance(person.faces, np.ndarray):
            return [None] * count
        return [face.quality for face in person.faces]
    values = [given] * count if isinstance(given, int | float) else list(given)
    if len(values) != count:
        raise GalleryError(f"{count} faces need as many qualities, got {len(values)}")
    if not np.isfinite(values).all():
        raise GalleryError("a quality is not a finite number")
    return [float(value) for value in values]


def _notes(given: str | Sequence[str] | None, count: int) -> Sequence[str | None]:
    if given is None or isinstance(given, str):
        return [given] * count
    if len(given) != count:
        raise GalleryError(f"{count} faces need as many notes, got {len(given)}")
    return given


def _check_quality(quality: float | None, least: float, which: str) -> None:
    if quality is None:
        raise GalleryError(f"{which} has no quality, and this gallery asks for {least:g}")
    if quality < least:
        raise GalleryError(f"{which} has quality {quality:.3g}, below the {least:g} asked for")
