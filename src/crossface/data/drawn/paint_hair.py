"""Hair of twelve families: what hangs behind, the cap on the skull, what falls in front."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from crossface.core.geometry import Float64Array
from crossface.core.seeds import generator
from crossface.data.drawn.canvas import Canvas
from crossface.data.drawn.geometry3d import CENTRE
from crossface.data.drawn.identity import HAIR_STYLES
from crossface.data.drawn.palette import mix
from crossface.data.drawn.scene import Scene

_HANGING = {"bob", "long", "curtains"}
_X = np.linspace(-1.0, 1.0, 17)
_STEPS = np.linspace(0.0, 0.9, 8)


def style_of(scene: Scene) -> str:
    """The family name of this person's hair."""
    return HAIR_STYLES[scene.who.hair_style]


def paint_back_hair(canvas: Canvas, scene: Scene) -> None:
    """What is seen behind neck and ears: hanging hair, a bun, a ball of curls."""
    who, style = scene.who, style_of(scene)
    dark = scene.hair * 0.72
    if style in _HANGING:
        low = {"bob": 0.75, "curtains": 1.15, "long": 1.75}[style] + 0.45 * (who.hair_length - 1.5)
        half = np.linspace(0, 1, 9)
        wave = 0.09 * who.hair_curl * np.sin(half * 11 + scene.how.hair_sway)
        widening = np.minimum(1.0, 2.2 * half)
        top, side = 0.85 * who.forehead_width, who.cheek_width + who.hair_volume + 0.08
        x = top * (1 - widening) + side * widening + 0.12 * half + wave * widening
        y = -1.0 + (low + 1.0) * half
        right = np.column_stack([x, y, np.full(9, -0.35)])
        left = right[::-1] * (-1, 1, 1)
        canvas.fill(scene.in_space(np.vstack([right, left])), dark)
    if style == "bun":
        turn = np.linspace(0, 2 * np.pi, 20)
        ball = np.column_stack(
            [0.4 * np.cos(turn), -who.skull_height - 0.1 + 0.33 * np.sin(turn), np.full(20, -0.5)]
        )
        canvas.fill(scene.in_space(ball), dark)


def paint_cap(canvas: Canvas, scene: Scene) -> None:
    """Hair on the skull, then the skin of the face below the hairline over it."""
    style = style_of(scene)
    if style == "bald":
        return
    grow, colour = _cap_shape(scene, style)
    cut = {"bob": 0.75, "long": 0.8, "curtains": 0.8, "curly": 0.3}.get(style, 0.12)
    rings = _grown(scene, grow, cut)
    for ring in rings:
        ring[:, 1] = np.minimum(ring[:, 1], cut)
        if style == "curly":
            _curl(ring, scene)
        if style == "quiff":
            aside = (ring[:, 0] - 0.3 * scene.who.hair_part) / 0.45
            ring[:, 1] -= 0.16 * np.exp(-(aside**2)) * (ring[:, 1] < -1.2)
        canvas.fill(scene.in_space(ring), colour)
    for near, far in pairwise(rings):
        canvas.fill(scene.hull(near, far), colour)
    _strands(canvas, scene, rings[-2], colour)
    face = _face_window(scene, style)
    canvas.fill(face, scene.skin)
    for share in (0.88, 0.76):  # on the far side of a turned head these stand before the outline
        canvas.fill(_face_window(scene, style, share), scene.skin)
    if style == "buzz":
        canvas.line(face[: len(_X)], mix(colour, scene.skin, 0.5), scene.px(0.05))


def _grown(scene: Scene, grow: float, cut: float) -> list[Float64Array]:
    """Rings of the skull with hair on it, full at the top and tapering to the cut."""
    head = scene.head
    bare = [*head.back_rings()[::-1], head.ring(1.0), head.ring(0.9)]
    full = [*head.back_rings(grow)[::-1], head.ring(1.0, grow), head.ring(0.9, grow)]
    rings = []
    for low, high in zip(bare, full, strict=True):
        share = np.clip((cut + 0.12 - low[:, 1:2]) / 0.55, 0.0, 1.0) ** 0.6
        rings.append(low + share * (high - low))
    return rings


