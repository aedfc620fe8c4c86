"""Frontal curves of the features, in head units, and the five landmarks on them.

A side is -1 for the viewer's left and +1 for the right; along an eye or a brow t runs from -1 at
the inner end to 1 at the outer end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossface.core.geometry import Float64Array
from crossface.data.drawn.geometry3d import Head
from crossface.data.drawn.identity import Identity
from crossface.data.drawn.nuisance import Nuisance

_T = np.linspace(-1.0, 1.0, 13)
_ARCH = 1 - _T**2
LIP_RAISE = 0.07
"""How far the lips stand out of the surface."""


@dataclass(frozen=True, slots=True)
class Eye:
    """Frontal curves of one eye: (13, 2) lids and fold, (2,) centre and iris centre."""

    upper: Float64Array
    lower: Float64Array
    crease: Float64Array
    centre: Float64Array
    iris: Float64Array


def eye(who: Identity, how: Nuisance, side: int) -> Eye:
    """The curves of one eye under an expression."""
    squint = max(0.0, how.smile) * 0.22
    open_up = who.eye_open * (1 - how.eye_close) * (1 + 0.15 * how.brow_raise) * (1 - squint)
    open_up = max(open_up, 0.008)
    open_down = 0.62 * who.eye_open * (1 - 0.7 * how.eye_close) * (1 - squint)
    shut = 0.45 * who.eye_open * how.eye_close
    x = side * who.eye_spacing + side * who.eye_width * _T
    axis = -who.eye_tilt * who.eye_width * _T + shut
    upper = axis - open_up * _ARCH * (1 + who.eye_skew * _T)
    lower = axis + open_down * _ARCH
    fold = max(who.lid_crease * (1 + 0.3 * how.brow_raise), 0.012)
    crease = axis - max(open_up, 0.8 * who.eye_open) * 1.05 * _ARCH - fold * (0.45 + 0.55 * _ARCH)
    look = np.array([0.07 * how.gaze_x, 0.028 * how.gaze_y])
    iris = np.array([side * who.eye_spacing, -0.12 * who.eye_open]) + look
    centre = np.array([side * who.eye_spacing, 0.0])
    curves = [np.column_stack([x, y]) for y in (upper, lower, crease)]
    return Eye(curves[0], curves[1], curves[2], centre, iris)


def brow(who: Identity, how: Nuisance, side: int) -> Float64Array:
    """(26, 2) outline of one brow."""
    middle = who.brow_gap + who.brow_length
    x = side * (middle + who.brow_length * _T)
    frown = max(0.0, -how.brow_raise)
    line = -(who.brow_y + 0.085 * how.brow_raise) - who.brow_tilt * who.brow_length * _T
    line = line - who.brow_arch * (1 - (_T - 0.25) ** 2) + 0.05 * frown * (1 - _T) / 2
    thick = who.brow_thickness * np.clip(1.05 - 0.75 * np.maximum(_T + 0.1, 0) ** 1.5, 0.12, 1)
    thick = thick * np.clip((_T + 1) * 4 + 0.55, 0, 1)
    upper, lower = line - thick, line + thick
    return np.vstack([np.column_stack([x, upper]), np.column_stack([x, lower])[::-1]])


@dataclass(frozen=True, slots=True)
class Mouth:
    """Frontal curves of the mouth from the viewer's left to right corner, each (13, 2)."""

    top: Float64Array
    inner_top: Float64Array
    inner_bottom: Float64Array
    bottom: Float64Array


def mouth(who: Identity, how: Nuisance) -> Mouth:
    """The curves of the lips under an expression."""
    wide = who.mouth_width * (1 + 0.2 * max(how.smile, -0.4) - 0.12 * how.mouth_open)
    lift = who.mouth_curve + 0.1 * how.smile
    x = wide * _T
    middle = who.mouth_y - lift * _T**2 + 0.02 * how.smile
    thin = 1 - 0.25 * max(0.0, how.smile)
    notch = 0.35 * who.cupid_bow * (np.exp(-((_T / 0.16) ** 2)) - 0.6 * np.exp(-((_T / 0.4) ** 2)))
    top = middle - who.upper_lip * thin * (_ARCH**0.8 - notch * _ARCH)
    parted = 0.26 * how.mouth_open + 0.05 * max(0.0, how.smile - 0.35)
    inner_top = middle - 0.25 * parted * _ARCH + 0.01 * np.cos(3 * np.pi * _T) * _ARCH
    inner_bottom = inner_top + parted * _ARCH
    bottom = inner_bottom + who.lower_lip * thin * _ARCH**0.7
    return Mouth(*(np.column_stack([x, y]) for y in (top, inner_top, inner_bottom, bottom)))


@dataclass(frozen=True, slots=True)
class Nose:
    """Points of the nose in space: each (3,), or (N, 3) from the viewer's left to right."""

    root: Float64Array
    bridge: Float64Array
    tip: Float64Array
    wings: Float64Array
    nostrils: Float64Array
    base: Float64Array


def nose(who: Identity, how: Nuisance, head: Head) -> Nose:
    """The nose; it lifts a little and widens when the mouth smiles."""
    wide = who.nose_width * (1 + 0.08 * max(0.0, how.smile))
    under = who.nose_y + who.nose_turn
    flat = np.array(
        [
            (0.0, 0.02),
            (0.0, who.nose_y),
            (0.0, under),
            (-wide, who.nose_y + 0.35 * who.nose_turn),
            (wide, who.nose_y + 0.35 * who.nose_turn),
            (-0.5 * wide, under - 0.02),
            (0.5 * wide, under - 0.02),
        ]
    )
    lifted = head.lift(flat)
    out = who.nose_project
    lifted[:, 2] += np.array([0.1, out, 0.3 * out, 0.25 * out, 0.25 * out, 0.5 * out, 0.5 * out])
    root, tip, base = lifted[0], lifted[1], lifted[2]
    bridge = root + np.array([[0.0], [0.33], [0.66]]) * (tip - root)
    return Nose(root, bridge, tip, lifted[3:5], lifted[5:7], base)


def landmarks(who: Identity, how: Nuisance, head: Head) -> Float64Array:
    """(5, 3): viewer's left eye, right eye, nose tip, left and right mouth corner."""
    lips = mouth(who, how)
    eyes = head.lift(np.array([eye(who, how, side).centre for side in (-1, 1)]))
    corners = head.lift(lips.inner_top[[0, -1]], LIP_RAISE)
    return np.vstack([eyes, nose(who, how, head).tip, corners])
