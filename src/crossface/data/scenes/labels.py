"""What detectors said about the crops of a set, kept in one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from crossface.core.errors import DataError
from crossface.core.files import atomic_path
from crossface.core.types import FloatArray

_FORMAT = "crossface-crop-labels-1"
_WIDTHS = {"rows": (), "points": (5, 2), "boxes": (4,), "angles": (3,)}


@dataclass(frozen=True, slots=True, eq=False)
class CropLabels:
    """Faces in some crops of a set.

    Attributes:
        source_digest: of the set.
        teachers: sha256 of the files that were asked, so that other ones are noticed.
        rows: (N,) int64 positions in the set, ascending.
        points: (N, 5, 2) float32 px of the crop: viewer's left eye, right eye, nose tip, mouth
            corners.
        boxes: (N, 4) float32 px of the crop, x1, y1, x2, y2; they may reach beyond it.
        angles: (N, 3) float32 degrees: yaw, pitch, roll as in ``core.types.Pose``.
        asked: how many crops were looked at; the others were left out.
    """

    source_digest: str
    teachers: str
    rows: npt.NDArray[np.int64]
    points: FloatArray
    boxes: FloatArray
    angles: FloatArray
    asked: int

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> CropLabels:
        """The labels at these places."""
        return CropLabels(
            self.source_digest,
            self.teachers,
            self.rows[places],
            self.points[places],
            self.boxes[places],
            self.angles[places],
            self.asked,
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, whole or not at all."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _WIDTHS}
        told = {
            "format": _FORMAT,
            "source": self.source_digest,
            "teachers": self.teachers,
            "asked": str(self.asked),
        }
        with atomic_path(path) as temporary:
            save_file(arrays, temporary, told)

    @classmethod
    def load(cls, path: str | Path) -> CropLabels:
        """Read what ``save`` wrote.

        Raises:
            DataError: another kind of file, or arrays of other shapes.
        """
        name = Path(path).name
        try:
            with safe_open(path, framework="numpy") as handle:
                told = handle.metadata() or {}
                names = set(handle.keys())
                if told.get("format") != _FORMAT or names != set(_WIDTHS):
                    raise DataError(f"{name}: expected the labels of a set of crops")
                arrays = {key: handle.get_tensor(key) for key in names}
        except (SafetensorError, OSError) as error:
            raise DataError(f"{name}: cannot be read as labels of crops: {error}") from None
        count = len(arrays["rows"])
        for key, width in _WIDTHS.items():
            if arrays[key].shape != (count, *width):
                raise DataError(
                    f"{name}: expected {key} of shape {(count, *width)}, got {arrays[key].shape}"
                )
        return cls(told["source"], told["teachers"], **arrays, asked=int(told["asked"]))
