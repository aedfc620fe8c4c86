"""What a second look learns from: roughly aligned crops of scenes, with what is true of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossface.core.geometry import Float64Array
from crossface.core.template import ARCFACE_POINTS_112
from crossface.core.types import FloatArray
from crossface.data.scenes.compose import Scene

SAME = 0.5
"""Intersection over union above which a guess is of a face."""

ELSEWHERE = 0.3
"""Below it, with every face, a guess is of none."""

_ROUGH = (0.16, 0.16, 0.15, 14.0)
_FINE = (0.05, 0.04, 0.04, 4.0)
"""Standard deviations of a guess: each landmark and the whole in eye distances, the logarithm of
the size, the roll in degrees. A first look comes after a detector, a second after a first."""

_BOX_OF_POINTS = np.array([[-0.55, -0.95], [0.55, 0.95]]) * 1.55
"""Corners of a face's box from the middle of its landmarks, in distances from eyes to mouth."""


@dataclass(frozen=True, slots=True, eq=False)
class Guesses:
    """Where somebody thinks that faces of one scene are, and what is there.

    Attributes:
        points: (G, 5, 2) float64 px: the guessed landmarks.
        face: (G,) int64: the scene's face, -1 where there is none.
    """

    points: Float64Array
    face: npt.NDArray[np.int64]


def guesses(
    scene: Scene,
    found_boxes: FloatArray,
    found_points: FloatArray,
    rng: np.random.Generator,
    *,
    elsewhere: int = 2,
) -> Guesses:
    """A detector's guesses, true landmarks moved a little and a lot, and places without a face.

    What is near a face that need not be found, or half on a face, is left out: neither answer
    would be right.

    Args:
        scene: faces that must be found are guessed at.
        found_boxes: (D, 4) px of a detector.
        found_points: (D, 5, 2) px.
        rng: of the moves.
        elsewhere: how many places without a face are tried.
    """
    points: list[Float64Array] = []
    face: list[int] = []
    for box, guess in zip(found_boxes, found_points, strict=True):
        owner = _owner(scene, box)
        if owner is not None:
            points.append(guess.astype(np.float64))
            face.append(owner)
    for number in np.flatnonzero(scene.counted):
        for spread in (_ROUGH, _FINE):
            points.append(moved(scene.points[number].astype(np.float64), spread, rng))
            face.append(int(number))
    for _ in range(elsewhere):
        guess = _anywhere(scene, rng)
        if _owner(scene, box_of_points(guess)) == -1:
            points.append(guess)
            face.append(-1)
    return Guesses(np.array(points).reshape(-1, 5, 2), np.array(face, dtype=np.int64))


def moved(
    points: Float64Array, spread: tuple[float, float, float, float], rng: np.random.Generator
) -> Float64Array:
    """(5, 2) landmarks as a detector with these errors would give them, see ``_ROUGH``."""
    single, whole, size, roll = spread
    eyes = max(
        float(np.linalg.norm(points[1] - points[0])), 0.2 * float(np.ptp(points, axis=0).max())
    )
    middle = points.mean(axis=0)
    angle, scale = np.radians(rng.normal(0, roll)), np.exp(rng.normal(0, size))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = rng.normal(0, whole * eyes, 2)
    noise = rng.normal(0, single * eyes, (5, 2))
    result: Float64Array = (points - middle) @ turn.T + middle + shift + noise
    return result


def box_of_points(points: Float64Array) -> FloatArray:
    """(4,) px: about the box of a face with these (5, 2) landmarks."""
    tall = max(float(np.linalg.norm(points[:2].mean(0) - points[3:].mean(0))), 1e-6)
    corners: FloatArray = (points.mean(axis=0) + _BOX_OF_POINTS * tall).astype(np.float32)
    return corners.reshape(4)


def _anywhere(scene: Scene, rng: np.random.Generator) -> Float64Array:
    """Landmarks of a face of any size, anywhere in the picture."""
    side = scene.image.shape[0]
    eyes = float(np.exp(rng.uniform(np.log(3.5), np.log(0.4 * side))))
    upright = (ARCFACE_POINTS_112 - ARCFACE_POINTS_112.mean(axis=0)) / 35.24 * eyes
    return moved(upright + rng.uniform(0, side, 2), _ROUGH, rng)


def _owner(scene: Scene, box: FloatArray) -> int | None:
    """The face of a box, -1 for none, None where it cannot be said."""
    if not len(scene.boxes):
        return -1
    low, high = np.maximum(scene.boxes[:, :2], box[:2]), np.minimum(scene.boxes[:, 2:], box[2:])
    shared = np.maximum(high - low, 0).prod(axis=1)
    areas = (scene.boxes[:, 2:] - scene.boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    overlap = shared / np.maximum(areas - shared, 1e-6)
    best = int(np.argmax(overlap))
    if overlap[best] >= SAME:
        return best if scene.counted[best] else None
    inside = shared / max(float((box[2:] - box[:2]).prod()), 1e-6)
    if overlap[best] < ELSEWHERE and not (inside[~scene.counted] > SAME).any():
        return -1
    return None
