"""Drawn identities as a face source: any number of people, no file, no photograph."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from crossface.core.contract import InputSpec
from crossface.core.errors import ConfigError, DataError
from crossface.core.geometry import apply_transform, umeyama
from crossface.core.seeds import generator
from crossface.core.types import Box, FloatArray, Pose, UInt8Image
from crossface.data.drawn.draw import DrawnPicture, draw_face, jittered, truth
from crossface.data.drawn.identity import LATENT_SIZE, Identity, decode
from crossface.data.drawn.nuisance import Nuisance, sample_nuisance
from crossface.data.drawn.scene import Scene

VERSION = "drawn-1"
"""Changes whenever the same parameters would give other pictures."""

SCENE_PX = 160
_MAX_IDENTITIES, _MAX_PER_IDENTITY = 10_000_000, 100_000
_SPEC = InputSpec()


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """What is known about one 112x112 crop.

    Attributes:
        identity: name of the person.
        box: the head in the crop's pixels, cut off at its border.
        kps_px: (5, 2) float32 true landmarks in the crop's pixels.
        pose: of the head in the picture the crop was cut from.
        skin_tone: 0 the lightest to 1 the darkest skin.
        occlusion: what covers the face ("none", "glasses", ...).
    """

    identity: str
    box: Box
    kps_px: FloatArray
    pose: Pose
    skin_tone: float
    occlusion: str


class DrawnFaces:
    """Aligned 112x112 pictures of drawn people; a ``core.protocols.FaceSource``.

    Args:
        identities: number of people.
        per_identity: pictures of each.
        seed: another seed, other people.
        nuisance: strength of pose, light, expression and damage; 0 is a neutral portrait.
        first_identity: number of the first person; ranges that do not overlap share nobody.

    Raises:
        ConfigError: naming the parameter, what was expected and what came.
    """

    def __init__(
        self,
        *,
        identities: int,
        per_identity: int,
        seed: int = 0,
        nuisance: float = 1.0,
        first_identity: int = 0,
    ) -> None:
        _check_range("identities", identities, 1, _MAX_IDENTITIES)
        _check_range("per_identity", per_identity, 1, _MAX_PER_IDENTITY)
        _check_range("seed", seed, 0, 2**63 - 1)
        _check_range("first_identity", first_identity, 0, _MAX_IDENTITIES)
        if not 0.0 <= nuisance <= 2.0:
            raise ConfigError(f"nuisance must lie in 0..2, got {nuisance}")
        self.identities = identities
        self.per_identity = per_identity
        self.seed = seed
        self.nuisance = float(nuisance)
        self.first_identity = first_identity

    @property
    def name(self) -> str:
        """The text that ``parse_spec`` reads back."""
        return (
            f"drawn:ids={self.identities},per_id={self.per_identity},seed={self.seed},"
            f"nuisance={self.nuisance:g},first={self.first_identity}"
        )

    def __len__(self) -> int:
        return self.identities * self.per_identity

    def key(self, index: int) -> str:
        """For example "drawn-000012/000003"."""
        number, picture = self._place(index)
        return f"drawn-{number:06d}/{picture:06d}"

    def identity(self, index: int) -> str:
        """For example "drawn-000012"."""
        return f"drawn-{self._place(index)[0]:06d}"

    def read(self, index: int) -> UInt8Image:
        """(112, 112, 3) uint8 RGB."""
        return self.picture(index).crop(_SPEC)

    def digest(self) -> str:
        """Hex sha256 of the version and all parameters."""
        told = [
            VERSION,
            self.identities,
            self.per_identity,
            self.seed,
            self.nuisance,
            self.first_identity,
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def person(self, index: int) -> Identity:
        """The traits of the person in a picture."""
        return _person(self.seed, self._place(index)[0])

    def circumstances(self, index: int) -> Nuisance:
        """Pose, light and the rest of a picture."""
        rng = generator(VERSION, "nuisance", self.seed, *self._place(index))
        return sample_nuisance(rng, self.nuisance)

    def picture(self, index: int) -> DrawnPicture:
        """The whole picture the crop is cut from, with its truth."""
        return draw_face(self.person(index), self.circumstances(index), size=SCENE_PX)

    def annotation(self, index: int) -> Annotation:
        """What is known about the crop, without painting it."""
        who, how = self.person(index), self.circumstances(index)
        box, kps_px = truth(Scene.of(who, how, SCENE_PX))
        matrix = umeyama(jittered(kps_px, how), _SPEC.reference_points_px)
        corners = np.array([(x, y) for x in (box.x1, box.x2) for y in (box.y1, box.y2)])
        moved = np.clip(apply_transform(matrix, corners), 0, _SPEC.size_hw[0])
        low, high = moved.min(axis=0), moved.max(axis=0)
        return Annotation(
            identity=self.identity(index),
            box=Box(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
            kps_px=apply_transform(matrix, kps_px).astype(np.float32),
            pose=Pose(how.yaw_deg, how.pitch_deg, how.roll_deg),
            skin_tone=who.skin_tone,
            occlusion=how.occlusion,
        )

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"picture {index} of {len(self)} drawn pictures")
        person, picture = divmod(index, self.per_identity)
        return self.first_identity + person, picture


@lru_cache(maxsize=4096)
def _person(seed: int, number: int) -> Identity:
    return decode(generator(VERSION, "identity", seed, number).standard_normal(LATENT_SIZE))


def parse_spec(text: str) -> DrawnFaces:
    """Drawn faces from text such as ``drawn:ids=64,per_id=8,seed=0,nuisance=1.0,first=0``.

    ``ids`` and ``per_id`` must be given.

    Raises:
        DataError: if the text is not of this form.
        ConfigError: if a value is outside its range.
    """
    kind, _, rest = text.partition(":")
    if kind != "drawn":
        raise DataError(f"drawn faces are written drawn:ids=64,per_id=8, got {text!r}")
    values: dict[str, float] = {}
    for part in rest.split(","):
        name, equals, number = part.strip().partition("=")
        if not equals or name not in _FIELDS or name in values:
            raise DataError(
                f"{text}: expected each of {', '.join(_FIELDS)} at most once as name=number, "
                f"got {part!r}"
            )
        values[name] = _number(text, name, number)
    missing = [name for name in ("ids", "per_id") if name not in values]
    if missing:
        raise DataError(f"{text}: {missing[0]} is missing")
    return DrawnFaces(
        identities=int(values["ids"]),
        per_identity=int(values["per_id"]),
        seed=int(values.get("seed", 0)),
        nuisance=float(values.get("nuisance", 1.0)),
        first_identity=int(values.get("first", 0)),
    )


_FIELDS: dict[str, type[int] | type[float]] = {
    "ids": int,
    "per_id": int,
    "seed": int,
    "nuisance": float,
    "first": int,
}


def _number(text: str, name: str, number: str) -> float:
    try:
        return _FIELDS[name](number)
    except ValueError:
        kind = "a whole number" if _FIELDS[name] is int else "a number"
        raise DataError(f"{text}: {name} must be {kind}, got {number!r}") from None


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ConfigError(f"{name} must be a whole number in {low}..{high}, got {value!r}")
