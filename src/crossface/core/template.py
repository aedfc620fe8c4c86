"""The field's common alignment template."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ARCFACE_POINTS_112: npt.NDArray[np.float64] = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
"""(5, 2) float64 px in a 112x112 crop: viewer's left eye, right eye, nose tip, left and right
mouth corner.

Source: insightface ``utils/face_align.py``.
"""
