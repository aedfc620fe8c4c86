"""One drawn picture of one person, with everything known about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossface.core.contract import InputSpec
from crossface.core.errors import ConfigError
from crossface.core.geometry import align
from crossface.core.seeds import generator
from crossface.core.types import Box, FloatArray, Pose, UInt8Image
from crossface.data.drawn.anatomy import landmarks
from crossface.data.drawn.canvas import OVERSAMPLE, Canvas
from crossface.data.drawn.identity import Identity
from crossface.data.drawn.light import background, degrade, tone
from crossface.data.drawn.nuisance import Nuisance
from crossface.data.drawn.paint_cover import paint_cover
from crossface.data.drawn.paint_features import paint_features
from crossface.data.drawn.paint_hair import paint_back_hair, paint_cap, paint_front_hair
from crossface.data.drawn.paint_skin import (
    paint_ears,
    paint_head,
    paint_marks,
    paint_near_ear,
    paint_neck,
)
from crossface.data.drawn.relief import relief
from crossface.data.drawn.scene import Scene

SIZE_LIMITS = (64, 448)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnPicture:
    """A picture and its truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        box: the head from crown to chin without hair and ears, cut off at the border.
        kps_px: (5, 2) float32: viewer's left eye, right eye, nose tip, mouth corners.
        pose: of the head.
        skin_tone: 0 the lightest to 1 the darkest skin.
        who: the person drawn.
        how: the circumstances.
    """

    image: UInt8Image
    box: Box
    kps_px: FloatArray
    pose: Pose
    skin_tone: float
    who: Identity
    how: Nuisance

    def found_kps_px(self) -> FloatArray:
        """(5, 2) landmarks with the error a detector would make (``how.jitter_px``)."""
        return jittered(self.kps_px, self.how)

    def crop(self, spec: InputSpec | None = None) -> UInt8Image:
        """The aligned crop a pipeline would cut, 112x112 unless ``spec`` says otherwise."""
        return align(self.image, self.found_kps_px(), spec or InputSpec())


def draw_face(who: Identity, how: Nuisance, *, size: int = 192) -> DrawnPicture:
    """Paint a portrait.

    Args:
        who: the person.
        how: the circumstances.
        size: side of the square picture in pixels.

    Raises:
        ConfigError: if the size is outside ``SIZE_LIMITS``.
    """
    if not SIZE_LIMITS[0] <= size <= SIZE_LIMITS[1] or size % 2:
        raise ConfigError(
            f"size must be an even number in {SIZE_LIMITS[0]}..{SIZE_LIMITS[1]}, got {size}"
        )
    scene = Scene.of(who, how, size)
    image = degrade(tone(_paint(scene), scene), how)
    box, kps_px = truth(scene)
    pose = Pose(how.yaw_deg, how.pitch_deg, how.roll_deg)
    return DrawnPicture(image, box, kps_px, pose, who.skin_tone, who, how)


def truth(scene: Scene) -> tuple[Box, FloatArray]:
    """Box and (5, 2) landmarks of a scene, without painting it."""
    kps_px = scene.in_space(landmarks(scene.who, scene.how, scene.head)).astype(np.float32)
    rim = np.vstack([scene.in_space(scene.head.ring(share)) for share in (1.0, 0.8)])
    low, high = rim.min(axis=0), rim.max(axis=0)
    low, high = np.clip(low, 0, scene.size), np.clip(high, 0, scene.size)
    return Box(float(low[0]), float(low[1]), float(high[0]), float(high[1])), kps_px


def jittered(kps_px: FloatArray, how: Nuisance) -> FloatArray:
    """Landmarks moved by the picture's own error, in proportion to the distance of the eyes."""
    if how.jitter_px <= 0:
        return kps_px
    noise = generator("drawn jitter", how.grain_seed).standard_normal((5, 2))
    span = float(np.linalg.norm(kps_px[3:].mean(axis=0) - kps_px[:2].mean(axis=0)))
    moved: FloatArray = (kps_px + noise * how.jitter_px * span / 41.0).astype(np.float32)
    return moved


def _paint(scene: Scene) -> UInt8Image:
    ground, clothes = background(scene.how, scene.size * OVERSAMPLE)
    canvas = Canvas(ground)
    paint_back_hair(canvas, scene)
    paint_neck(canvas, scene, clothes)
    paint_ears(canvas, scene)
    paint_head(canvas, scene)
    paint_cap(canvas, scene)
    paint_near_ear(canvas, scene)
    paint_marks(canvas, scene)
    canvas.multiply(relief(scene))
    paint_features(canvas, scene)
    paint_front_hair(canvas, scene)
    paint_cover(canvas, scene)
    picture: UInt8Image = canvas.picture()
    return picture
