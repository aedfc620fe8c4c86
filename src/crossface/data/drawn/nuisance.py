"""What differs between two pictures of the same person: pose, expression, light, cover, damage."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

OCCLUSIONS = ("none", "glasses", "sunglasses", "mask", "scarf", "hand", "cap")
_OCCLUSION_SHARES = (0.58, 0.16, 0.05, 0.06, 0.04, 0.05, 0.06)


@dataclass(frozen=True, slots=True)
class Nuisance:
    """One picture's circumstances; ``Nuisance()`` is a neutral frontal portrait.

    Change one with ``with_(yaw_deg=20)``: everything else stays as it is.

    Attributes:
        yaw_deg: positive to the viewer's right.
        pitch_deg: positive up.
        roll_deg: positive clockwise in the picture.
        scale: size of the head, 1 is the usual framing.
        shift_x: displacement of the head, share of the picture's width.
        shift_y: displacement of the head, share of the picture's height.
        smile: -1 sad to 1 laughing.
        mouth_open: 0 closed to 1 wide open.
        brow_raise: -1 frowning to 1 raised.
        eye_close: 0 open to 1 shut.
        gaze_x: -1 viewer's left to 1 right.
        gaze_y: -1 up to 1 down.
        light_azimuth_deg: where the light comes from, positive from the viewer's right.
        light_elevation_deg: positive from above.
        light_strength: 0 flat to 1 one hard lamp.
        exposure_stops: brightness in powers of two.
        contrast: exponent around middle grey, 1 leaves as is.
        temperature: -1 blue to 1 orange light.
        tint: -1 green to 1 magenta light.
        background_seed: fixes the background and the clothes.
        hair_sway: how the hair differs today, -1 to 1.
        occlusion: one of ``OCCLUSIONS``.
        occlusion_seed: fixes shape, place and colour of what covers the face.
        blur_px: standard deviation of the blur at 112 px crop size.
        noise: standard deviation of sensor noise in grey levels.
        jpeg_quality: 100 leaves as is.
        jitter_px: standard deviation of the landmark error at 112 px crop size.
        grain_seed: fixes the noise and the landmark error.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    smile: float = 0.0
    mouth_open: float = 0.0
    brow_raise: float = 0.0
    eye_close: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    light_azimuth_deg: float = 0.0
    light_elevation_deg: float = 30.0
    light_strength: float = 0.55
    exposure_stops: float = 0.0
    contrast: float = 1.0
    temperature: float = 0.0
    tint: float = 0.0
    background_seed: int = 0
    hair_sway: float = 0.0
    occlusion: str = "none"
    occlusion_seed: int = 0
    blur_px: float = 0.0
    noise: float = 0.0
    jpeg_quality: int = 100
    jitter_px: float = 0.0
    grain_seed: int = 0

    def with_(self, **changes: float | str) -> Nuisance:
        """The same circumstances with some changed by name.

        Raises:
            TypeError: for a name that does not exist.
        """
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


def sample_nuisance(rng: np.random.Generator, strength: float = 1.0) -> Nuisance:
    """Circumstances drawn at random.

    Args:
        rng: the picture's own generator.
        strength: multiplies every spread; 0 is a neutral frontal portrait on a random ground.
    """
    z = np.clip(rng.standard_normal(20), -2.2, 2.2) * strength
    u = rng.random(6)
    seeds = rng.integers(0, 2**31, 3)
    return Nuisance(
        yaw_deg=_clip(18.0 * z[0], 42.0),
        pitch_deg=_clip(9.0 * z[1], 22.0),
        roll_deg=_clip(7.0 * z[2], 25.0),
        scale=float(np.exp(0.05 * _clip(z[3], 2.0))),
        shift_x=0.015 * _clip(z[4], 2.0),
        shift_y=0.015 * _clip(z[5], 2.0),
        smile=_clip(0.1 * strength + 0.55 * z[6], 1.0),
        mouth_open=_clip(max(0.0, 0.45 * z[7] - 0.15), 1.0),
        brow_raise=_clip(0.45 * z[8], 1.0),
        eye_close=_clip(max(0.0, 0.4 * z[9]), 0.9),
        gaze_x=_clip(0.4 * z[10], 1.0),
        gaze_y=_clip(0.3 * z[11], 1.0),
        light_azimuth_deg=_clip(50.0 * z[12], 85.0),
        light_elevation_deg=30.0 + _clip(20.0 * z[13], 50.0),
        light_strength=min(max(0.55 + 0.25 * float(z[14]), 0.1), 1.0),
        exposure_stops=_clip(0.5 * z[15], 1.3),
        contrast=float(np.exp(0.15 * _clip(z[16], 2.0))),
        temperature=_clip(0.5 * z[17], 1.0),
        tint=_clip(0.3 * z[18], 1.0),
        background_seed=int(seeds[0]),
        hair_sway=_clip(0.6 * z[19], 1.0),
        occlusion=_occlusion(float(u[0]), strength),
        occlusion_seed=int(seeds[1]),
        blur_px=max(0.0, float(1.5 * u[1] - 0.3)) * strength,
        noise=8.0 * float(u[2] ** 2) * strength,
        jpeg_quality=100 if strength <= 0 else round(100 - 65 * float(u[3]) * min(strength, 1.2)),
        jitter_px=1.5 * float(u[4]) * strength,
        grain_seed=int(seeds[2]),
    )


def _occlusion(share: float, strength: float) -> str:
    covered = min((1 - _OCCLUSION_SHARES[0]) * strength, 0.9)
    if share >= covered:
        return "none"
    edges = np.cumsum(_OCCLUSION_SHARES[1:]) / sum(_OCCLUSION_SHARES[1:])
    place = int(np.searchsorted(edges, share / covered, side="right"))
    return OCCLUSIONS[1 + min(place, len(edges) - 1)]


def _clip(value: float, limit: float) -> float:
    return float(min(max(value, -limit), limit))
