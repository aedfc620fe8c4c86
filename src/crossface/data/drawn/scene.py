"""What every painter needs to know about one picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from crossface.core.geometry import Float64Array
from crossface.data.drawn.anatomy import Eye, Mouth, Nose, eye, mouth, nose
from crossface.data.drawn.geometry3d import Camera, Head
from crossface.data.drawn.identity import Identity
from crossface.data.drawn.nuisance import Nuisance
from crossface.data.drawn.palette import hair_rgb, skin_rgb


@dataclass(frozen=True, slots=True)
class Scene:
    """One person under one set of circumstances, seen by one camera."""

    who: Identity
    how: Nuisance
    size: int
    head: Head
    camera: Camera
    eyes: tuple[Eye, Eye]
    mouth: Mouth
    nose: Nose
    skin: Float64Array
    hair: Float64Array

    @classmethod
    def of(cls, who: Identity, how: Nuisance, size: int) -> Scene:
        """Work out the geometry of a picture of ``size`` by ``size`` pixels."""
        head = Head(who)
        return cls(
            who=who,
            how=how,
            size=size,
            head=head,
            camera=Camera.of(how, size),
            eyes=(eye(who, how, -1), eye(who, how, 1)),
            mouth=mouth(who, how),
            nose=nose(who, how, head),
            skin=skin_rgb(who),
            hair=hair_rgb(who),
        )

    def on_face(self, points: Float64Array, raise_z: float = 0.0) -> Float64Array:
        """(N, 2) frontal points on the surface to (N, 2) pixels."""
        return self.camera.project(self.head.lift(points, raise_z))

    def in_space(self, points: Float64Array) -> Float64Array:
        """(N, 3) points to (N, 2) pixels."""
        return self.camera.project(points)

    def hull(self, *rings: Float64Array) -> Float64Array:
        """(K, 2) pixels of the convex hull of rings in space."""
        points = np.vstack([self.in_space(ring) for ring in rings]).astype(np.float32)
        corners: Float64Array = cv2.convexHull(points)[:, 0].astype(np.float64)
        return corners

    def px(self, length: float) -> float:
        """A length in head units as pixels, before foreshortening."""
        return length * self.camera.unit_px
