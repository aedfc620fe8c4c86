"""Who a drawn face is: a unit-normal latent decoded into named, documented traits.

Lengths are in head units: 1 is half the width of the average head at the cheeks (about 70 mm),
the origin lies between the eyes, x runs to the viewer's right, y down, z towards the viewer.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

_CLIP = 2.2  # beyond this many standard deviations a trait would look like a mistake


def _normal(mean: float, std: float) -> Any:  # noqa: ANN401  # a dataclass field
    return field(default=mean, metadata={"kind": "normal", "a": mean, "b": std})


def _uniform(low: float, high: float) -> Any:  # noqa: ANN401
    return field(default=(low + high) / 2, metadata={"kind": "uniform", "a": low, "b": high})


def _choice(count: int, default: int) -> Any:  # noqa: ANN401
    return field(default=default, metadata={"kind": "choice", "a": count, "b": 0})


HAIR_STYLES = (
    "bald",
    "buzz",
    "receding",
    "crop",
    "quiff",
    "side part",
    "fringe",
    "curly",
    "bun",
    "bob",
    "long",
    "curtains",
)
BEARD_STYLES = ("none", "none", "none", "none", "stubble", "moustache", "goatee", "full")


@dataclass(frozen=True, slots=True)
class Identity:
    """The traits that make a drawn face somebody; ``Identity()`` is the average face.

    Change one with ``with_(skin_tone=0.9)``: every other trait stays as it is.

    Attributes:
        skull_height: from the eyes to the top of the head.
        forehead_width: half width at the temples.
        cheek_width: half width at the cheekbones.
        jaw_width: half width at the corners of the jaw.
        jaw_y: height of these corners, larger is lower.
        chin_width: half width of the chin.
        chin_y: from the eyes to the tip of the chin.
        face_depth: from the ears to the front of the face.
        cheek_hollow: 0 full to 1 hollow cheeks.
        eye_spacing: half the distance between the eye centres.
        eye_width: half the width of an eye.
        eye_open: half the height of an open eye.
        eye_tilt: slope of the eye axis, positive lifts the outer corner.
        eye_skew: where the upper lid is highest, positive towards the outer corner.
        eye_socket: depth of the shadow above the eye, 0 to 1.
        lid_crease: distance of the fold above the upper lid; small is a hooded eye.
        eye_bags: strength of the shadow below the eye, 0 to 1.
        lashes: strength of the lash line, 0 to 1.
        iris_size: radius of the iris.
        iris_hue: 0 brown, 0.5 green, 1 blue.
        iris_light: lightness of the iris, 0 to 1.
        brow_y: height of the brows above the eyes.
        brow_thickness: half thickness at the middle.
        brow_arch: height of the arch.
        brow_tilt: slope, positive lifts the outer end.
        brow_length: half the length.
        brow_gap: half the gap between the brows.
        brow_dark: 0 lighter than the hair, 1 darker.
        nose_y: from the eyes to the tip of the nose.
        nose_width: half width at the wings.
        bridge_width: half width of the bridge.
        nose_project: how far the tip stands out.
        nose_tip: radius of the tip.
        nose_turn: height of the base below the tip; small is a drooping tip.
        nostril: size of the nostrils.
        mouth_y: from the eyes to the line between the lips.
        mouth_width: half width of the closed mouth.
        upper_lip: height of the upper lip.
        lower_lip: height of the lower lip.
        cupid_bow: depth of the notch in the upper lip, 0 to 1.
        mouth_curve: resting curve, positive lifts the corners.
        lip_red: how much redder than the skin the lips are, 0 to 1.
        ear_size: half height of the ears.
        ear_out: how far the ears stand out.
        ear_y: height of the middle of the ears.
        hair_style: index into ``HAIR_STYLES``.
        hairline_y: height of the hairline (negative is up).
        hair_volume: how far the hair stands off the skull.
        hair_length: length below the eyes of styles that hang.
        hair_part: where the hair parts, -1 viewer's left to 1 right.
        hair_curl: 0 straight to 1 curly.
        hair_melanin: 0 blond to 1 black.
        hair_red: 0 ash to 1 red.
        hair_grey: grey begins above 0.8.
        skin_tone: 0 the lightest to 1 the darkest skin (melanin).
        undertone: -1 rosy to 1 olive.
        ruddiness: redness of cheeks and nose, 0 to 1.
        freckles: freckles begin above 0.8.
        beard_style: index into ``BEARD_STYLES``.
        beard_density: 0 thin to 1 dense.
        age: lines begin above 0.5.
        mole_x: horizontal place of the first mole.
        mole_y: vertical place of the first mole.
        moles: moles begin above 0.5.
    """

    skull_height: float = _normal(1.62, 0.07)
    forehead_width: float = _normal(0.95, 0.04)
    cheek_width: float = _normal(1.0, 0.05)
    jaw_width: float = _normal(0.8, 0.07)
    jaw_y: float = _normal(0.98, 0.09)
    chin_width: float = _normal(0.38, 0.08)
    chin_y: float = _normal(1.62, 0.1)
    face_depth: float = _normal(1.08, 0.07)
    cheek_hollow: float = _uniform(0.0, 1.0)
    eye_spacing: float = _normal(0.45, 0.034)
    eye_width: float = _normal(0.205, 0.021)
    eye_open: float = _normal(0.09, 0.019)
    eye_tilt: float = _normal(0.06, 0.085)
    eye_skew: float = _normal(0.0, 0.2)
    eye_socket: float = _uniform(0.1, 1.0)
    lid_crease: float = _normal(0.068, 0.026)
    eye_bags: float = _uniform(0.0, 1.0)
    lashes: float = _uniform(0.0, 1.0)
    iris_size: float = _normal(0.093, 0.008)
    iris_hue: float = _uniform(0.0, 1.0)
    iris_light: float = _uniform(0.0, 1.0)
    brow_y: float = _normal(0.31, 0.05)
    brow_thickness: float = _normal(0.046, 0.016)
    brow_arch: float = _normal(0.06, 0.035)
    brow_tilt: float = _normal(0.02, 0.08)
    brow_length: float = _normal(0.285, 0.032)
    brow_gap: float = _normal(0.165, 0.035)
    brow_dark: float = _uniform(0.2, 1.0)
    nose_y: float = _normal(0.58, 0.065)
    nose_width: float = _normal(0.235, 0.04)
    bridge_width: float = _normal(0.105, 0.024)
    nose_project: float = _normal(0.32, 0.05)
    nose_tip: float = _normal(0.1, 0.02)
    nose_turn: float = _normal(0.105, 0.03)
    nostril: float = _normal(0.045, 0.01)
    mouth_y: float = _normal(1.02, 0.06)
    mouth_width: float = _normal(0.365, 0.045)
    upper_lip: float = _normal(0.085, 0.026)
    lower_lip: float = _normal(0.115, 0.03)
    cupid_bow: float = _uniform(0.0, 1.0)
    mouth_curve: float = _normal(0.02, 0.03)
    lip_red: float = _uniform(0.1, 1.0)
    ear_size: float = _normal(0.29, 0.035)
    ear_out: float = _normal(0.13, 0.035)
    ear_y: float = _normal(0.22, 0.06)
    hair_style: int = _choice(len(HAIR_STYLES), 3)
    hairline_y: float = _normal(-0.98, 0.09)
    hair_volume: float = _normal(0.12, 0.035)
    hair_length: float = _normal(1.5, 0.35)
    hair_part: float = _uniform(-1.0, 1.0)
    hair_curl: float = _uniform(0.0, 1.0)
    hair_melanin: float = _uniform(0.05, 1.0)
    hair_red: float = _uniform(0.0, 1.0)
    hair_grey: float = _uniform(0.0, 1.0)
    skin_tone: float = _uniform(0.0, 1.0)
    undertone: float = _uniform(-1.0, 1.0)
    ruddiness: float = _uniform(0.0, 1.0)
    freckles: float = _uniform(0.0, 1.0)
    beard_style: int = _choice(len(BEARD_STYLES), 0)
    beard_density: float = _uniform(0.0, 1.0)
    age: float = _uniform(0.0, 1.0)
    mole_x: float = _uniform(-0.75, 0.75)
    mole_y: float = _uniform(-0.6, 1.3)
    moles: float = _uniform(0.0, 1.0)

    def with_(self, **changes: float) -> Identity:
        """The same person with some traits changed by name.

        Raises:
            TypeError: for a trait that does not exist.
        """
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


LATENT_SIZE = len(dataclasses.fields(Identity))

# Traits that go together in people: the first follows the second by this correlation.
_FOLLOWS = (
    ("hair_melanin", "skin_tone", 0.6),
    ("iris_hue", "skin_tone", -0.8),
    ("hair_curl", "skin_tone", 0.4),
    ("brow_thickness", "jaw_width", 0.35),
    ("beard_style", "jaw_width", 0.6),
    ("hair_style", "jaw_width", -0.45),
    ("lashes", "jaw_width", -0.4),
    ("upper_lip", "skin_tone", 0.3),
    ("lower_lip", "upper_lip", 0.5),
)


def decode(latent: npt.NDArray[np.float64]) -> Identity:
    """The person a latent stands for.

    Args:
        latent: (LATENT_SIZE,) unit-normal numbers, one per trait in the order of the fields.

    Raises:
        ValueError: if the shape is another.
    """
    if latent.shape != (LATENT_SIZE,):
        raise ValueError(f"latent must be ({LATENT_SIZE},), got {latent.shape}")
    fields = dataclasses.fields(Identity)
    place = {item.name: index for index, item in enumerate(fields)}
    z = latent.astype(np.float64)
    for follower, leader, weight in _FOLLOWS:
        own = math.sqrt(1 - weight**2)
        z[place[follower]] = weight * z[place[leader]] + own * z[place[follower]]
    return Identity(
        **{item.name: _value(item.metadata, float(z[i])) for i, item in enumerate(fields)}
    )


def _value(meta: Any, z: float) -> Any:  # noqa: ANN401  # float or int by kind
    if meta["kind"] == "normal":
        return meta["a"] + meta["b"] * min(max(z, -_CLIP), _CLIP)
    share = 0.5 * (1 + math.erf(z / math.sqrt(2)))
    if meta["kind"] == "uniform":
        return meta["a"] + (meta["b"] - meta["a"]) * share
    return min(int(share * meta["a"]), meta["a"] - 1)
