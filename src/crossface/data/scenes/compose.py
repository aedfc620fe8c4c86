"""Scenes of many faces over a ground, with boxes, landmarks and head poses known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossface.core.errors import ConfigError
from crossface.core.seeds import generator
from crossface.core.types import FloatArray, UInt8Image
from crossface.data.scenes.cuts import Cuts, FaceCut
from crossface.data.scenes.damage import cover, damage, toned
from crossface.data.scenes.ground import Grounds
from crossface.data.scenes.heads import in_a_head
from crossface.data.scenes.paste import Mask, Placed, oval_mask, paste, place, placement

_HIDDEN = 0.35
"""Share of a face's box under a later one above which it need not be found."""


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """How scenes look.

    Attributes:
        side_px: of the square scene, a multiple of 32.
        height_px: least and largest height of a face; drawn log-uniformly.
        max_faces: of one scene; fewer where there is no room.
        roll_deg: standard deviation of a face's roll.
        any_roll: share of faces of any roll in -90..90.
        least_height_px: smaller faces need not be found.
        drawn: share of drawn faces.
        heads: share of the other faces that are put into a drawn head.
    """

    side_px: int = 256
    height_px: tuple[float, float] = (9.0, 270.0)
    max_faces: int = 8
    roll_deg: float = 14.0
    any_roll: float = 0.1
    least_height_px: float = 11.0
    drawn: float = 0.15
    heads: float = 0.5

    def __post_init__(self) -> None:
        low, high = self.height_px
        shares = (self.any_roll, self.drawn, self.heads)
        if self.side_px < 64 or self.side_px % 32 or self.max_faces < 1 or not 4 <= low <= high:
            raise ConfigError(
                "scenes need a side of at least 64 that is a multiple of 32, at least one face and "
                f"faces of at least 4 pixels, got {self}"
            )
        if any(not 0 <= share <= 1 for share in shares) or self.roll_deg < 0:
            raise ConfigError(f"shares lie in 0..1 and roll_deg is not negative, got {self}")


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and all its faces.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        boxes: (N, 4) float32 px: x1, y1, x2, y2; they may reach beyond the picture.
        points: (N, 5, 2) float32 px: viewer's left eye, right eye, nose tip, mouth corners.
        angles: (N, 3) float32 degrees: yaw, pitch, roll as in ``core.types.Pose``.
        counted: (N,) bool: whether the face must be found; others are too small, cut off or
            hidden, and are neither right nor wrong.
    """

    image: UInt8Image
    boxes: FloatArray
    points: FloatArray
    angles: FloatArray
    counted: npt.NDArray[np.bool_]


class Scenes:
    """Any number of scenes, each fixed by (seed, index) alone.

    Args:
        crops: real faces without hair, masked softly; may be empty.
        drawn: drawn people; may be empty, if ``crops`` is not.
        seed: other seeds, other scenes.
        options: how they look.

    Raises:
        ConfigError: if there is no face at all.
    """

    def __init__(
        self, crops: Cuts, drawn: Cuts, *, seed: int, options: SceneOptions | None = None
    ) -> None:
        if not len(crops) and not len(drawn):
            raise ConfigError("scenes need at least one face, got none")
        self.options = options or SceneOptions()
        self.seed = seed
        self._crops, self._drawn = crops, drawn
        self._grounds = Grounds(seed, crops if len(crops) else drawn)

    def scene(self, index: int) -> Scene:
        """The scene of this number."""
        rng = generator("scene", self.seed, index)
        image = self._grounds.part(rng, self.options.side_px)
        placed: list[Placed] = []
        for height in self._heights(rng):
            cut = self._cut(rng)
            centre = self._free_place(rng, height, placed)
            if centre is not None:
                placed.append(self._add(image, cut, centre, height, rng))
        return _scene(damage(image, rng), placed, self.options)

    def _heights(self, rng: np.random.Generator) -> list[float]:
        """Heights of the scene's faces, the largest first so that small ones find room."""
        low, high = np.log(self.options.height_px)
        high = min(high, np.log(1.1 * self.options.side_px))
        if rng.random() < 0.4:  # a portrait, a few people, or a crowd
            return [float(np.exp(rng.uniform(min(low + 0.6 * (high - low), high), high)))]
        count = int(rng.integers(1, self.options.max_faces + 1))
        middle = rng.uniform(low, high)
        spread = rng.uniform(0.1, 0.8, count) * rng.standard_normal(count)
        return sorted(np.exp(np.clip(middle + spread, low, high)).tolist(), reverse=True)

    def _cut(self, rng: np.random.Generator) -> FaceCut:
        options = self.options
        only_drawn = not len(self._crops)
        if only_drawn or (len(self._drawn) and rng.random() < options.drawn):
            cut = self._drawn.read(int(rng.integers(len(self._drawn))))
        else:
            cut = self._crops.read(int(rng.integers(len(self._crops))))
            if len(self._drawn) and rng.random() < options.heads:
                head = self._drawn.read(int(rng.integers(len(self._drawn))))
                cut = in_a_head(cut, head, rng)
        return cut.mirrored() if rng.random() < 0.5 else cut

    def _free_place(
        self, rng: np.random.Generator, height: float, placed: Sequence[Placed]
    ) -> tuple[float, float] | None:
        """The middle of a face that hides at most a little of the others, or None."""
        side = self.options.side_px
        edge = min(0.35 * height, side / 2)
        taken = [face.box.tolist() for face in placed]
        for _ in range(12):
            x, y = rng.uniform(edge, side - edge, 2).tolist()
            half_x, half_y = 0.42 * height, 0.55 * height
            box = (x - half_x, y - half_y, x + half_x, y + half_y)
            if all(_share_inside(other, box) < _HIDDEN for other in taken):
                return x, y
        return None

    def _add(
        self,
        image: UInt8Image,
        cut: FaceCut,
        centre: tuple[float, float],
        height: float,
        rng: np.random.Generator,
    ) -> Placed:
        wide = rng.random() < self.options.any_roll
        turn = rng.uniform(-90, 90) if wide else rng.normal(0, self.options.roll_deg)
        matrix = placement(cut, centre, height, float(np.clip(turn, -90, 90)))
        face = toned(cut.image, rng)
        if rng.random() < 0.15:
            face = cover(face, cut.ellipse, rng)
        paste(image, face, _mask(cut, rng), matrix)
        return place(cut, matrix)


