"""Degradations: deterministic, monotone where physics says so, and what they claim to be."""

from __future__ import annotations

import numpy as np
import pytest

from crossface.core.errors import UsageError
from crossface.core.template import ARCFACE_POINTS_112
from crossface.data.ladders import KINDS, LadderedFaces
from face_files import pattern


class OnePicture:
    name = "one"

    def __init__(self, image: np.ndarray, key: str = "a") -> None:
        self.image, self._key = image, key

    def __len__(self) -> int:
        return 1

    def key(self, index: int) -> str:
        return self._key

    def identity(self, index: int) -> str:
        return "who"

    def read(self, index: int) -> np.ndarray:
        return self.image

    def digest(self) -> str:
        return "ab" * 32


def textured() -> np.ndarray:
    rng = np.random.default_rng(0)
    fine = rng.normal(0, 25, (112, 112, 3))
    return np.clip(0.6 * pattern(3) + 50 + fine, 0, 255).astype(np.uint8)


def degrade(kind: str, level: float, image: np.ndarray | None = None, key: str = "a") -> np.ndarray:
    image = textured() if image is None else image
    return LadderedFaces(OnePicture(image, key), kind, level).read(0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rung_is_the_same_every_time_and_leaves_the_picture_alone(kind: str) -> None:
    image = textured()
    before = image.copy()
    level = KINDS[kind].levels[-1]
    first = degrade(kind, level, image)
    np.testing.assert_array_equal(first, degrade(kind, level, image))
    np.testing.assert_array_equal(image, before)
    assert first.shape == (112, 112, 3)
    assert first.dtype == np.uint8
    assert not np.array_equal(first, image)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"rotation"}))
def test_a_higher_rung_is_further_from_the_picture(kind: str) -> None:
    image = textured()
    far = [
        np.abs(degrade(kind, level, image).astype(float) - image).mean()
        for level in KINDS[kind].levels
    ]
    assert far == sorted(far)
    assert far[0] > 0


@pytest.mark.parametrize("kind", ["noise", "mask", "glasses"])
def test_pictures_differ_in_what_is_drawn(kind: str) -> None:
    level = KINDS[kind].levels[-1]
    drawn = {degrade(kind, level, key=key).tobytes() for key in "abcdef"}
    assert len(drawn) > 1


def test_a_stop_halves_linear_light() -> None:
    grey = np.full((112, 112, 3), 200, dtype=np.uint8)
    lit = degrade("light", 2, grey)[0, 0, 0]
    assert lit == round(255 * ((200 / 255) ** 2.2 / 4) ** (1 / 2.2))


def test_noise_has_the_spread_it_says() -> None:
    grey = np.full((112, 112, 3), 128, dtype=np.uint8)
    assert degrade("noise", 20, grey).std() == pytest.approx(20, rel=0.02)


def test_rotation_turns_a_point_by_the_angle_to_either_side() -> None:
    image = np.zeros((112, 112, 3), dtype=np.uint8)
    image[54:58, 94:98] = 255  # 40 px to the right of the centre
    seen = set()
    for key in "abcdefgh":
        y, x = np.argwhere(degrade("rotation", 30, image, key)[..., 0] > 100).mean(axis=0)
        angle = np.degrees(np.arctan2(y - 55.5, x - 55.5))
        assert abs(angle) == pytest.approx(30, abs=1.5)
        seen.add(np.sign(angle))
    assert seen == {-1.0, 1.0}


def test_a_mask_covers_the_mouth_and_leaves_the_eyes() -> None:
    image = textured()
    worn = degrade("mask", 0.75, image)
    changed = (worn != image).any(axis=2)
    for x, y in ARCFACE_POINTS_112[2:].round().astype(int):
        assert changed[y, x]
    for x, y in ARCFACE_POINTS_112[:2].round().astype(int):
        assert not changed[y - 6 : y + 3, x - 6 : x + 6].any()
    low = (degrade("mask", 0.5, image) != image).any(axis=2)
    x, y = ARCFACE_POINTS_112[2].round().astype(int)
    assert not low[y, x]  # half way up the nose is free


def test_black_lenses_hide_the_eyes_and_clear_ones_do_not() -> None:
    image = np.full((112, 112, 3), 180, dtype=np.uint8)
    clear, black = degrade("glasses", 0, image), degrade("glasses", 1, image)
    for x, y in ARCFACE_POINTS_112[:2].round().astype(int):
        assert clear[y, x].tolist() == [180] * 3
        assert black[y, x].max() < 25
    assert (clear != image).any()


def test_a_laddered_source_has_a_digest_of_its_own() -> None:
    source = OnePicture(textured())
    digests = {
        LadderedFaces(source, kind, level, seed=seed).digest()
        for kind, level, seed in [("blur", 1, 0), ("blur", 2, 0), ("noise", 1, 0), ("blur", 1, 1)]
    }
    assert len(digests) == 4
    laddered = LadderedFaces(source, "blur", 1.5)
    assert (laddered.name, laddered.key(0), laddered.identity(0)) == ("one, blur 1.5", "a", "who")


@pytest.mark.parametrize(
    ("kind", "level", "problem"),
    [
        ("fog", 1, "no ladder is named 'fog'; known: resolution, blur"),
        ("jpeg", 0, r"the level of jpeg must lie in 1..100 \(quality\), got 0"),
        ("mask", 1.5, r"the level of mask must lie in 0..1"),
        ("blur", float("nan"), "got nan"),
    ],
)
def test_a_ladder_that_cannot_be_meant_is_refused(kind: str, level: float, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        LadderedFaces(OnePicture(textured()), kind, level)
