"""A photograph in, faces out: detect, align, embed, and say how good each face is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from crossface.core.card import ThresholdCard
from crossface.core.contract import EmbeddingContract
from crossface.core.errors import ImageError, UsageError
from crossface.core.geometry import align
from crossface.core.images import DEFAULT_LIMITS, ImageLimits, decode_image
from crossface.core.protocols import Embedder
from crossface.core.types import Box, Face, Failure, Pose, UInt8Image
from crossface.core.weights import DEFAULT_MODEL
from crossface.pipeline.detectors import Detections, Detector
from crossface.pipeline.embedding import Embedded, embed_crops
from crossface.pipeline.flow import Flow, Prepared
from crossface.pipeline.liveness import Liveness
from crossface.pipeline.networks import NetworkOptions, Networks, open_networks
from crossface.pipeline.quality import QualityMeter
from crossface.pipeline.runtimes.sessions import available_cores

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_SIDE_PX = 32_766
"""OpenCV's warps take no longer side."""

CPU_BATCH, DEVICE_BATCH = 2, 8
"""Faces embedded at once by ``get_many`` where nothing else is said."""

_Ready = Prepared[UInt8Image, Embedded, "list[Face] | Failure"]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A face before its embedding; ``crop`` is None where none is to be embedded."""

    face: Face
    crop: UInt8Image | None
    name: str


class FaceAnalysis:
    """Finds the faces of pictures and embeds them.

    ``get`` answers one picture as fast as it can: the networks use all threads. ``get_many``
    answers many: every thread takes pictures of its own, and faces are embedded in batches across
    pictures. Both give the same faces.

    Args:
        model: the recogniser: the one in this package by default, an ONNX file, a name of the
            model store, an InsightFace pack ("buffalo_s"), any ``Embedder``, or None to find
            faces only.
        detector: an ONNX file, a name of the model store or any ``Detector``; by default that of
            the pack where ``model`` is one, else the one in this package (docs/detector.md says
            how good it is). Objects that you made are called by one thread at a time.
        quality: whether each face gets a quality and a head pose, or the ``QualityMeter`` to use.
        liveness: MiniFASNet files, a table of files and crop scales, or a ``Liveness``.
        flip: add the mirror image's embedding, as evaluation does; twice the time.
        threads: the cores this process may use by default.
        batch_size: faces embedded at once by ``get_many``; by default 2 on a CPU, whose caches
            the features of more would leave, and 8 on other devices.
        options: how the files are opened: runtime and device, detector thresholds, what a file
            does not say of itself.
        limits: bytes and pixels above which a picture is refused.

    Attributes:
        threads: of one picture, or as many pictures at a time.
        flip: whether the mirror image's embedding is added.

    Raises:
        CrossfaceError: naming what cannot be opened, and why.
    """

    def __init__(
        self,
        model: str | Path | Embedder | None = DEFAULT_MODEL,
        detector: str | Path | Detector | None = None,
        *,
        quality: bool | QualityMeter = True,
        liveness: Liveness | Sequence[str | Path] | Mapping[str | Path, float] | None = None,
        flip: bool = False,
        threads: int | None = None,
        batch_size: int | None = None,
        options: NetworkOptions | None = None,
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> None:
        if any(number is not None and number < 1 for number in (batch_size, threads)):
            raise ValueError(f"batch_size and threads must be >= 1, got {batch_size}, {threads}")
        self.threads = threads or available_cores()
        self.flip = flip
        self._limits = limits
        chosen = options or NetworkOptions()
        self._batch_size = batch_size or (CPU_BATCH if chosen.device == "cpu" else DEVICE_BATCH)
        self._one, self._many = open_networks(model, detector, chosen, self.threads)
        self._meter = _meter(quality)
        if liveness is None or isinstance(liveness, Liveness):
            self._liveness = liveness
        else:
            self._liveness = Liveness(liveness)

    @property
    def embedder(self) -> Embedder:
        """The recogniser.

        Raises:
            UsageError: if this analysis only finds faces.
        """
        if self._one.embedder is None:
            raise UsageError("this analysis has no recogniser: it was made with model=None")
        return self._one.embedder

    @property
    def contract(self) -> EmbeddingContract:
        """Which model the embeddings come from, and the space they live in."""
        return self.embedder.contract

    def follow_card(self) -> ThresholdCard | None:
        """Embed as the model's threshold card was measured, and return the card.

        A card measured with the mirror image turns ``flip`` on; one measured without it says
        nothing about an analysis that was made with ``flip``, so that there is none then.
        """
        card: ThresholdCard | None = getattr(self.embedder, "threshold_card", None)
        if card is None or (self.flip and not card.flip):
            return None
        self.flip = card.flip
        return card

    def get(
        self,
        image: str | Path | bytes | Image | npt.NDArray[np.uint8],
        *,
        channel_order: Literal["rgb", "bgr"] = "rgb",
        name: str | None = None,
    ) -> list[Face]:
        """The faces of one picture, best detection first; a face that failed says so itself.

        Args:
            image: a path, encoded bytes, a PIL image or an (H, W, 3) uint8 array.
            channel_order: of an array: "bgr" for pictures read by OpenCV.
            name: what to call the picture in errors.

        Raises:
            ImageError: a picture that cannot be decoded, or is too large.
        """
        picture = self._decode(image, channel_order, name)
        found = self._find(picture, self._one, name or _name_of(image, None))
        parts = [entry.crop for entry in found if entry.crop is not None]
        return _with_embeddings(found, self._embed(self._one, parts))

    def get_many(
        self,
        images: Iterable[str | Path | bytes | Image | npt.NDArray[np.uint8]],
        *,
        channel_order: Literal["rgb", "bgr"] = "rgb",
    ) -> Iterator[list[Face] | Failure]:
        """The faces of many pictures, in their order.

        Pictures are read ahead, a bounded number of them, so a generator of any length will do.

        Args:
            images: see ``get``.
            channel_order: of arrays.

        Yields:
            The faces of a picture (empty where it has none), or a ``Failure`` with its reason.
        """

        def prepare(entry: tuple[int, Any]) -> _Ready:
            return self._prepare(entry[1], _name_of(entry[1], entry[0]), channel_order)

        def finish(crops: list[UInt8Image]) -> list[Embedded]:
            return self._embed(self._many, crops)

        flow: Flow[tuple[int, Any], UInt8Image, Embedded, list[Face] | Failure]
        flow = Flow(prepare, finish, workers=self.threads, batch=self._batch_size)
        return flow.run(enumerate(images, start=1))

    def _prepare(self, image: Any, name: str, channel_order: Literal["rgb", "bgr"]) -> _Ready:  # noqa: ANN401
        try:
            picture = self._decode(image, channel_order, name)
        except ImageError as error:
            failure = Failure(name, str(error))
            return Prepared([], lambda _: failure)
        found = self._find(picture, self._many, name)
        parts = [entry.crop for entry in found if entry.crop is not None]
        light = [entry if entry.crop is None else replace(entry, crop=_GONE) for entry in found]
        return Prepared(parts, lambda embedded: _with_embeddings(light, embedded))

    def _decode(
        self,
        image: Any,  # noqa: ANN401  # checked by decode_image
        channel_order: Literal["rgb", "bgr"],
        name: str | None,
    ) -> UInt8Image:
        picture = decode_image(image, name=name, limits=self._limits, channel_order=channel_order)
        height, width = picture.shape[:2]
        if max(height, width) > MAX_SIDE_PX or height * width > self._limits.max_pixels:
            raise ImageError(
                f"{name or 'the image'}: expected sides of at most {MAX_SIDE_PX} and at most "
                f"{self._limits.max_pixels} pixels, got {width} x {height}"
            )
        return picture

    def _find(self, picture: UInt8Image, networks: Networks, name: str) -> list[_Found]:
        (found,) = networks.detector.detect([picture])
        return [
            self._describe(
                picture, networks, found.take(np.array([row])), f"face {row + 1} of {name}"
            )
            for row in range(len(found))
        ]

    def _describe(
        self,
        picture: UInt8Image,
        networks: Networks,
        found: Detections,
        name: str,
    ) -> _Found:
        """Crop, quality and liveness of one face, while its picture is at hand."""
        box = Box(*(float(edge) for edge in found.boxes[0]))
        landmarks, told = found.landmarks[0], None
        if found.poses is not None:
            told = Pose(*(float(angle) for angle in found.poses[0]))
        face = Face(bbox=box, kps_px=landmarks, det_score=float(found.scores[0]), pose=told)
        crop, known_crop = None, None
        try:
            if networks.embedder is not None:
                spec = networks.embedder.input_spec
                crop = align(picture, landmarks, spec)
                known_crop = crop if spec.is_arcface_112 else None
            if self._meter is not None:
                quality, parts, pose = self._meter.measure(
                    picture, box, landmarks, known_crop, told
                )
                face = replace(face, quality=quality, quality_parts=parts, pose=pose)
        except ValueError as error:
            failure = Failure(name, f"it cannot be aligned: {error}")
            return _Found(replace(face, failure=failure), None, name)
        if self._liveness is not None:
            face = replace(face, liveness=self._liveness.score(picture, box))
        return _Found(face, crop, name)

    def _embed(self, networks: Networks, crops: Sequence[UInt8Image]) -> list[Embedded]:
        if networks.embedder is None:
            return []
        return embed_crops(networks.embedder, crops, flip=self.flip)


_GONE: UInt8Image = np.zeros((0, 0, 3), dtype=np.uint8)
"""Stands for a crop that has gone to the recogniser: waiting faces hold no pixels."""


def _with_embeddings(found: Sequence[_Found], embedded: Sequence[Embedded]) -> list[Face]:
    """Faces with their embeddings; those without a crop have none waiting."""
    answers = iter(embedded)
    faces = []
    for entry in found:
        answer = next(answers, None) if entry.crop is not None else None
        if answer is None:
            faces.append(entry.face)
        elif answer.reason is not None:
            faces.append(replace(entry.face, failure=Failure(entry.name, answer.reason)))
        else:
            faces.append(replace(entry.face, embedding=answer.vector, raw_norm=answer.raw_norm))
    return faces


def _meter(quality: bool | QualityMeter) -> QualityMeter | None:
    if isinstance(quality, QualityMeter):
        return quality
    return QualityMeter() if quality else None


def _name_of(image: object, number: int | None) -> str:
    """What to call a picture: never a whole path."""
    if isinstance(image, str | Path):
        return Path(image).name
    return "the picture" if number is None else f"picture {number}"
