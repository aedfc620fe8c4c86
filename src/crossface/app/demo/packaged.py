"""The demo's last step: what comes with the package, on drawn people and on any photograph."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crossface.core.errors import NoFaceFound
from crossface.core.images import decode_image
from crossface.core.types import Face, UInt8Image, Verification
from crossface.data.drawn import DrawnFaces
from crossface.photo_gallery import Gallery
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.verify import verify
from crossface.search.records import Identification

ENROLLED = 30
"""Drawn people in the demo's gallery, by one picture each."""

STRANGERS = 30
"""Drawn people who are not."""

_FOUND = 0.25  # mean landmark error in eye distances below which a face was found


@dataclass(frozen=True, slots=True)
class PhotoAnswer:
    """What was said of a photograph of the reader.

    Attributes:
        name: the file's.
        image: (H, W, 3) uint8 RGB.
        faces: found in it.
        said: of the faces in it, in a sentence.
    """

    name: str
    image: UInt8Image
    faces: list[Face]
    said: str


@dataclass(slots=True)
class Packaged:
    """What the packaged detector and recogniser came to.

    Attributes:
        pictures: drawn pictures that were looked at.
        found: of them, those whose face was found where it is.
        enrolled: people in the gallery.
        right, unknown, wrong: of their second pictures.
        strangers: pictures of people who are not in it.
        accepted: of them, those taken for somebody.
        threshold: cosine, of the model's own card.
        fpir: that it stands for.
        photos: the reader's.
    """

    pictures: int = 0
    found: int = 0
    enrolled: int = 0
    right: int = 0
    unknown: int = 0
    wrong: int = 0
    strangers: int = 0
    accepted: int = 0
    threshold: float | None = None
    fpir: float | None = None
    photos: list[PhotoAnswer] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values, photographs by name."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "photos"}
        photos = [{"name": p.name, "faces": len(p.faces), "said": p.said} for p in self.photos]
        return {**plain, "photos": photos}


def use_packaged(people: DrawnFaces, folder: Path, photos: Sequence[Path]) -> Packaged:
    """Find, enrol and identify drawn people, and say what is seen in photographs.

    Args:
        people: two pictures each or more; half of them, at most 30, are enrolled.
        folder: where the gallery is left.
        photos: the reader's own.

    Raises:
        ImageError: a photograph that cannot be read.
    """
    analysis = FaceAnalysis()
    result = Packaged()
    known = set()
    with Gallery.open(folder / "people.db", model=analysis) as gallery:
        for person in range(min(ENROLLED, people.identities // 2)):
            face = _face(analysis, people, person * people.per_identity, result)
            if face is not None:
                gallery.enroll(f"person {person}", [face])
                known.add(person)
        others = range(min(ENROLLED, people.identities // 2), people.identities)[:STRANGERS]
        for person in [*known, *others]:
            face = _face(analysis, people, person * people.per_identity + 1, result)
            if face is not None:
                _judge(gallery.identify(face), person, known, result)
    result.enrolled = len(known)
    result.photos = [_photo(analysis, photo) for photo in photos]
    return result


def _face(analysis: FaceAnalysis, people: DrawnFaces, index: int, result: Packaged) -> Face | None:
    """The face of a drawn picture, if it was found where it is."""
    drawn = people.picture(index)
    result.pictures += 1
    faces = [face for face in analysis.get(drawn.image) if face.embedding is not None]
    if not faces:
        return None
    best = max(faces, key=lambda face: face.prominence)
    eyes = float(np.linalg.norm(drawn.kps_px[1] - drawn.kps_px[0]))
    if float(np.linalg.norm(best.kps_px - drawn.kps_px, axis=1).mean()) > _FOUND * eyes:
        return None
    result.found += 1
    return best


def _judge(answer: Identification, person: int, known: set[int], result: Packaged) -> None:
    result.threshold, result.fpir = answer.threshold, answer.fpir
    best = answer.best
    if person not in known:
        result.strangers += 1
        result.accepted += best is not None
        return
    result.unknown += best is None
    result.right += best is not None and best.person == f"person {person}"
    result.wrong += best is not None and best.person != f"person {person}"


def _photo(analysis: FaceAnalysis, path: Path) -> PhotoAnswer:
    image = decode_image(path)
    faces = analysis.get(image, name=path.name)
    try:
        answer = verify(image, _damaged(image), model=analysis)
    except NoFaceFound as error:
        return PhotoAnswer(path.name, image, faces, str(error) if faces else "no face was found")
    count = "one face," if len(faces) == 1 else f"{len(faces)} faces, the largest is"
    return PhotoAnswer(path.name, image, faces, f"{count} {_told(answer)}")


def _damaged(image: UInt8Image) -> bytes:
    """Mirrored, three quarters as large, and through a JPEG of low quality."""
    photo = Image.fromarray(np.ascontiguousarray(image[:, ::-1]))
    small = photo.resize((max(1, photo.width * 3 // 4), max(1, photo.height * 3 // 4)))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=40)
    return stream.getvalue()


def _told(answer: Verification) -> str:
    against = "its mirrored, smaller, recompressed self"
    if answer.same is None:
        return f"similarity {answer.similarity:.2f} to {against}"
    said = "the same person as" if answer.same else "not recognised in"
    return f"{said} {against}: similarity {answer.similarity:.2f}, threshold {answer.threshold:.2f}"
