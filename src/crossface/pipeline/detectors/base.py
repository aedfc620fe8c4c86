"""What all detectors share: letterbox, tensor, clipping, non-maximum suppression."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from crossface.core.errors import WeightsError
from crossface.core.types import FloatArray, UInt8Image
from crossface.pipeline.runtimes.sessions import Session, float_outputs

STRIDES = (8, 16, 32)
"""Pixels between neighbouring cells of the three maps that every detector here has."""

MAX_CANDIDATES = 5000
"""Candidates that enter non-maximum suppression, the best first."""

SAME_LANDMARK = 0.2
"""Landmarks of two faces nearer than this share of the better one's eye distance are one."""

_MAX_EXPONENT = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Faces of one picture, best score first.

    Attributes:
        boxes: (N, 4) float32 px: x1, y1, x2, y2, inside the picture.
        scores: (N,) float32 in [0, 1].
        landmarks: (N, 5, 2) float32 px: viewer's left eye, right eye, nose tip, left and right
            mouth corner; they may lie outside the picture.
        poses: (N, 3) float32 degrees: yaw, pitch, roll as in ``core.types.Pose``; None where the
            network does not tell them.
    """

    boxes: FloatArray
    scores: FloatArray
    landmarks: FloatArray
    poses: FloatArray | None = None

    @classmethod
    def empty(cls) -> Self:
        """No face."""
        zero = np.zeros((0, 4), np.float32)
        return cls(zero, zero[:, 0], np.zeros((0, 5, 2), np.float32))

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Detections:
        """The faces of these rows."""
        poses = None if self.poses is None else self.poses[rows]
        return Detections(self.boxes[rows], self.scores[rows], self.landmarks[rows], poses)


def joined(parts: Sequence[Detections]) -> Detections:
    """The faces of several passes over one picture, in their order."""
    if len(parts) == 1:
        return parts[0]
    poses = [part.poses for part in parts if part.poses is not None]
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.landmarks for part in parts]),
        np.concatenate(poses) if len(poses) == len(parts) else None,
    )


@runtime_checkable
class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, images: Sequence[UInt8Image]) -> list[Detections]:
        """Faces of each picture.

        Args:
            images: (H, W, 3) uint8 RGB each, of any size.
        """
        ...


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What a user may change.

    Attributes:
        min_score: least score of a face, in [0, 1]; the kind's own by default.
        max_overlap: intersection over union above which the worse of two boxes is dropped; the
            kind's own by default.
        max_side_px: larger pictures are scaled down to it; smaller ones are never enlarged.
        max_faces: the best so many; all by default.
    """

    min_score: float | None = None
    max_overlap: float | None = None
    max_side_px: int = 640
    max_faces: int | None = None

    def __post_init__(self) -> None:
        rates_fit = all(r is None or 0 < r < 1 for r in (self.min_score, self.max_overlap))
        if not rates_fit or self.max_side_px < STRIDES[-1] or (self.max_faces or 1) < 1:
            raise ValueError(
                "min_score and max_overlap lie between 0 and 1, max_side_px is at least "
                f"{STRIDES[-1]} and max_faces at least 1, got {self}"
            )