def _cap_shape(scene: Scene, style: str) -> tuple[float, Float64Array]:
    who = scene.who
    volume = who.hair_volume * (1 + 0.12 * scene.how.hair_sway)
    if style == "buzz":
        return 0.015, mix(scene.hair, scene.skin, 0.3)
    factor = {"receding": 0.4, "crop": 0.6, "curly": 1.7 + who.hair_curl, "bun": 0.35}
    return volume * factor.get(style, 1.0), scene.hair


def _curl(ring: Float64Array, scene: Scene) -> None:
    """Make the edge of a ring bumpy above the eyes, in place."""
    wave = 1 + 0.035 * np.sin(np.linspace(0, 2 * np.pi * 13, len(ring)) + scene.how.hair_sway)
    ring *= np.where(ring[:, 1:2] < 0.0, wave[:, None], 1.0)


def _strands(canvas: Canvas, scene: Scene, rim: Float64Array, colour: Float64Array) -> None:
    """Lines from the hairline up and back, lighter and darker in turn."""
    outer = rim[rim[:, 1] < -0.45]
    outer = outer[np.argsort(outer[:, 0])]
    front = hairline(scene, style_of(scene))
    front = front + (0.22 * scene.who.hair_part * (1 - _X**2))[:, None] * (1, 0)
    place = np.linspace(-1, 1, len(outer))
    start = np.column_stack([np.interp(place, _X, front[:, 0]), np.interp(place, _X, front[:, 1])])
    start = scene.head.lift(start, 0.02)
    steps = _STEPS[None, :, None]
    reach = np.minimum(np.linalg.norm(outer - start, axis=1), 1.0)[:, None, None]
    bulge = 3.2 * reach * steps * (1 - steps) * np.array([0.0, -0.1, 0.22])
    paths = start[:, None] + steps * (outer - start)[:, None] + bulge
    if scene.who.hair_curl > 0.5:
        wave = 0.06 * (scene.who.hair_curl - 0.5) * np.sin(12 * _STEPS)
        paths[:, :, 0] += 2 * wave * (1 - _STEPS**2)
    flat = scene.in_space(paths.reshape(-1, 3)).reshape(*paths.shape[:2], 2)
    rows = np.arange(len(flat))
    light, dark = flat[rows * 7 % 5 < 2], flat[rows * 7 % 5 == 3]
    canvas.lines(light, np.clip(colour * 1.14 + 5, 0, 255), scene.px(0.022))
    canvas.lines(dark, colour * 0.82, scene.px(0.03))


def hairline(scene: Scene, style: str) -> Float64Array:
    """(17, 2) frontal curve from the viewer's left temple to the right one."""
    who = scene.who
    temple = 0.93 * who.forehead_width
    x, line = _X * temple, np.full(len(_X), who.hairline_y)
    part = 0.5 * who.hair_part
    if style in {"crop", "buzz", "bob", "bun", "curly", "quiff"}:
        line = line + 0.55 * np.abs(_X) ** 3.5
    elif style == "receding":
        line = line - 0.22 + 0.25 * np.exp(-((_X / 0.3) ** 2)) + 0.5 * np.abs(_X) ** 7
    elif style in {"side part", "long"}:
        line = line - 0.12 + 0.75 * np.abs(_X - part) ** 1.7 / (1 + 0.5 * abs(part))
    elif style == "curtains":
        line = line - 0.2 + 0.95 * np.abs(_X - 0.3 * part) ** 1.1
    elif style == "fringe":
        line = line + 0.5 * np.abs(_X) ** 4
    line = line + 0.02 * scene.how.hair_sway * np.sin(7 * _X)
    return np.column_stack([x, np.minimum(line, -0.28)])


