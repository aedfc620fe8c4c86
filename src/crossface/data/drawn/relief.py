"""The soft relief of the skin: hollows, folds, blush, highlights and beard as one factor."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crossface.data.drawn.canvas import Mask, ellipse
from crossface.data.drawn.identity import BEARD_STYLES
from crossface.data.drawn.scene import Scene

FloatMap = npt.NDArray[np.float32]

_SHADOW = (0.72, 0.9, 1.0)  # how much of each channel a shadow takes: shadows on skin are warm
_BLUSH = (0.0, 0.26, 0.22)
_X = np.linspace(-1.0, 1.0, 13)
_CREASES = np.linspace(-0.45, 0.45, 7)


def relief(scene: Scene) -> Any:  # noqa: ANN401  # float32 image
    """(H, W, 3) float32 factor in 0..2 by which the flat skin is multiplied."""
    dark = 0.42 * _hollows(scene) + 0.5 * _folds(scene)
    blush, light, beard = _blush(scene), _highlights(scene), _beard(scene)
    channels = []
    for channel in range(3):
        factor = (1 - np.float32(_SHADOW[channel]) * dark) + light
        if _BLUSH[channel]:
            factor *= 1 - np.float32(_BLUSH[channel]) * blush
        if beard is not None:
            target = min(1.0, float(scene.hair[channel] / max(scene.skin[channel], 1.0)))
            factor *= 1 - np.float32(1 - target) * beard
        channels.append(factor)
    return cv2.merge(channels)


def _hollows(scene: Scene) -> FloatMap:
    who, mask = scene.who, Mask(scene.size)
    for side, eye in zip((-1, 1), scene.eyes, strict=True):
        inner = np.array([[side * who.brow_gap, -0.7 * who.brow_y]])
        socket = np.vstack([eye.crease[2:] - (0, 0.02), eye.upper[::-1], inner])
        mask.fill(scene.on_face(socket), 0.35 + 0.55 * who.eye_socket)
        hollow = np.array([(0.62, 0.62), (0.84, 0.5), (0.72, 0.95), (0.5, 1.15)]) * (side, 1)
        mask.fill(scene.on_face(hollow), 0.55 * who.cheek_hollow)
    _nose_shadow(mask, scene)
    chin = who.mouth_y + who.lower_lip + 0.06 + 0.2 * scene.how.mouth_open
    groove = ellipse(np.array([0.0, chin]), (0.2, 0.045), count=12)
    mask.fill(scene.on_face(groove), 0.6)
    return mask.soft(scene.px(0.055))


def _nose_shadow(mask: Mask, scene: Scene) -> None:
    """One flank away from the lamp, and below the tip."""
    who, nose = scene.who, scene.nose
    away = -1 if scene.how.light_azimuth_deg > 0 else 1
    edge = who.bridge_width * np.array([away, 0, -0.8])
    flank = [
        nose.bridge[0] + edge,
        nose.bridge[2] + 0.8 * edge,
        nose.tip,
        nose.wings[(away + 1) // 2],
        nose.bridge[1] + 2.0 * edge,
    ]
    mask.fill(scene.in_space(np.array(flank)), 0.3 + 0.5 * scene.how.light_strength)
    below = [nose.wings[0], nose.base + np.array([0, 0.05, 0]), nose.wings[1], *nose.nostrils[::-1]]
    mask.fill(scene.in_space(np.array(below)), 0.75)


def _folds(scene: Scene) -> FloatMap:
    who, how, mask = scene.who, scene.how, Mask(scene.size)
    line = scene.px(0.03)
    old, smile = max(0.0, who.age - 0.5) * 2, max(0.0, how.smile)
    for side, eye in zip((-1, 1), scene.eyes, strict=True):
        mask.line(scene.on_face(eye.crease), 0.75, line)
        bag = eye.lower[2:-2] + np.array([0, 0.075])
        mask.line(scene.on_face(bag), 0.55 * who.eye_bags + 0.3 * smile, line)
        _laugh_line(mask, scene, side, min(1.0, 0.1 + 0.45 * smile + 0.4 * old))
        for drop in (-0.05, 0.02, 0.09) if old > 0.1 else ():
            out = who.eye_spacing + 1.15 * who.eye_width
            crow = np.array([(out, drop * 0.5), (out + 0.13, drop * 1.8)]) * (side, 1)
            mask.line(scene.on_face(crow), 0.6 * old, 1)
    for up in (0.25, 0.38, 0.5) if old > 0.1 or how.brow_raise > 0.4 else ():
        furrow = np.column_stack([_CREASES, -who.brow_y - up - 0.03 * np.cos(5 * _CREASES)])
        mask.line(scene.on_face(furrow), min(1.0, 0.5 * max(old, how.brow_raise - 0.3)), 1)
    _nose_lines(mask, scene)
    return mask.soft(max(0.6, scene.px(0.012)))


def _laugh_line(mask: Mask, scene: Scene, side: int, value: float) -> None:
    """From the wing of the nose around the corner of the mouth."""
    who = scene.who
    start = np.array([who.nose_width + 0.04, who.nose_y + 0.02])
    end = np.array([who.mouth_width * (1.1 + 0.2 * max(0.0, scene.how.smile)), who.mouth_y - 0.04])
    t = np.linspace(0, 1, 6)[:, None]
    path = start + t * (end - start) + np.array([0.07, 0]) * t
    path += np.array([0.18, -0.04]) * t * (1 - t)
    mask.line(scene.on_face(path * (side, 1)), value, scene.px(0.025))


def _nose_lines(mask: Mask, scene: Scene) -> None:
    who, nose, width = scene.who, scene.nose, scene.px(0.03)
    curl = np.array(
        [(-0.03, -0.1, 0.04), (0.012, -0.02, 0.0), (-0.02, 0.05, 0.0), (-0.08, 0.06, 0.04)]
    )
    for index, side in enumerate((-1, 1)):
        mask.line(scene.in_space(nose.wings[index] + curl * (side, 1, 1)), 0.85, width)
    yaw = scene.how.yaw_deg
    for side in (-1, 1):
        strength = 0.12 + 0.03 * max(0.0, side * yaw)  # a turned nose stands before the far cheek
        edge = nose.bridge + np.array([0.55 * who.bridge_width * side, 0, -0.03])
        tip = nose.tip + np.array([0.5 * who.nose_tip * side, 0.03, -0.03])
        mask.line(scene.in_space(np.vstack([edge, tip])), min(1.0, strength), width)


def _blush(scene: Scene) -> FloatMap:
    who, mask = scene.who, Mask(scene.size)
    for side in (-1, 1):
        if side * scene.how.yaw_deg > 30:
            continue
        cheek = ellipse(np.array([side * 0.58, 0.5]), (0.24, 0.18), count=14)
        mask.fill(scene.on_face(cheek), 0.15 + 0.6 * who.ruddiness)
    tip = ellipse(np.array([0.0, who.nose_y]), (0.12, 0.1), count=10)
    mask.fill(scene.on_face(tip, 0.2), 0.15 + 0.6 * who.ruddiness)
    return mask.soft(scene.px(0.11))


def _highlights(scene: Scene) -> FloatMap:
    who, mask, nose = scene.who, Mask(scene.size), scene.nose
    lamp = float(np.sign(scene.how.light_azimuth_deg)) * 0.03
    shift = np.array([lamp, 0, 0])
    mask.line(scene.in_space(nose.bridge + shift), 0.5, scene.px(0.5 * who.bridge_width))
    disc = ellipse(np.zeros(2), (0.6 * who.nose_tip, 0.6 * who.nose_tip), count=10)
    tip = nose.tip + shift + np.column_stack([disc, np.zeros(len(disc))])
    mask.fill(scene.in_space(tip), 0.9)
    for side in (-1, 1):
        if side * scene.how.yaw_deg > 22:
            continue  # the far cheek is the silhouette
        bone = np.array([(0.5, 0.26), (0.72, 0.16), (0.78, 0.24), (0.58, 0.36)]) * (side, 1)
        mask.fill(scene.on_face(bone), 0.35 + 0.4 * (side * lamp > 0))
    brow = ellipse(np.array([3 * lamp, -0.62]), (0.32, 0.14), count=12)
    mask.fill(scene.on_face(brow), 0.35)
    gloss = 0.14 + 0.12 * scene.how.light_strength + 0.14 * who.skin_tone
    return mask.soft(scene.px(0.045)) * np.float32(gloss)


def _beard(scene: Scene) -> FloatMap | None:
    """(H, W) share of hair over skin, None without a beard."""
    who = scene.who
    style = BEARD_STYLES[who.beard_style]
    if style == "none":
        return None
    mask = Mask(scene.size)
    cover = 0.7 + 0.3 * who.beard_density
    if style == "stubble":
        cover = 0.2 + 0.25 * who.beard_density
    lip = who.mouth_y - who.upper_lip
    wide = who.mouth_width * 1.12
    if style in {"full", "stubble"}:
        rim = scene.head.ring(1.0)
        cheek = lip - 0.05 - 0.1 * np.abs(_X) - 0.5 * np.maximum(np.abs(_X) - 0.55, 0) ** 1.3
        line = np.column_stack([_X * who.jaw_width * 1.06, cheek])
        mask.fill(np.vstack([scene.in_space(rim[rim[:, 1] > 0.5]), scene.on_face(line)]), cover)
    if style == "goatee":
        top = who.mouth_y + 0.5 * who.lower_lip
        chin = np.column_stack([_X * 0.95 * who.mouth_width, top + 0.05 * (1 - _X**2)])
        low = np.column_stack(
            [_X * 0.85 * who.mouth_width, top + (who.chin_y - top) * (1 - 0.35 * _X**4)]
        )
        mask.fill(scene.on_face(np.vstack([chin, low[::-1]])), cover)
    above = np.column_stack([_X * wide, lip - 0.1 * (1 - np.abs(_X)) - 0.01 + 0.1 * _X**2])
    under = np.column_stack([_X * wide, lip + 0.03 + 0.17 * _X**2])
    mask.fill(scene.on_face(np.vstack([above, under[::-1]]), 0.06), cover)
    return mask.soft(max(0.7, scene.px(0.016)))