class OnnxDetector(ABC):
    """A detector in an ONNX file; a kind says its input and decodes its outputs."""

    channel_order: ClassVar[Literal["rgb", "bgr"]]
    mean: ClassVar[tuple[float, float, float]]
    std: ClassVar[float]
    own_min_score: ClassVar[float] = 0.5
    own_max_overlap: ClassVar[float] = 0.4
    look_again_px: int | None = None
    """Largest side of a second, smaller copy of a picture, where a kind knows no larger faces."""

    def __init__(self, session: Session, options: DetectorOptions | None = None) -> None:
        self.name = session.name
        self.options = options or DetectorOptions()
        self.min_score = self.options.min_score or self.own_min_score
        self.max_overlap = self.options.max_overlap or self.own_max_overlap
        self._session = session
        self._fixed_hw = _fixed_size(session)
        if not self._outputs_fit(session):
            widths = [port.shape[-1:] for port in session.outputs]
            raise WeightsError(
                f"{session.name}: its {len(widths)} outputs are not those of {type(self).__name__}"
            )

    @classmethod
    @abstractmethod
    def matches(cls, session: Session) -> bool:
        """Whether names and shapes of the outputs say that the file is of this kind."""

    @classmethod
    def _outputs_fit(cls, session: Session) -> bool:
        """Whether the outputs can be read as this kind's when a user says so."""
        return cls.matches(session)

    @abstractmethod
    def decode(self, outputs: list[FloatArray], size_hw: tuple[int, int]) -> Detections:
        """All candidates of one picture, in pixels of the network's input, unsorted.

        Args:
            outputs: of one run on one picture, in the graph's order.
            size_hw: height and width of the network's input.
        """

    def detect(self, images: Sequence[UInt8Image]) -> list[Detections]:
        """Faces of each picture, see ``Detector``.

        Raises:
            WeightsError: if the network gives outputs of other shapes than its kind has.
        """
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: UInt8Image) -> Detections:
        size_hw = (image.shape[0], image.shape[1])
        sides = [self.options.max_side_px]
        again = self.look_again_px
        if (
            again is not None
            and self._fixed_hw is None
            and min(max(size_hw), sides[0]) > 1.5 * again
        ):
            sides.append(again)
        found = joined([self._candidates(image, side) for side in sides])
        kept = self.finish(image, suppress(found, self.max_overlap))
        kept = kept.take(kept.scores >= self.min_score)
        return kept.take(np.arange(len(kept))[: self.options.max_faces])

    def _candidates(self, image: UInt8Image, max_side_px: int) -> Detections:
        """All that the network sees in a picture of at most that side, in the picture's pixels."""
        boxed, scale_xy = letterbox(image, max_side_px, self._fixed_hw)
        outputs = float_outputs(self._session, self._tensor(boxed))
        candidates = self.decode(outputs, (boxed.shape[0], boxed.shape[1]))
        candidates = candidates.take(candidates.scores >= self.least_candidate)
        return _to_picture(candidates, scale_xy, (image.shape[0], image.shape[1]))

    def open_second(self, folder: Path, **session: Any) -> None:  # noqa: ANN401, B027  # see Session
        """Open what else belongs to the file, for a kind that has a second network.

        Args:
            folder: of the file.
            session: how sessions are opened.
        """

    @property
    def least_candidate(self) -> float:
        """Least score that ``decode`` need return."""
        return self.min_score

    def finish(self, image: UInt8Image, found: Detections) -> Detections:
        """What a kind with a second network makes of the faces found, in pixels of the picture."""
        return found

    def _tensor(self, image: UInt8Image) -> FloatArray:
        """(1, 3, H, W) float32, channel by channel: no large temporary arrays."""
        out = np.empty((1, 3, *image.shape[:2]), dtype=np.float32)
        for position in range(3):
            source = position if self.channel_order == "rgb" else 2 - position
            np.subtract(image[..., source], np.float32(self.mean[position]), out=out[0, position])
        if self.std != 1:
            out *= np.float32(1 / self.std)
        return out

    def _broken(self, what: str) -> WeightsError:
        return WeightsError(f"{self.name}: {what} for {type(self).__name__}")


