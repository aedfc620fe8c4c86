"""The head as a surface in space, and the camera that looks at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossface.core.geometry import Float64Array
from crossface.data.drawn.identity import Identity
from crossface.data.drawn.nuisance import Nuisance

CAMERA_DISTANCE = 9.0
"""From the middle of the head to the camera, in head units (about 60 cm)."""

UNIT_SHARE = 0.235
"""One head unit as a share of the picture's side at scale 1."""

_SAMPLES = 4  # outline points per control point
CENTRE = np.array([0.0, 0.1])
"""The frontal point from which the outline is seen as a radius."""

_BULGE = 2.2  # exponent of the depth profile; 2 is an ellipsoid, more is a flatter face


def _catmull_rom(controls: int, samples: int) -> Float64Array:
    """(controls * samples, controls) weights of a closed Catmull-Rom curve."""
    weights = np.zeros((controls * samples, controls))
    for row in range(controls * samples):
        left, t = row // samples, (row % samples) / samples
        basis = (
            -0.5 * t + t**2 - 0.5 * t**3,
            1 - 2.5 * t**2 + 1.5 * t**3,
            0.5 * t + 2 * t**2 - 1.5 * t**3,
            -0.5 * t**2 + 0.5 * t**3,
        )
        for offset, value in enumerate(basis):
            weights[row, (left + offset - 1) % controls] += value
    return weights


_CONTROLS = 16
_CURVE = _catmull_rom(_CONTROLS, _SAMPLES)


class Head:
    """The frontal outline of one person's head and the depth of its surface.

    Attributes:
        outline: (64, 2) frontal outline, clockwise from the top.
        depth: z of the middle of the face; the outline itself lies at z = 0.
    """

    def __init__(self, identity: Identity) -> None:
        self.outline = _outline(identity)
        self.depth = identity.face_depth
        spokes = self.outline - CENTRE
        angles = np.arctan2(spokes[:, 0], -spokes[:, 1])
        order = np.argsort(angles)
        lengths = np.hypot(spokes[:, 0], spokes[:, 1])[order]
        angles = angles[order]
        turn = 2 * np.pi
        self._angles = np.hstack([angles[-1] - turn, angles, angles[0] + turn])
        self._radii = np.hstack([lengths[-1], lengths, lengths[0]])

    def lift(self, points: Float64Array, raise_z: float = 0.0) -> Float64Array:
        """(N, 2) frontal points put onto the surface, ``raise_z`` above it: (N, 3)."""
        spokes = points - CENTRE
        angle = np.arctan2(spokes[:, 0], -spokes[:, 1])
        radius = np.interp(angle, self._angles, self._radii)
        share = np.minimum(np.hypot(spokes[:, 0], spokes[:, 1]) / radius, 1.0)
        return np.column_stack([points, self._height(share) + raise_z])

    def ring(self, share: float, grow: float = 0.0) -> Float64Array:
        """(64, 3) points where the surface is ``share`` of the way out to the outline."""
        flat = CENTRE + (self.outline - CENTRE) * (share + grow)
        height = np.full((len(flat), 1), float(self._height(np.array(share))) + 0.4 * grow)
        return np.hstack([flat, height])

    def back_rings(self, grow: float = 0.0) -> list[Float64Array]:
        """(64, 3) rings of the back of the skull, which ends above the neck."""
        rings = []
        for share, depth in ((1.0, -0.3), (0.93, -0.65), (0.75, -1.0)):
            flat = CENTRE + (self.outline - CENTRE) * (share + grow)
            flat[:, 1] = np.minimum(flat[:, 1], 0.75 * share)
            rings.append(np.hstack([flat, np.full((len(flat), 1), depth - 0.4 * grow)]))
        return rings

    def normals(self, ring: Float64Array, share: float) -> Float64Array:
        """(64, 3) unit normals of a ring, those of the ellipsoid through outline and front."""
        radius = np.hypot(*(self.outline - CENTRE).T)[:, None]
        flat = (self.outline - CENTRE) * share / radius**2
        steep = np.full((len(ring), 1), np.sqrt(max(1 - share**2, 0.0)) / self.depth)
        normal = np.hstack([flat, steep])
        unit: Float64Array = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        return unit

    def _height(self, share: Float64Array) -> Float64Array:
        height: Float64Array = self.depth * np.sqrt(1.0 - share**_BULGE)
        return height


def _outline(who: Identity) -> Float64Array:
    top, jaw = who.skull_height, who.jaw_width
    middle = 0.55 * who.cheek_width + 0.45 * jaw - 0.05 * who.cheek_hollow + 0.03
    right = [
        (0.56 * who.forehead_width, -0.94 * top),
        (0.92 * who.forehead_width, -0.68 * top),
        (1.02 * who.forehead_width, -0.35),
        (who.cheek_width, 0.22),
        (middle, 0.5 * (0.22 + who.jaw_y) + 0.05),
        (jaw, who.jaw_y),
        (who.chin_width, who.chin_y - 0.13),
    ]
    left = [(-x, y) for x, y in reversed(right)]
    outline: Float64Array = _CURVE @ np.array([(0.0, -top), *right, (0.0, who.chin_y), *left])
    return outline


@dataclass(frozen=True, slots=True)
class Camera:
    """A pin-hole camera in front of a head that turns about its own middle.

    Attributes:
        rotation: (3, 3) turn of the head: yaw first, then pitch, then roll.
        unit_px: pixels per head unit at the depth of the head's middle.
        origin_px: (2,) where the head's origin falls.
    """

    rotation: Float64Array
    unit_px: float
    origin_px: Float64Array

    @classmethod
    def of(cls, nuisance: Nuisance, size: int, *, follow: float = 1.0) -> Camera:
        """The camera of a picture; ``follow`` < 1 turns less (the neck)."""
        middle = (size - 1) / 2
        origin = np.array(
            [middle + nuisance.shift_x * size, middle + (nuisance.shift_y - 0.005) * size]
        )
        turn = rotation(
            follow * nuisance.yaw_deg, follow * nuisance.pitch_deg, follow * nuisance.roll_deg
        )
        return cls(turn, UNIT_SHARE * size * nuisance.scale, origin)

    def project(self, points: Float64Array) -> Float64Array:
        """(N, 3) head units to (N, 2) pixels of the picture."""
        turned = points @ self.rotation.T
        nearer = CAMERA_DISTANCE / (CAMERA_DISTANCE - turned[:, 2:])
        return self.origin_px + self.unit_px * nearer * turned[:, :2]


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Float64Array:
    """(3, 3) roll @ pitch @ yaw, with the signs of ``core.types.Pose``."""
    (sy, sp, sr), (cy, cp, cr) = (
        f(np.radians([yaw_deg, pitch_deg, roll_deg])) for f in (np.sin, np.cos)
    )
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    turned: Float64Array = roll @ pitch @ yaw
    return turned
