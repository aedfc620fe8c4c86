"""A few crops of a set: evenly along it, or mixed, always the same ones."""

from __future__ import annotations

import numpy as np

from crossface.core.protocols import FaceSource
from crossface.core.seeds import generator
from crossface.core.types import UInt8Batch


def even_crops(source: FaceSource, count: int) -> UInt8Batch:
    """(at most ``count``, 112, 112, 3) uint8, evenly spaced along the set."""
    step = max(1, len(source) // count)
    return np.stack([source.read(index) for index in range(0, len(source), step)[:count]])


def mixed_crops(source: FaceSource, count: int) -> UInt8Batch:
    """(at most ``count``, 112, 112, 3) uint8, chosen and ordered by the set's name and size alone,
    so that any part of them is a sample of the set.
    """
    order = generator("crops", source.name, len(source)).permutation(len(source))[:count]
    return np.stack([source.read(int(index)) for index in order])
