"""Neck, ears, head and the soft relief of the skin."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.geometry import Float64Array
from crossface.core.seeds import generator
from crossface.data.drawn.canvas import Canvas, Mask, ellipse
from crossface.data.drawn.geometry3d import Camera
from crossface.data.drawn.identity import BEARD_STYLES
from crossface.data.drawn.nuisance import Nuisance
from crossface.data.drawn.palette import mix
from crossface.data.drawn.scene import Scene

_LEVELS = (0.12, 0.36, 0.58, 0.76, 0.9, 1.0)
_SHADOW = np.array([0.72, 0.9, 1.0], dtype=np.float32)  # how much of each channel a shadow takes


def paint_neck(canvas: Canvas, scene: Scene, clothes: Float64Array) -> None:
    """Neck and shoulders; they follow the head only halfway."""
    body = Camera.of(scene.how, scene.size, follow=0.35)
    wide = 0.62 * scene.who.jaw_width + 0.1
    neck = [(-wide, 0.8, -0.3), (-wide, 1.9, -0.4), (wide, 1.9, -0.4), (wide, 0.8, -0.3)]
    canvas.fill(body.project(np.array(neck)), 0.74 * scene.skin)
    x = np.linspace(-1, 1, 15)
    top = 1.86 + 0.55 * np.abs(x) ** 2.5 + 0.22 * np.exp(-((x / 0.25) ** 2))
    edge = np.column_stack([2.3 * x, top, np.full_like(x, -0.4)])
    low = np.array([(2.3, 4.0, -0.4), (-2.3, 4.0, -0.4)])
    canvas.fill(body.project(np.vstack([edge, low])), clothes)
    canvas.line(body.project(edge), 0.8 * clothes, scene.px(0.04))


def paint_ears(canvas: Canvas, scene: Scene) -> None:
    """Both ears, drawn before the head that hides the far one."""
    who = scene.who
    turn = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    for side in (-1, 1):
        for shrink, shade in ((1.0, 0.9), (0.6, 0.72)):
            out = who.cheek_width * 0.97 + who.ear_out * (0.35 + shrink * np.cos(turn))
            down = who.ear_y + who.ear_size * shrink * np.sin(turn) * (1 - 0.15 * np.sin(turn))
            back = -0.2 - 0.22 * (1 + np.cos(turn)) * shrink + 0.1 * (1 - shrink)
            ear = np.column_stack([side * out, down, back])
            canvas.fill(scene.in_space(ear), shade * scene.skin * (1.0, 0.94, 0.93))


def paint_head(canvas: Canvas, scene: Scene) -> None:
    """The bare head: its rings from back to front, whose union is the silhouette."""
    for ring in scene.head.back_rings():
        canvas.fill(scene.in_space(ring), scene.skin)
    for share in (1.0, 0.96, 0.88, 0.74):
        canvas.fill(scene.in_space(scene.head.ring(share)), scene.skin)


def light_direction(how: Nuisance) -> Float64Array:
    """(3,) unit vector from the head to the lamp."""
    azimuth, elevation = np.radians([how.light_azimuth_deg, how.light_elevation_deg])
    return np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ]
    )


def form_shading(scene: Scene) -> npt.NDArray[np.float32]:
    """(H, W, 1) brightness of the head as a curved body under one lamp and a sky."""
    import cv2

    lamp = light_direction(scene.how) @ scene.camera.rotation  # into the head's own frame
    values, rings = [], []
    for share in (*_LEVELS, 1.35):
        ring = scene.head.ring(min(share, 1.0), max(share - 1.0, 0.0))
        lit = np.maximum(scene.head.normals(ring, min(share, 0.985)) @ lamp, 0.0)
        values.append(lit)
        rings.append(scene.in_space(ring))
    half = scene.size // 2
    strength = scene.how.light_strength
    tone = 1.05 * (1 - 0.75 * strength) + 0.85 * strength * np.array(values)
    coded = np.clip(tone * 127, 0, 255)
    mesh = np.rint((np.array(rings) - 0.5) * 8).astype(np.int32)  # sixteenths of a half pixel
    quads = np.stack([mesh[:-1], np.roll(mesh[:-1], -1, 1), np.roll(mesh[1:], -1, 1), mesh[1:]], 2)
    shade = np.minimum(coded[:-1], 255) * 0.5 + coded[1:] * 0.5
    image: Any = np.full((half, half), float(coded[-1].mean()), dtype=np.uint8)
    for level in range(len(shade) - 1, -1, -1):
        for quad, value in zip(quads[level, ::2], shade[level, ::2], strict=True):
            cv2.fillConvexPoly(image, quad, float(value), 8, 4)
        for quad, value in zip(quads[level, 1::2], shade[level, 1::2], strict=True):
            cv2.fillConvexPoly(image, quad, float(value), 8, 4)
    cv2.fillPoly(image, [mesh[0]], float(coded[0].mean()), 8, 4)
    image = cv2.GaussianBlur(image, (0, 0), 0.045 * half)
    image = cv2.resize(image, (scene.size, scene.size), interpolation=cv2.INTER_LINEAR)
    return (np.float32(1 / 127) * image)[:, :, None]  # type: ignore[no-any-return]


def relief(scene: Scene) -> npt.NDArray[np.float32]:
    """(H, W, 3) factor for the skin: form, hollows, folds, blush and beard shadow."""
    shade = 1 - (0.42 * _hollows(scene) + 0.5 * _folds(scene)) * _SHADOW
    factor = form_shading(scene) * shade
    factor *= 1 - _blush(scene) * np.array([0.0, 0.26, 0.22], dtype=np.float32)
    factor += _highlights(scene)
    beard = beard_shadow(scene)
    if beard is not None:
        target = np.minimum(scene.hair / np.maximum(scene.skin, 1), 1.0).astype(np.float32)
        factor *= 1 - beard * (1 - target)
    return factor


def _hollows(scene: Scene) -> npt.NDArray[np.float32]:
    who, mask = scene.who, Mask(scene.size)
    for side, eye in zip((-1, 1), scene.eyes, strict=True):
        inner = np.array([[side * who.brow_gap, -0.7 * who.brow_y]])
        socket = np.vstack([eye.crease[2:] - (0, 0.02), eye.upper[::-1], inner])
        mask.fill(scene.on_face(socket), 0.35 + 0.55 * who.eye_socket)
        hollow = np.array([(0.62, 0.62), (0.86, 0.5), (0.74, 0.95), (0.5, 1.15)]) * (side, 1)
        mask.fill(scene.on_face(hollow), 0.55 * who.cheek_hollow)
    lamp = -1 if scene.how.light_azimuth_deg > 0 else 1
    nose = scene.nose
    bridge = who.bridge_width * np.array([lamp, 0, -0.8])
    dark = np.vstack([nose.bridge[0] + bridge, nose.bridge[2] + bridge * 0.8, nose.tip,
                      nose.wings[(lamp + 1) // 2], nose.bridge[1] + 2.0 * bridge])
    mask.fill(scene.in_space(dark), 0.3 + 0.5 * scene.how.light_strength)
    below = np.vstack([nose.wings[0], nose.base + (0, 0.05, 0), nose.wings[1], nose.nostrils[::-1]])
    mask.fill(scene.in_space(below), 0.75)
    chin = who.mouth_y + who.lower_lip + 0.06 + 0.2 * scene.how.mouth_open
    groove = ellipse(np.array([0.0, chin]), (0.2, 0.045), count=12)
    mask.fill(scene.on_face(groove), 0.6)
    return mask.soft(scene.px(0.055))


def _folds(scene: Scene) -> npt.NDArray[np.float32]:
    who, how, mask = scene.who, scene.how, Mask(scene.size)
    line = scene.px(0.03)
    old = max(0.0, who.age - 0.5) * 2
    smile = max(0.0, how.smile)
    for side, eye in zip((-1, 1), scene.eyes, strict=True):
        mask.line(scene.on_face(eye.crease), 0.75, line)
        bag = eye.lower + (0, 0.075)
        mask.line(scene.on_face(bag[2:-2]), 0.55 * who.eye_bags + 0.3 * smile, line)
        start = (who.nose_width + 0.05, who.nose_y + 0.02)
        corner = (who.mouth_width * (1.08 + 0.2 * smile) + 0.06, who.mouth_y - 0.02)
        bend = (0.5 * (start[0] + corner[0]) + 0.05, 0.5 * (start[1] + corner[1]) - 0.03)
        fold = np.array([start, bend, corner]) * (side, 1)
        mask.line(scene.on_face(fold), min(1.0, 0.15 + 0.5 * smile + 0.5 * old), line)
        if old > 0.1:
            out = who.eye_spacing + 1.15 * who.eye_width
            for drop in (-0.05, 0.02, 0.09):
                crow = np.array([(out, drop * 0.5), (out + 0.13, drop * 1.8)]) * (side, 1)
                mask.line(scene.on_face(crow), 0.6 * old, 1)
    if old > 0.1 or how.brow_raise > 0.4:
        x = np.linspace(-0.45, 0.45, 7)
        for up in (0.25, 0.38, 0.5):
            y = -who.brow_y - up - 0.03 * np.cos(5 * x)
            value = 0.5 * max(old, how.brow_raise - 0.3)
            mask.line(scene.on_face(np.column_stack([x, y])), min(1.0, value), 1)
    _nose_lines(mask, scene)
    return mask.soft(max(0.6, scene.px(0.012)))


def _nose_lines(mask: Mask, scene: Scene) -> None:
    who, nose, width = scene.who, scene.nose, scene.px(0.03)
    yaw = scene.how.yaw_deg
    for index, side in enumerate((-1, 1)):
        wing = nose.wings[index]
        curl = np.array([(-0.03, -0.1, 0.04), (0.012, -0.02, 0.0), (-0.02, 0.05, 0.0),
                         (-0.08, 0.06, 0.04)]) * (side, 1, 1)
        mask.line(scene.in_space(wing + curl), 0.85, width)
    far = 1 if yaw > 0 else -1
    edge = nose.bridge + np.array([0.55 * who.bridge_width * far, 0, -0.03])
    tip = nose.tip + np.array([0.5 * who.nose_tip * far, 0.03, -0.03])
    ridge = np.vstack([edge, tip])
    mask.line(scene.in_space(ridge), min(1.0, 0.12 + 0.03 * abs(yaw)), width)
    if abs(yaw) < 12:
        ridge = np.vstack([edge, tip]) * (-1, 1, 1)
        mask.line(scene.in_space(ridge), 0.12, width)


def _blush(scene: Scene) -> npt.NDArray[np.float32]:
    who, mask = scene.who, Mask(scene.size)
    for side in (-1, 1):
        cheek = ellipse(np.array([side * 0.58, 0.5]), (0.24, 0.18), count=14)
        mask.fill(scene.on_face(cheek), 0.2 + 0.7 * who.ruddiness)
    tip = ellipse(np.array([0.0, who.nose_y]), (0.12, 0.1), count=10)
    mask.fill(scene.on_face(tip, 0.2), 0.15 + 0.6 * who.ruddiness)
    return mask.soft(scene.px(0.11))


def _highlights(scene: Scene) -> npt.NDArray[np.float32]:
    who, mask, nose = scene.who, Mask(scene.size), scene.nose
    lamp = np.sign(scene.how.light_azimuth_deg) * 0.03
    shift = np.array([lamp, 0, 0])
    mask.line(scene.in_space(nose.bridge + shift), 0.5, scene.px(0.5 * who.bridge_width))
    tip = nose.tip + shift + np.column_stack([ellipse(np.zeros(2), (who.nose_tip * 0.6,) * 2, count=10),
                                              np.zeros(10)])
    mask.fill(scene.in_space(tip), 0.9)
    for side in (-1, 1):
        bone = np.array([(0.5, 0.26), (0.72, 0.16), (0.78, 0.24), (0.58, 0.36)]) * (side, 1)
        lit = 0.35 + 0.4 * (side * lamp > 0)
        mask.fill(scene.on_face(bone), lit)
    brow = ellipse(np.array([3 * lamp, -0.62]), (0.32, 0.14), count=12)
    mask.fill(scene.on_face(brow), 0.35)
    return mask.soft(scene.px(0.045)) * np.float32(0.16 + 0.14 * scene.how.light_strength)


def beard_shadow(scene: Scene) -> npt.NDArray[np.float32] | None:
    """(H, W, 1) share of hair over skin, None without a beard."""
    who = scene.who
    style = BEARD_STYLES[who.beard_style]
    if style == "none":
        return None
    mask = Mask(scene.size)
    cover = 0.55 + 0.4 * who.beard_density
    if style == "stubble":
        cover = 0.2 + 0.25 * who.beard_density
    x = np.linspace(-1, 1, 13)
    lip = who.mouth_y - who.upper_lip - 0.03
    if style in {"full", "stubble"}:
        rim = scene.head.ring(1.0)
        below = rim[(rim[:, 1] > 0.45)]
        line = np.column_stack([x * 0.8, 0.62 + 0.55 * (1 - np.abs(x) ** 1.5) - 0.1 * (1 - x**2)])
        mask.fill(np.vstack([scene.in_space(below), scene.on_face(line)]), cover)
    if style == "goatee":
        chin = ellipse(np.array([0.0, who.chin_y - 0.2]), (0.3, 0.3), count=16)
        mask.fill(scene.on_face(chin), cover)
    wide = who.mouth_width * 1.12
    above = np.column_stack([x * wide, lip - 0.12 * (1 - np.abs(x)) - 0.02])
    under = np.column_stack([x * wide, lip + 0.07 + 0.12 * x**2])[::-1]
    mask.fill(scene.on_face(np.vstack([above, under]), 0.06), cover)
    return mask.soft(max(0.7, scene.px(0.03)))


def paint_marks(canvas: Canvas, scene: Scene) -> None:
    """Moles and freckles, at places that belong to the person."""
    who = scene.who
    dark = mix(scene.skin * 0.55, np.array([70.0, 40.0, 30.0]), 0.3)
    spots = generator("drawn marks", round(who.mole_x * 1e6), round(who.mole_y * 1e6))
    if who.moles > 0.4:
        places = np.array([(who.mole_x, who.mole_y), *spots.uniform((-0.7, -0.6), (0.7, 1.3), (3, 2))])
        count = 1 + int((who.moles - 0.4) / 0.2)
        for centre in scene.on_face(places[:count]):
            canvas.fill(ellipse(centre, (scene.px(0.026),) * 2, count=10), dark)
    if who.freckles > 0.75:
        places = spots.normal((0, 0.38), (0.42, 0.15), (70, 2))
        colour = mix(scene.skin, scene.skin * (0.72, 0.6, 0.52), 0.5 + 2 * (who.freckles - 0.75))
        for centre in scene.on_face(places):
            canvas.fill(ellipse(centre, (scene.px(0.013),) * 2, count=6), colour)
