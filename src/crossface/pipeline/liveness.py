"""Is this a live face or a picture of one: the two MiniFASNet files, as an optional stage."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from crossface.core.errors import WeightsError
from crossface.core.files import sha256_file
from crossface.core.types import Box, UInt8Image
from crossface.core.weights import find_by_sha256
from crossface.pipeline.pose import open_small
from crossface.pipeline.runtimes.sessions import float_outputs

SIDE_PX = 80
LIVE_CLASS = 1


class Liveness:
    """The mean of the softmaxed outputs of MiniFASNet files, each on a crop of its own scale.

    It is no decision: which share is live enough has to be chosen on one's own data.

    Args:
        files: ONNX files, or a table of files and their crop scales. A scale that is not said
            comes from the table of known files or from the published name ("2.7_80x80_...").

    Raises:
        WeightsError: no such network, or nothing says at which scale its crop is taken.

    Source: minivision-ai/Silent-Face-Anti-Spoofing, ``generate_patches.py`` and ``test.py``.
    Deviation: the mean is given where the published code gives the sum.
    """

    def __init__(self, files: Sequence[str | Path] | Mapping[str | Path, float]) -> None:
        if not files:
            raise ValueError("Liveness needs at least one file")
        said = dict(files) if isinstance(files, Mapping) else {}
        self._networks = [
            (open_small(path, (None, 3, SIDE_PX, SIDE_PX), 3), said.get(path) or _scale_of(path))
            for path in files
        ]

    def score(self, image: UInt8Image, box: Box) -> float:
        """Share of class "live" in [0, 1].

        Args:
            image: (H, W, 3) uint8 RGB, the whole picture.
            box: of the face, as the detector gives it.
        """
        import cv2

        shares = []
        for session, scale in self._networks:
            y, x = crop_slices(box, scale, (image.shape[0], image.shape[1]))
            crop = cv2.resize(image[y, x], (SIDE_PX, SIDE_PX))
            bgr = crop[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)  # 0-255, no mean
            (logits,) = float_outputs(session, np.ascontiguousarray(bgr))
            weights = np.exp(logits[0].astype(np.float64) - logits[0].max())
            shares.append(weights[LIVE_CLASS] / weights.sum())
        return float(np.mean(shares))


def crop_slices(box: Box, scale: float, size_hw: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the crop: the box enlarged around its centre and moved inside.

    Args:
        box: of the face, in pixels.
        scale: how many times larger the crop is; made smaller where the picture is too small.
        size_hw: of the picture.

    Source: ``CropImage._get_new_box`` of minivision-ai/Silent-Face-Anti-Spoofing.
    Deviation: none; the box keeps its fractions until the corners are cut to integers.
    """
    height, width = size_hw
    box_w, box_h = max(box.width, 1.0), max(box.height, 1.0)
    scale = min(scale, (height - 1) / box_h, (width - 1) / box_w)
    rows = _moved_inside((box.y1 + box.y2) / 2, box_h * scale, height)
    columns = _moved_inside((box.x1 + box.x2) / 2, box_w * scale, width)
    return rows, columns


def _moved_inside(centre: float, length: float, limit: int) -> slice:
    low, high = centre - length / 2, centre + length / 2
    if low < 0:
        low, high = 0.0, high - low
    if high > limit - 1:
        low, high = low - (high - limit + 1), limit - 1.0
    start = max(int(low), 0)
    return slice(start, max(int(high), start) + 1)


def _scale_of(path: str | Path) -> float:
    known = find_by_sha256(sha256_file(path))
    if known is not None and known.crop_scale is not None:
        return known.crop_scale
    named = re.search(r"(?:^|_)(\d+(?:\.\d+)?)_80x80", Path(path).name)
    if named is None:
        raise WeightsError(
            f"{Path(path).name}: nothing says at which scale its crop is taken; expected a name "
            "such as 2.7_80x80_MiniFASNetV2.onnx, or give {path: scale}"
        )
    return float(named[1])
