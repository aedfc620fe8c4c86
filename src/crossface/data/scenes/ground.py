"""Procedural grounds: what scenes show where no face is."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from crossface.core.geometry import Float64Array
from crossface.core.seeds import generator
from crossface.core.types import UInt8Image
from crossface.data.scenes.cuts import Cuts

GROUND_PX = 448
_KEPT = 256  # grounds of 448x448x3 bytes: 150 MB


class Grounds:
    """A set of square grounds; parts of them, mirrored and toned, make any number of others.

    Kinds: clouds (noise of several scales), clutter (shapes and lines over each other), patterns
    (stripes, checks, letters), and mosaics of shuffled tiles of faces: skin, eyes and mouths,
    never where they are in a face.

    Args:
        seed: fixes them.
        cuts: faces whose tiles mosaics are made of.
        count: of different grounds.
    """

    def __init__(self, seed: int, cuts: Cuts, count: int = _KEPT) -> None:
        self._seed, self._cuts, self._count = seed, cuts, count
        self._ground = lru_cache(maxsize=_KEPT)(self._make)

    def part(self, rng: np.random.Generator, side_px: int) -> UInt8Image:
        """(side, side, 3) uint8 RGB, a part of one ground that the caller may write to."""
        ground = self._ground(int(rng.integers(self._count)))
        taken = int(rng.uniform(0.4, 1.0) * GROUND_PX)
        y, x = rng.integers(0, GROUND_PX - taken + 1, 2)
        part = ground[y : y + taken, x : x + taken]
        if rng.random() < 0.5:
            part = part[:, ::-1]
        if rng.random() < 0.5:
            part = part.transpose(1, 0, 2)
        method = cv2.INTER_AREA if taken > side_px else cv2.INTER_LINEAR
        scaled: Any = cv2.resize(
            np.ascontiguousarray(part), (side_px, side_px), interpolation=method
        )
        tables = np.arange(256)[:, None] * rng.uniform(0.5, 1.3, 3) + rng.uniform(-30, 40)
        return np.asarray(cv2.LUT(scaled, np.clip(tables, 0, 255).astype(np.uint8)[None]), np.uint8)

    def _make(self, number: int) -> UInt8Image:
        rng = generator("scene ground", self._seed, number)
        if rng.random() < 0.22 and len(self._cuts):
            return _mosaic(rng, self._cuts)
        first = _PLAIN[int(rng.integers(len(_PLAIN)))](rng)
        if rng.random() < 0.5:
            second = _PLAIN[int(rng.integers(len(_PLAIN)))](rng)
            mask = _noise(rng, 1)[..., 0] * 4
            share = np.clip(mask + 0.5, 0, 1)[..., None]
            first = np.rint(first + (second.astype(np.float64) - first) * share).astype(np.uint8)
        return first


def _noise(rng: np.random.Generator, channels: int) -> Float64Array:
    """(side, side, channels) noise of several scales with mean 0 and deviation near 1."""
    total = np.zeros((GROUND_PX, GROUND_PX, channels))
    slope = rng.uniform(0.5, 1.1)
    for octave in range(1, 8):
        cells = 2**octave
        rough = rng.standard_normal((cells, cells, channels)).astype(np.float32)
        wide = cv2.resize(rough, (GROUND_PX, GROUND_PX), interpolation=cv2.INTER_CUBIC)
        total += np.asarray(wide).reshape(total.shape) * slope ** (octave - 1)
    return total / max(float(total.std()), 1e-6)


def _clouds(rng: np.random.Generator) -> UInt8Image:
    grey = _noise(rng, 1) * rng.uniform(5, 55)
    colour = _noise(rng, 3) * rng.uniform(2, 25)
    base = rng.uniform(30, 220) + rng.uniform(-35, 35, 3)
    return np.clip(base + grey + colour, 0, 255).astype(np.uint8)


def _clutter(rng: np.random.Generator) -> UInt8Image:
    """Ellipses, rectangles, triangles and lines over each other, skin colours among them."""
    image = _clouds(rng)
    largest = rng.uniform(20, 200)
    for _ in range(int(rng.integers(10, 160))):
        colour = _colour(rng)
        x, y = (int(v) for v in rng.uniform(0, GROUND_PX, 2))
        a, b = (int(v) for v in np.exp(rng.uniform(np.log(2), np.log(largest), 2)))
        kind = rng.integers(5)
        fill = -1 if rng.random() < 0.7 else int(rng.integers(1, 8))
        if kind <= 1:
            turn = float(rng.uniform(0, 180))
            cv2.ellipse(image, (x, y), (a, b), turn, 0, 360, colour, fill, cv2.LINE_AA)
        elif kind == 2:
            corners = cv2.boxPoints(((x, y), (a * 2, b * 2), float(rng.uniform(0, 90))))
            cv2.fillPoly(image, [np.asarray(corners, np.int32)], colour, cv2.LINE_AA)
        elif kind == 3:
            points = np.array([x, y]) + rng.uniform(-largest, largest, (3, 2))
            cv2.fillPoly(image, [points.astype(np.int32)], colour, cv2.LINE_AA)
        else:
            end = (int(rng.uniform(0, GROUND_PX)), int(rng.uniform(0, GROUND_PX)))
            cv2.line(image, (x, y), end, colour, int(rng.integers(1, 9)), cv2.LINE_AA)
    if rng.random() < 0.5:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 5))))
    return image


def _pattern(rng: np.random.Generator) -> UInt8Image:
    """Stripes, checks, dots or letters."""
    y, x = np.mgrid[:GROUND_PX, :GROUND_PX].astype(np.float64)
    turn, step = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(5), np.log(70)))
    u = (np.cos(turn) * x + np.sin(turn) * y) / step
    v = (np.cos(turn) * y - np.sin(turn) * x) / step * rng.uniform(0.3, 1)
    kind = rng.integers(4)
    if kind == 3:
        return _letters(rng)
    waves = {0: np.sin(2 * np.pi * u), 1: np.sin(np.pi * u) * np.sin(np.pi * v)}
    wave = waves.get(int(kind), (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 - rng.uniform(0.02, 0.2))
    share = np.clip(wave * rng.uniform(1, 20) + 0.5, 0, 1)[..., None]
    low, high = np.array(_colour(rng)), np.array(_colour(rng))
    rough = _noise(rng, 1) * rng.uniform(0, 20)
    painted = np.clip(low + (high - low) * share + rough, 0, 255)
    return np.asarray(painted, dtype=np.uint8)


def _letters(rng: np.random.Generator) -> UInt8Image:
    image = _clouds(rng)
    for _ in range(int(rng.integers(5, 40))):
        text = "".join(chr(int(c)) for c in rng.integers(48, 123, int(rng.integers(1, 12))))
        at = (int(rng.uniform(-40, GROUND_PX)), int(rng.uniform(0, GROUND_PX)))
        size, thick = float(rng.uniform(0.4, 4)), int(rng.integers(1, 9))
        cv2.putText(image, text, at, int(rng.integers(8)), size, _colour(rng), thick, cv2.LINE_AA)
    return image


def _mosaic(rng: np.random.Generator, cuts: Cuts) -> UInt8Image:
    """Tiles of faces in another order, turned, with soft or hard seams."""
    tile = int(rng.choice([16, 24, 32, 48]))
    pool = []
    for _ in range(6):
        cut = cuts.read(int(rng.integers(len(cuts)))).image
        for y in range(0, cut.shape[0] - tile + 1, tile):
            pool += [cut[y : y + tile, x : x + tile] for x in range(0, cut.shape[1] - tile, tile)]
    shown = int(tile * rng.uniform(0.7, 2.5))
    count = -(-GROUND_PX // shown)
    rows = []
    for _ in range(count):
        chosen = [
            np.rot90(pool[k], int(rng.integers(4))) for k in rng.integers(len(pool), size=count)
        ]
        rows.append(
            np.hstack([cv2.resize(np.ascontiguousarray(t), (shown, shown)) for t in chosen])
        )
    image = np.vstack(rows)[:GROUND_PX, :GROUND_PX]
    if rng.random() < 0.5:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.7, 4))))
    return np.ascontiguousarray(image).astype(np.uint8)


def _colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """Any colour, or that of some skin."""
    if rng.random() < 0.35:
        light = rng.uniform(50, 235)
        red, green, blue = light, light * rng.uniform(0.65, 0.85), light * rng.uniform(0.45, 0.75)
    else:
        red, green, blue = rng.uniform(0, 255, 3)
    return float(red), float(green), float(blue)


_PLAIN: tuple[Callable[[np.random.Generator], UInt8Image], ...] = (
    _clouds,
    _clutter,
    _clutter,
    _pattern,
)
