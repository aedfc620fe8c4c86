"""What light, lenses, things in front and files do to faces and scenes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from crossface.core.geometry import Float64Array
from crossface.core.types import UInt8Image


def toned(image: UInt8Image, rng: np.random.Generator) -> UInt8Image:
    """A picture under other light: exposure, contrast, the colour of the lamp."""
    gamma, gain = np.exp(rng.uniform(-0.4, 0.4)), np.exp(rng.uniform(-0.4, 0.2))
    tint = np.exp(rng.normal(0, 0.08, 3))
    curve = 255 * (np.arange(256) / 255)[:, None] ** gamma * gain * tint
    return np.asarray(cv2.LUT(image, np.clip(curve, 0, 255).astype(np.uint8)[None]), np.uint8)


def cover(image: UInt8Image, ellipse: Float64Array, rng: np.random.Generator) -> UInt8Image:
    """A face with something in front of a part of it: a bar, a round thing, a cloth below."""
    x, y, half_x, half_y = ellipse
    image = image.copy()
    colour = [float(v) for v in rng.uniform(0, 255, 3)]
    kind = rng.integers(3)
    if kind == 0:
        turn = float(rng.uniform(0, 180))
        size = (float(rng.uniform(0.15, 0.5) * half_x), float(4 * half_y))
        at = (float(x + rng.uniform(-1, 1) * half_x), float(y + rng.uniform(-1, 1) * half_y))
        corners = cv2.boxPoints((at, size, turn))
        cv2.fillPoly(image, [np.asarray(corners, np.int32)], colour, cv2.LINE_AA)
    elif kind == 1:
        turn = rng.uniform(0, 2 * np.pi)
        middle = (int(x + np.cos(turn) * half_x), int(y + np.sin(turn) * half_y))
        axes = [int(v) for v in rng.uniform(0.3, 0.8, 2) * [half_x, half_y]]
        lean = float(rng.uniform(0, 180))
        cv2.ellipse(image, middle, axes, lean, 0, 360, colour, -1, cv2.LINE_AA)
    else:
        top = int(y + rng.uniform(0.1, 0.45) * half_y)
        image[max(top, 0) :] = np.array(colour, np.uint8)
    return image


def damage(image: UInt8Image, rng: np.random.Generator) -> UInt8Image:
    """A scene as a camera and a file would leave it: grey, blurred, noisy, compressed."""
    done: Any = image
    if rng.random() < 0.12:
        done = cv2.cvtColor(cv2.cvtColor(done, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.3:
        done = cv2.GaussianBlur(done, (0, 0), float(rng.uniform(0.4, 1.6)))
    if rng.random() < 0.4:
        done = toned(done, rng)
    if rng.random() < 0.3:
        grain = rng.integers(0, 256, done.shape, dtype=np.uint8)
        share = float(rng.uniform(0.01, 0.09))
        done = cv2.addWeighted(done, 1 - share, grain, share, 0)
    if rng.random() < 0.5:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
        done = cv2.imdecode(cv2.imencode(".jpg", done, quality)[1], cv2.IMREAD_COLOR)
    return np.asarray(done, dtype=np.uint8)
