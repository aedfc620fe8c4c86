"""The public gallery: photographs as well as vectors. Wires ``pipeline`` and ``search``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from crossface.core.card import ThresholdCard
from crossface.core.contract import EmbeddingContract
from crossface.core.errors import CrossfaceError, UsageError
from crossface.core.protocols import Embedder
from crossface.core.types import Face, FloatArray
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.detectors import Detector
from crossface.pipeline.portraits import portrait, portraits
from crossface.search.gallery import Gallery as VectorGallery
from crossface.search.index import Group
from crossface.search.records import Enrolment, Identification

if TYPE_CHECKING:
    from crossface.pipeline.portraits import Picture


class Gallery(VectorGallery):
    """People in one file; told its model, it takes photographs as well as vectors.

    ``enroll`` and ``re_enroll`` take one picture or several, each of one person; ``identify``
    takes the largest face of a picture. Vectors and faces go on being taken as they are.
    """

    _analysis: FaceAnalysis | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        model: str | Path | Embedder | FaceAnalysis | None = None,
        detector: str | Path | Detector | None = None,
        contract: EmbeddingContract | None = None,
        key: bytes | str | Path | None = None,
        card: ThresholdCard | None = None,
        create: bool = True,
        min_quality: float | None = None,
        fpir: float = 0.01,
        backend: str = "exact",
        progress: bool = False,
        threads: int | None = None,
    ) -> Self:
        """Open a gallery, or make one; ``search.gallery.Gallery.open`` says more of each.

        Args:
            path: the file.
            model: a ``FaceAnalysis``, or what one is made from: an ONNX file, a name of the model
                store, an InsightFace pack, any ``Embedder``. Its own threshold card decides where
                no ``card`` is given.
            detector: see ``FaceAnalysis``.
            contract: instead of a model, where only vectors will be given.
            key: 32 secret bytes or their file; the environment's where None.
            card: the threshold card to decide by.
            create: make the gallery where the file does not exist.
            min_quality: least quality of a face that may be enrolled.
            fpir: the false positive identification rate that verdicts stand for.
            backend: the index.
            progress: show on stderr how far the first search is in building the index.
            threads: CPU threads.

        Raises:
            GalleryError: if the file cannot be opened, or the key is missing, needless or wrong.
            ContractMismatch: if it was enrolled with a model whose vectors cannot be compared.
            CrossfaceError: a model that cannot be opened.
        """
        if model is not None and contract is not None:
            raise UsageError("a gallery is opened with a model or with a contract, not with both")
        analysis = None
        if isinstance(model, FaceAnalysis):
            analysis = model
        elif model is not None:
            analysis = FaceAnalysis(model, detector, threads=threads)
        if analysis is not None:
            contract = analysis.contract
            card = card or analysis.follow_card()
        gallery = super().open(
            path,
            contract=contract,
            key=key,
            card=card,
            create=create,
            min_quality=min_quality,
            fpir=fpir,
            backend=backend,
            progress=progress,
        )
        gallery._analysis = analysis
        return gallery

    def enroll(
        self,
        name: str,
        faces: FloatArray | Sequence[Face] | Picture | Iterable[Picture],
        *,
        quality: float | Sequence[float] | None = None,
        consent: str | None = None,
        retain_until: date | None = None,
        note: str | Sequence[str] | None = None,
    ) -> Enrolment:
        """Enrol vectors, faces or photographs of a person; see ``search.gallery.Gallery.enroll``.

        The names of photographs become the notes of their templates where none is given.

        Raises:
            NoFaceFound: a photograph without exactly one usable face in front.
            ImageError: a photograph that cannot be read. Nothing is then enrolled.
        """
        known, names = self._faces(faces)
        return super().enroll(
            name,
            known,
            quality=quality,
            consent=consent,
            retain_until=retain_until,
            note=note or names,
        )

    def re_enroll(
        self,
        name: str,
        faces: FloatArray | Sequence[Face] | Picture | Iterable[Picture],
        *,
        quality: float | Sequence[float] | None = None,
        note: str | Sequence[str] | None = None,
    ) -> Enrolment:
        """Replace all templates of a person; see ``enroll`` and the base class."""
        known, names = self._faces(faces)
        return super().re_enroll(name, known, quality=quality, note=note or names)

    def identify(
        self,
        face: FloatArray | Face | Picture,
        *,
        top: int = 5,
        threshold: float | None = None,
        group: Group = "max",
    ) -> Identification:
        """Who this vector, face or the largest face of this photograph is; see the base class.

        For everybody in a photograph: ``identify_many`` with the faces of ``FaceAnalysis.get``.

        Raises:
            NoFaceFound: a photograph without a usable face. ImageError: one that cannot be read.
        """
        if isinstance(face, Face) or _is_vectors(face):
            return super().identify(face, top=top, threshold=threshold, group=group)  # type: ignore[arg-type]
        name = Path(face).name if isinstance(face, str | Path) else "the picture"
        found = portrait(name, self._model().get(face, name=name), largest=True)  # type: ignore[arg-type]
        return super().identify(found.face, top=top, threshold=threshold, group=group)

    def _faces(
        self, given: FloatArray | Sequence[Face] | Picture | Iterable[Picture]
    ) -> tuple[FloatArray | Sequence[Face], list[str] | None]:
        """Vectors or faces, and the names of the photographs they came from."""
        if _is_vectors(given):
            return given, None  # type: ignore[return-value]
        single = isinstance(given, str | Path | bytes | np.ndarray) or hasattr(given, "convert")
        items: list[Picture | Face] = [given] if single else list(given)  # type: ignore[list-item, arg-type]
        faces = [item for item in items if isinstance(item, Face)]
        if len(faces) == len(items):
            return faces, None
        if faces:
            raise UsageError("give faces or photographs of a person, not both at once")
        found = list(portraits(self._model(), items, min_quality=self._min_quality))  # type: ignore[arg-type]
        for answer in found:
            if isinstance(answer, CrossfaceError):
                raise answer
        usable = [answer for answer in found if not isinstance(answer, CrossfaceError)]
        return [one.face for one in usable], [one.name for one in usable]

    def _model(self) -> FaceAnalysis:
        if self._analysis is None:
            raise UsageError(
                "this gallery was opened without a model, so it takes faces and vectors only; "
                "photographs need Gallery.open(..., model=..., detector=...)"
            )
        return self._analysis


def _is_vectors(given: object) -> bool:
    return isinstance(given, np.ndarray) and given.dtype != np.uint8