def letterbox(
    image: UInt8Image, max_side_px: int, fixed_hw: tuple[int, int] | None = None
) -> tuple[UInt8Image, tuple[float, float]]:
    """A picture scaled down to fit and padded with black on the right and below.

    Args:
        image: (H, W, 3) uint8.
        max_side_px: largest side of the scaled picture; smaller pictures keep their size.
        fixed_hw: the size that a graph with a fixed input wants.

    Returns:
        The padded picture, sides multiples of 32 or ``fixed_hw``, and how many pixels of it a
        pixel of the picture measures, along x and y.
    """
    import cv2

    height, width = image.shape[:2]
    limit_hw = fixed_hw or (max_side_px, max_side_px)
    scale = min(1.0, limit_hw[0] / height, limit_hw[1] / width)
    new_h, new_w = max(1, round(height * scale)), max(1, round(width * scale))
    if (new_h, new_w) != (height, width):
        method = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        scaled: Any = cv2.resize(image, (new_w, new_h), interpolation=method)
        image = scaled
    step = STRIDES[-1]
    out_h, out_w = fixed_hw or (-(-new_h // step) * step, -(-new_w // step) * step)
    if (out_h, out_w) != (new_h, new_w):
        padded = np.zeros((out_h, out_w, 3), dtype=np.uint8)
        padded[:new_h, :new_w] = image
        image = padded
    return image, (new_w / width, new_h / height)


def suppress(found: Detections, max_overlap: float) -> Detections:
    """Greedy non-maximum suppression: best first, ties in their order.

    Besides boxes that overlap, a face goes that has a landmark where a better one has one of its
    own: between two heads that touch, RetinaFace now and then sees a third with an eye and half a
    mouth of each, at a score near 1, which hides the one behind; two people share no landmark.

    Args:
        found: any order.
        max_overlap: a box whose intersection over union with a better one is larger goes.
    """
    order = np.argsort(-found.scores, kind="stable")[:MAX_CANDIDATES]
    found = found.take(order)
    x1, y1, x2, y2 = found.boxes.T.astype(np.float64)
    area = (x2 - x1) * (y2 - y1)
    points = found.landmarks.astype(np.float64)
    alive = np.ones(len(found), dtype=bool)
    for best in range(len(found)):
        if not alive[best]:
            continue
        width = np.minimum(x2[best], x2) - np.maximum(x1[best], x1)
        height = np.minimum(y2[best], y2) - np.maximum(y1[best], y1)
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        overlap = shared / (area[best] + area - shared)
        gone = overlap[best + 1 :] > max_overlap
        rest = np.flatnonzero((overlap[best + 1 :] > 0) & alive[best + 1 :] & ~gone) + best + 1
        gone[rest - best - 1] = _shares_a_landmark(points[best], points[rest])
        alive[best + 1 :] &= ~gone
    return found.take(alive)


def _shares_a_landmark(
    better: npt.NDArray[np.float64], others: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """(N,) whether each of (N, 5, 2) faces has a landmark upon one of the (5, 2) better face's."""
    reach = SAME_LANDMARK * float(np.linalg.norm(better[1] - better[0]))
    apart = np.linalg.norm(others[:, :, None] - better, axis=3).min(axis=(1, 2), initial=np.inf)
    return np.asarray(apart < reach)


@lru_cache(maxsize=64)  # bounded: pictures have many sizes
def cell_corners(size_hw: tuple[int, int], stride: int, anchors: int = 1) -> FloatArray:
    """(rows * columns * anchors, 2) float32: x, y of each cell's corner, row by row."""
    rows, columns = size_hw[0] // stride, size_hw[1] // stride
    y, x = np.mgrid[:rows, :columns].astype(np.float32) * np.float32(stride)
    corners: FloatArray = np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), anchors, axis=0)
    corners.setflags(write=False)
    return corners


def grow(values: FloatArray) -> FloatArray:
    """``exp`` of a predicted size, bounded so that a broken network gives no infinity."""
    result: FloatArray = np.exp(np.clip(values, -_MAX_EXPONENT, _MAX_EXPONENT))
    return result


def _to_picture(
    found: Detections, scale_xy: tuple[float, float], size_hw: tuple[int, int]
) -> Detections:
    """From the network's pixels to the picture's; boxes clipped, empty and broken ones dropped."""
    scale = np.array(scale_xy, dtype=np.float32)
    boxes = found.boxes.reshape(-1, 2, 2) / scale
    finite = np.isfinite(boxes).all(axis=(1, 2)) & np.isfinite(found.landmarks).all(axis=(1, 2))
    if found.poses is not None:
        finite &= np.isfinite(found.poses).all(axis=1)
    limit = np.array(size_hw[::-1], dtype=np.float32)
    boxes = np.clip(np.nan_to_num(boxes), 0, limit).reshape(-1, 4)
    filled = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    whole = Detections(boxes, found.scores, found.landmarks / scale, found.poses)
    return whole.take(finite & filled)


def _fixed_size(session: Session) -> tuple[int, int] | None:
    """The input's height and width where the graph fixes them."""
    (port,) = session.inputs
    if port.kind != "tensor(float)" or len(port.shape) != 4 or port.shape[1] not in {3, None}:
        raise WeightsError(
            f"{session.name}: expected an input (1, 3, H, W) of float32, "
            f"got {port.kind} {list(port.shape)}"
        )
    height, width = port.shape[2:]
    if port.shape[0] not in {1, None}:
        raise WeightsError(f"{session.name}: expected a batch of 1, it is fixed to {port.shape[0]}")
    if height is None or width is None:
        return None
    if height % STRIDES[-1] or width % STRIDES[-1]:
        raise WeightsError(
            f"{session.name}: expected an input of sides that are multiples of {STRIDES[-1]}, "
            f"it is fixed to {height}x{width}"
        )
    return height, width