def _mask(cut: FaceCut, rng: np.random.Generator) -> Mask:
    """What is seen of a cut: all of a head, or an oval that holds the face of a crop.

    The edge never lies on the edge of the crop, where it would be a square that gives it away.
    """
    height, width = cut.image.shape[:2]
    feather = float(rng.uniform(0.05, 0.3))
    middle = np.array([width, height]) / 2
    if cut.whole_head and rng.random() < 0.7:
        axes, centre = middle * rng.uniform(0.86, 0.97, 2), middle
        power = float(rng.uniform(2.5, 9))
    else:
        centre = np.clip(cut.ellipse[:2], 0.4 * middle, 1.6 * middle)
        room = np.minimum(centre, np.array([width, height]) - centre) / (1 + feather / 2)
        wanted = cut.ellipse[2:] * rng.uniform(0.9, 1.4, 2)
        axes = np.maximum(np.minimum(wanted, room), 0.3 * middle)
        power = float(rng.uniform(2, 5))
    return oval_mask((height, width), (centre[0], centre[1]), (axes[0], axes[1]), power, feather)


def _share_inside(box: Sequence[float], other: Sequence[float]) -> float:
    """Share of the smaller of two boxes that lies in the other; plain numbers, which are faster."""
    x1, y1, x2, y2 = box
    u1, v1, u2, v2 = other
    shared = max(min(x2, u2) - max(x1, u1), 0.0) * max(min(y2, v2) - max(y1, v1), 0.0)
    return shared / max(min((x2 - x1) * (y2 - y1), (u2 - u1) * (v2 - v1)), 1e-9)


def _scene(image: UInt8Image, placed: Sequence[Placed], options: SceneOptions) -> Scene:
    boxes = np.array([face.box for face in placed]).reshape(-1, 4)
    points = np.array([face.points for face in placed]).reshape(-1, 5, 2)
    inside = ((points >= 0) & (points < options.side_px)).all(axis=2).sum(axis=1)
    plain = boxes.tolist()
    tall = boxes[:, 3] - boxes[:, 1] >= options.least_height_px
    hidden = [
        any(_share_inside(box, later) > _HIDDEN for later in plain[n + 1 :])
        for n, box in enumerate(plain)
    ]
    return Scene(
        image,
        boxes.astype(np.float32),
        points.astype(np.float32),
        np.array([face.angles for face in placed], np.float32).reshape(-1, 3),
        tall & (inside >= 4) & ~np.array(hidden, dtype=bool),
    )
