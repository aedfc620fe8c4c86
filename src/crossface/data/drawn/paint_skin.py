"""Neck, ears, head and marks: the flat colours of the skin."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from crossface.core.geometry import Float64Array
from crossface.core.seeds import generator
from crossface.data.drawn.canvas import Canvas
from crossface.data.drawn.geometry3d import Camera
from crossface.data.drawn.palette import mix
from crossface.data.drawn.scene import Scene

_COLLAR = np.linspace(-1, 1, 15)
_TURN = np.linspace(0, 2 * np.pi, 18, endpoint=False)


def paint_neck(canvas: Canvas, scene: Scene, clothes: Float64Array) -> None:
    """Neck and shoulders; they follow the head only a little."""
    body = Camera.of(scene.how, scene.size, follow=0.35)
    wide = 0.6 * scene.who.jaw_width + 0.1
    neck = [(-wide, 0.8), (-wide, 1.5), (-wide - 0.2, 2.25)]
    flat = np.array(neck + [(-x, y) for x, y in reversed(neck)])
    canvas.fill(body.project(np.column_stack([flat, np.full(6, -0.35)])), 0.72 * scene.skin)
    top = 1.86 + 0.55 * np.abs(_COLLAR) ** 2.5 + 0.22 * np.exp(-((_COLLAR / 0.25) ** 2))
    edge = np.column_stack([2.3 * _COLLAR, top, np.full_like(top, -0.4)])
    low = np.array([(2.3, 4.0, -0.4), (-2.3, 4.0, -0.4)])
    canvas.fill(body.project(np.vstack([edge, low])), clothes)
    canvas.line(body.project(edge), 0.8 * clothes, scene.px(0.04))


def paint_ears(canvas: Canvas, scene: Scene) -> None:
    """Both ears, drawn before the head that hides the far one."""
    for side in (-1, 1):
        _paint_ear(canvas, scene, side)


def paint_near_ear(canvas: Canvas, scene: Scene) -> None:
    """The ear of the side that is turned to the viewer, drawn over head and hair."""
    if abs(scene.how.yaw_deg) > 6:
        _paint_ear(canvas, scene, -1 if scene.how.yaw_deg > 0 else 1)


def _paint_ear(canvas: Canvas, scene: Scene, side: int) -> None:
    who = scene.who
    for shrink, shade in ((1.0, 0.9), (0.6, 0.72)):
        out = who.cheek_width * 0.97 + who.ear_out * (0.35 + shrink * np.cos(_TURN))
        down = who.ear_y + who.ear_size * shrink * np.sin(_TURN) * (1 - 0.15 * np.sin(_TURN))
        back = -0.2 - 0.22 * (1 + np.cos(_TURN)) * shrink + 0.1 * (1 - shrink)
        ear = np.column_stack([side * out, down, back])
        canvas.fill(scene.in_space(ear), shade * scene.skin * (1.0, 0.94, 0.93))


def paint_head(canvas: Canvas, scene: Scene) -> None:
    """The bare head: its rings from back to front, whose union is the silhouette."""
    chain = [scene.head.ring(1.0), *scene.head.back_rings()]
    for near, far in pairwise(chain):
        canvas.fill(scene.hull(near, far), scene.skin)
    for share in (1.0, 0.96, 0.88, 0.74):
        canvas.fill(scene.in_space(scene.head.ring(share)), scene.skin)


def paint_marks(canvas: Canvas, scene: Scene) -> None:
    """Moles and freckles, at places that belong to the person."""
    who = scene.who
    spots = generator("drawn marks", round(who.mole_x * 1e6), round(who.mole_y * 1e6))
    if who.moles > 0.5:
        others = spots.uniform((-0.65, -0.6), (0.65, 1.2), (2, 2))
        places = np.vstack([(who.mole_x, who.mole_y), others])[: 1 + int((who.moles - 0.5) / 0.2)]
        dark = mix(scene.skin * 0.5, np.array([60.0, 36.0, 28.0]), 0.3)
        canvas.dots(scene.on_face(places), scene.px(0.024), dark)
    if who.freckles > 0.8:
        places = spots.normal((0, 0.38), (0.36, 0.14), (70, 2))
        places = places[np.abs(places[:, 0]) < 0.75]
        share = 0.35 + 2.5 * (who.freckles - 0.8)
        colour = mix(scene.skin, scene.skin * (0.72, 0.6, 0.52), share)
        canvas.dots(scene.on_face(places), scene.px(0.013), colour)
