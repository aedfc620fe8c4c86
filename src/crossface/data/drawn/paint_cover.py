"""What covers a face: glasses, masks, scarves, hands and caps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crossface.core.seeds import generator
from crossface.data.drawn.canvas import Canvas
from crossface.data.drawn.palette import mix
from crossface.data.drawn.scene import Scene

_X = np.linspace(-1.0, 1.0, 13)


def paint_cover(canvas: Canvas, scene: Scene) -> None:
    """Whatever the picture's circumstances put in front of the face."""
    painter = _COVERS.get(scene.how.occlusion)
    if painter is not None:
        painter(canvas, scene, generator("drawn cover", scene.how.occlusion_seed))


def _glasses(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    who, dark = scene.who, scene.how.occlusion == "sunglasses"
    frame = rng.choice(np.array([(30, 28, 30), (90, 50, 30), (150, 150, 155), (120, 30, 40)]))
    power, rx = rng.uniform(2.0, 4.5), rng.uniform(0.27, 0.34)
    ry, width = rx * rng.uniform(0.65, 0.95), scene.px(rng.uniform(0.02, 0.055))
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    rim = np.column_stack(
        [np.sign(c) * np.abs(c) ** (2 / power) * r for c, r in ((cos, rx), (sin, ry))]
    )
    level = float(scene.head.lift(np.array([[who.eye_spacing, 0.0]]))[0, 2]) + 0.14
    for side in (-1, 1):
        lens = rim + np.array([side * (who.eye_spacing + 0.02), 0.04])
        bent = level - 0.25 * np.maximum(np.abs(lens[:, 0]) - 0.5, 0)
        edge = scene.in_space(np.column_stack([lens, bent]))
        if dark:
            canvas.fill(edge, frame * 0.4 + 12.0)
        canvas.line(edge, frame.astype(np.float64), width, closed=True)
        temple = np.array(
            [(who.eye_spacing + rx, -0.02, level - 0.1), (who.cheek_width + 0.06, -0.05, 0.2)]
        ) * (side, 1, 1)
        canvas.line(scene.in_space(temple), frame.astype(np.float64), width)
    gap = who.eye_spacing - rx + 0.03
    bridge = np.array([(-gap, 0.0, level), (0, -0.05, level + 0.1), (gap, 0.0, level)])
    canvas.line(scene.in_space(bridge), frame.astype(np.float64), width)


def _mask(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    who = scene.who
    cloth = rng.choice(np.array([(150, 190, 215), (235, 235, 235), (40, 42, 48), (200, 170, 180)]))
    colour = cloth.astype(np.float64)
    upper = who.nose_y - rng.uniform(0.1, 0.35)
    top = np.column_stack([0.8 * _X, upper + 0.22 * _X**2])
    rim = scene.head.outline
    jaw = rim[(rim[:, 1] > 0.75)] * (1.0, 1.03)
    out = np.where(np.abs(_X) < 0.5, 0.28 * (1 - 2 * np.abs(_X)), 0.0)[:, None] * (0, 0, 1)
    edge = scene.in_space(scene.head.lift(top, 0.06) + out)
    below = scene.on_face(jaw, 0.05)
    canvas.fill(np.vstack([edge, below]), colour)
    for drop in (0.25, 0.45, 0.65):
        fold = np.column_stack([0.62 * _X, upper + drop + 0.12 * _X**2])
        canvas.line(scene.in_space(scene.head.lift(fold, 0.2)), 0.85 * colour, scene.px(0.025))
    canvas.line(edge, 0.8 * colour, scene.px(0.03))
    for side in (-1, 1):
        strap = np.array([(0.8, upper + 0.22, 0.65), (1.02, 0.1, -0.1)]) * (side, 1, 1)
        canvas.line(scene.in_space(strap), 0.9 * colour, scene.px(0.025))


def _scarf(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    colour = rng.uniform(40, 200, 3)
    upper = scene.who.mouth_y + rng.uniform(-0.2, 0.25)
    x = np.linspace(-1.25, 1.25, 13)
    top = np.column_stack([x, upper - 0.25 * np.abs(x) ** 2, 0.95 - 0.75 * x**2])
    low = np.column_stack([1.15 * x, np.full(13, 2.3), 0.8 - 0.6 * x**2])[::-1]
    canvas.fill(scene.in_space(np.vstack([top, low])), colour)
    for drop in (0.15, 0.35, 0.6):
        canvas.line(scene.in_space(top + np.array([0, drop, 0])), 0.8 * colour, scene.px(0.04))


def _hand(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    """Fingers of a skin tone of their own across part of the face."""
    colour = mix(np.array([240.0, 200.0, 172.0]), np.array([80.0, 52.0, 40.0]), rng.random())
    side = rng.choice([-1.0, 1.0])
    place = np.array([side * rng.uniform(0.35, 0.75), rng.uniform(-0.6, 1.3), 1.2])
    lean = np.array([side * 1.4, rng.uniform(0.2, 1.4), 0.0])
    across = np.array([-lean[1], lean[0], 0.0]) / np.hypot(lean[0], lean[1])
    for number in range(rng.integers(2, 5)):
        tip = place + 0.24 * number * across + 0.06 * rng.standard_normal(3)
        finger = scene.in_space(np.array([tip, tip + 1.6 * lean]))
        canvas.line(finger, 0.72 * colour, scene.px(0.24))
        canvas.line(finger, colour, scene.px(0.2))


def _cap(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    colour = rng.uniform(30, 215, 3)
    line = -0.62 + rng.uniform(-0.12, 0.12)
    grow = max(0.14, 0.04 + 1.2 * scene.who.hair_volume)
    for ring in (
        *scene.head.back_rings(grow),
        scene.head.ring(1.0, grow),
        scene.head.ring(0.9, grow),
    ):
        ring[:, 1] = np.minimum(ring[:, 1], line)
        canvas.fill(scene.in_space(ring), colour)
    band = np.column_stack([1.1 * _X * scene.who.forehead_width, line + 0.0 * _X])
    edge = scene.in_space(scene.head.lift(band, 0.1))
    crown = scene.in_space(scene.head.lift(band - (0, 0.4), 0.1))
    canvas.fill(np.vstack([edge, crown[::-1]]), colour)
    front = np.column_stack([0.85 * _X, line + 0.1 - 0.04 * _X**2, 1.75 - 0.75 * _X**2])
    canvas.fill(np.vstack([edge, scene.in_space(front)[::-1]]), 0.75 * colour)
    canvas.line(edge, 0.6 * colour, scene.px(0.04))


_Painter = Callable[[Canvas, Scene, np.random.Generator], None]
_COVERS: dict[str, _Painter] = {
    "glasses": _glasses,
    "sunglasses": _glasses,
    "mask": _mask,
    "scarf": _scarf,
    "hand": _hand,
    "cap": _cap,
}
