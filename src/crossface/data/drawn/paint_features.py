"""Eyes, brows, nostrils and mouth."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from crossface.core.geometry import Float64Array
from crossface.data.drawn.anatomy import LIP_RAISE, Eye, brow
from crossface.data.drawn.canvas import Canvas, ellipse
from crossface.data.drawn.palette import iris_rgb, lip_rgb, mix
from crossface.data.drawn.scene import Scene

_WHITE = np.array([236.0, 232.0, 228.0])
_BLACK = np.array([22.0, 18.0, 18.0])


def paint_features(canvas: Canvas, scene: Scene) -> None:
    """All features on the skin, from the back to the front."""
    for side, eye in zip((-1, 1), scene.eyes, strict=True):
        _paint_eye(canvas, scene, eye, side)
    for side in (-1, 1):
        _paint_brow(canvas, scene, side)
    _paint_nostrils(canvas, scene)
    _paint_mouth(canvas, scene)


def _paint_eye(canvas: Canvas, scene: Scene, eye: Eye, side: int) -> None:
    who = scene.who
    upper, lower = scene.on_face(eye.upper), scene.on_face(eye.lower)
    almond = np.vstack([upper, lower[::-1][1:-1]])
    canvas.fill(almond, mix(_WHITE * 0.93, scene.skin, 0.08 + 0.1 * who.skin_tone))
    for radius, colour in _iris_rings(scene):
        disc = scene.on_face(ellipse(eye.iris, (radius, radius)))
        inside = _intersect(disc, almond)
        if inside is not None:
            canvas.fill(inside, colour)
    lid = mix(scene.skin * 0.55, _BLACK, 0.5)
    shadow = np.vstack([upper, upper[::-1] + np.array([0, scene.px(0.022)])])
    canvas.fill(shadow, mix(lid, _WHITE, 0.25))
    lash = mix(scene.skin * 0.4, _BLACK, 0.45 + 0.5 * who.lashes)
    wing = scene.on_face(eye.upper[-1:] + np.array([side * 0.03, -0.015 - 0.03 * who.lashes]))
    canvas.line(np.vstack([upper, wing]), lash, scene.px(0.026 + 0.02 * who.lashes))
    canvas.line(lower, mix(scene.skin * 0.7, _BLACK, 0.12), scene.px(0.013))
    if scene.how.eye_close < 0.6:
        glint = scene.on_face(eye.iris[None] + (0.03, -0.03))[0]
        canvas.fill(ellipse(glint, (scene.px(0.018),) * 2, count=8), _WHITE * 1.08)


def _iris_rings(scene: Scene) -> list[tuple[float, Float64Array]]:
    iris, radius = iris_rgb(scene.who), scene.who.iris_size
    return [
        (radius, iris * 0.5),
        (radius * 0.86, iris),
        (radius * 0.6, np.clip(iris * 1.25, 0, 255)),
        (radius * 0.42, _BLACK),
    ]


def _intersect(disc: Float64Array, almond: Float64Array) -> Float64Array | None:
    hull: Any = cv2.convexHull(almond.astype(np.float32))
    area, polygon = cv2.intersectConvexConvex(disc.astype(np.float32), hull)
    if area < 0.3 or polygon is None:
        return None
    inside: Float64Array = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    return inside


def _paint_brow(canvas: Canvas, scene: Scene, side: int) -> None:
    who = scene.who
    colour = mix(scene.hair, scene.hair * 0.45, who.brow_dark)
    colour = mix(colour, scene.skin * 0.6, 0.25)
    outline = brow(who, scene.how, side)
    canvas.fill(scene.on_face(outline, 0.03), colour)
    upper, lower = outline[:13], outline[13:][::-1]
    slant = np.stack([lower[:-2], upper[2:]], axis=1)
    ends = scene.on_face(slant.reshape(-1, 2), 0.03).reshape(-1, 2, 2)
    canvas.lines(ends, colour * 0.72, scene.px(0.012))


def _paint_nostrils(canvas: Canvas, scene: Scene) -> None:
    who, nose = scene.who, scene.nose
    dark = mix(scene.skin * 0.35, _BLACK, 0.35)
    seen = np.clip(1.0 + 0.05 * scene.how.pitch_deg, 0.35, 1.9)
    for index, side in enumerate((-1, 1)):
        if side * scene.how.yaw_deg > 32:
            continue
        hole = ellipse(np.zeros(2), (who.nostril * 1.5, who.nostril * 0.62 * seen), count=14)
        hole[:, 1] -= 0.25 * side * hole[:, 0]
        points = nose.nostrils[index] + np.column_stack([hole, np.zeros(len(hole))])
        canvas.fill(scene.in_space(points), dark)


def _paint_mouth(canvas: Canvas, scene: Scene) -> None:
    lips, colour = scene.mouth, lip_rgb(scene.who)
    colour = colour * (1.02 - 0.3 * scene.how.light_strength * 0.5)
    top, inner_top, inner_bottom, bottom = (
        scene.on_face(curve, LIP_RAISE)
        for curve in (lips.top, lips.inner_top, lips.inner_bottom, lips.bottom)
    )
    gap = float(np.max(inner_bottom[:, 1] - inner_top[:, 1]))
    if gap > 0.8:
        canvas.fill(np.vstack([inner_top, inner_bottom[::-1]]), (70, 28, 30))
        teeth = np.vstack([inner_top, (inner_top + 0.62 * (inner_bottom - inner_top))[::-1]])
        canvas.fill(teeth, _WHITE * 0.93)
        if scene.how.mouth_open > 0.25:
            low = inner_top + 0.62 * (inner_bottom - inner_top)
            canvas.fill(np.vstack([low, inner_bottom[::-1]]), (128, 56, 58))
    canvas.fill(np.vstack([inner_bottom, bottom[::-1]]), np.clip(colour * 1.06, 0, 255))
    canvas.fill(np.vstack([top, inner_top[::-1]]), colour * 0.86)
    shine = inner_bottom + 0.42 * (bottom - inner_bottom)
    canvas.line(shine[4:9], np.clip(colour * 1.22, 0, 255), scene.px(0.03))
    line = mix(colour * 0.45, _BLACK, 0.15)
    canvas.line(inner_top, line, scene.px(0.02))
    if gap > 0.8:
        canvas.line(inner_bottom, colour * 0.7, scene.px(0.012))
    canvas.line(bottom[3:10], colour * 0.8, scene.px(0.013))
