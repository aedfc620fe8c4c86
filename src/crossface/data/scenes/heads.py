"""A photographed face in a drawn head: a crop alone has no hair, ears or neck."""

from __future__ import annotations

import cv2
import numpy as np

from crossface.core.geometry import Float64Array, apply_transform, umeyama
from crossface.core.types import UInt8Image
from crossface.data.scenes.cuts import FaceCut
from crossface.data.scenes.paste import oval_mask, paste, place


def in_a_head(face: FaceCut, head: FaceCut, rng: np.random.Generator) -> FaceCut:
    """The head with its face replaced, its colours near the face's, and the face's labels.

    Args:
        face: whose features and labels are taken.
        head: whose hair, neck and ground are taken.
        rng: chooses how much of the face is shown and how sharp its edge is.
    """
    matrix = umeyama(face.points, head.points)
    middle, axes = face.ellipse[:2], face.ellipse[2:]
    picture = _coloured(head, _mean_colour(face), rng)
    height, width = face.image.shape[:2]
    feather = float(rng.uniform(0.15, 0.45))
    room = np.minimum(middle, np.array([width, height]) - middle) / (1 + feather / 2)
    size = np.minimum(axes * rng.uniform(0.85, 1.1), np.maximum(room, 0.5 * axes))
    mask = oval_mask(
        (height, width), (middle[0], middle[1]), (size[0], size[1]), rng.uniform(2, 3), feather
    )
    paste(picture, face.image, mask, matrix)
    labels = place(face, matrix)
    scale = float(np.hypot(*matrix[:, 0]))
    (centre,) = apply_transform(matrix, middle[None])
    ellipse = np.concatenate([centre, axes * scale])
    return FaceCut(picture, labels.points, ellipse, labels.angles, whole_head=True)


def _mean_colour(cut: FaceCut) -> Float64Array:
    """(3,) of the inner half of the face."""
    x, y, half_x, half_y = cut.ellipse
    height, width = cut.image.shape[:2]
    rows = slice(max(int(y - half_y / 2), 0), max(min(int(y + half_y / 2), height), 1))
    columns = slice(max(int(x - half_x / 2), 0), max(min(int(x + half_x / 2), width), 1))
    colour: Float64Array = cut.image[rows, columns].reshape(-1, 3).mean(axis=0)
    return colour


def _coloured(head: FaceCut, wanted: Float64Array, rng: np.random.Generator) -> UInt8Image:
    """The head's picture with the colour of its face moved towards the wanted one."""
    gain = np.clip((wanted + 8) / (_mean_colour(head) + 8), 0.3, 2.5) ** rng.uniform(0.6, 1.0)
    table = np.clip(np.arange(256)[:, None] * gain, 0, 255).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(head.image, table), dtype=np.uint8)