def _face_window(scene: Scene, style: str, share: float = 1.0) -> Float64Array:
    """Pixels of the face that no cap covers: hairline, sides and jaw."""
    outline = scene.head.outline
    inset = {"bob": 0.9, "long": 0.9, "curtains": 0.86}.get(style, 0.965)
    top = hairline(scene, style)
    sides = outline[outline[:, 1] > -0.25]
    near = sides.copy()
    upper = near[:, 1] < (0.95 if style in _HANGING else 0.15)
    near[upper, 0] *= inset
    near = CENTRE + (near - CENTRE) * share
    return scene.on_face(np.vstack([top, near]))


def paint_front_hair(canvas: Canvas, scene: Scene) -> None:
    """A fringe over the forehead, locks beside the cheeks."""
    style = style_of(scene)
    if style == "fringe":
        _fringe(canvas, scene)
    if style in _HANGING:
        _locks(canvas, scene, style)


def _fringe(canvas: Canvas, scene: Scene) -> None:
    who = scene.who
    rng = generator("drawn fringe", round(who.hair_part * 1e6))
    x = np.linspace(-0.9, 0.9, 23) * who.forehead_width
    depth = -who.brow_y - 0.02 - 0.3 * (who.hairline_y + 0.98) - 0.12 * (1.5 - who.hair_length)
    ends = depth + 0.1 * rng.standard_normal(len(x)) * (0.3 + 0.5 * who.hair_curl)
    ends = ends + 0.12 * who.hair_part * x + 0.04 * scene.how.hair_sway
    top = np.column_stack([x * 0.98, np.full(len(x), who.hairline_y - 0.25)])
    low = np.column_stack([x, np.clip(ends, -0.75, -0.12)])
    edge = scene.on_face(low, 0.06)
    roots = scene.on_face(top, 0.12)
    canvas.fill(np.vstack([roots, edge[::-1]]), scene.hair)
    middle = 0.5 * (roots + edge) + (scene.px(0.03), 0)
    paths = np.stack([roots, middle, edge], axis=1)
    pick = rng.permutation(len(paths))
    canvas.lines(paths[pick[:7]], np.clip(scene.hair * 1.15 + 6, 0, 255), scene.px(0.02))
    canvas.lines(paths[pick[7:15]], scene.hair * 0.8, scene.px(0.025))


def _locks(canvas: Canvas, scene: Scene, style: str) -> None:
    who = scene.who
    low = {"bob": 0.95, "curtains": 1.25, "long": 1.9}[style] + 0.45 * (who.hair_length - 1.5)
    down = np.linspace(0, 1, 9)
    sway = 0.04 * scene.how.hair_sway * down
    wave = 0.06 * who.hair_curl * np.sin(down * 10) * np.minimum(1.0, 3 * down)
    widening = np.minimum(1.0, 2.2 * down)
    base = 0.97 * who.forehead_width * (1 - widening) + who.cheek_width * widening
    for side in (-1, 1):
        if side * scene.how.yaw_deg > 22:
            continue  # hidden behind the far cheek
        inner = 0.94 * base + wave - (0.1 * down if style == "bob" else 0)
        outer = base + 0.8 * who.hair_volume + 0.12 * np.sin(np.pi * down) + wave
        y = -0.85 + (low + 0.85) * down
        curves = [
            scene.in_space(np.column_stack([side * (x + sway), y, z + 0 * y]))
            for x, z in ((inner, 0.28), (outer, -0.25))
        ]
        canvas.fill(np.vstack([curves[0], curves[1][::-1]]), scene.hair * 0.95)
        for share, shade in ((0.2, 0.74), (0.45, 1.18), (0.7, 0.78)):
            path = curves[0] + share * (curves[1] - curves[0])
            canvas.line(path, np.clip(scene.hair * shade, 0, 255), scene.px(0.025))
