"""Augmentations: reproducible, independent of order, of the strength that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from crossface.core.errors import ConfigError
from crossface.data.augment import PRESETS, Augment, AugmentConfig
from face_files import pattern

OPERATIONS = ["flip", "crop", "occlusion", "grey", "light", "blur", "down", "noise", "jpeg"]
PICTURE = pattern(5)


def _only(operation: str, p: float = 1.0, **strength: object) -> Augment:
    return Augment(AugmentConfig(**{f"{operation}_p": p}, **strength))


def _apply(augment: Augment, index: int = 0, epoch: int = 0, seed: int = 0) -> np.ndarray:
    return augment(PICTURE, seed=seed, epoch=epoch, index=index)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.sampled_from(PRESETS), st.integers(0, 2**31), st.integers(0, 999), st.integers(0, 10**8))
def test_the_same_seed_epoch_and_index_give_the_same_picture(
    preset: str, seed: int, epoch: int, index: int
) -> None:
    before = PICTURE.copy()
    first = Augment(preset)(PICTURE, seed=seed, epoch=epoch, index=index)
    Augment("strong")(PICTURE, seed=1, epoch=2, index=3)
    np.testing.assert_array_equal(
        first, Augment(preset)(PICTURE, seed=seed, epoch=epoch, index=index)
    )
    assert first.shape == PICTURE.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(PICTURE, before)


@pytest.mark.parametrize("operation", [op for op in OPERATIONS if op not in ("flip", "grey")])
def test_seed_epoch_and_index_each_matter(operation: str) -> None:
    augment = _only(operation)

    def several(epoch: int = 0, seed: int = 0) -> np.ndarray:
        return np.stack([_apply(augment, index, epoch, seed) for index in range(4)])

    base = several()
    assert all((base[0] != other).any() for other in base[1:])
    assert (base != several(epoch=1)).any()
    assert (base != several(seed=1)).any()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_happens_as_often_as_asked(operation: str) -> None:
    augment = _only(operation, 0.3)
    changed = [(_apply(augment, index=n) != PICTURE).any() for n in range(400)]
    assert abs(np.mean(changed) - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 400)


@pytest.mark.parametrize("operation", OPERATIONS[1:])
def test_turning_an_operation_on_leaves_the_flips_as_they_were(operation: str) -> None:
    with_it = AugmentConfig(flip_p=0.5, **{f"{operation}_p": 1.0})
    plain = [Augment(AugmentConfig(flip_p=0.5)).apply(PICTURE, seed=0, epoch=0, index=n).flipped
             for n in range(40)]  # fmt: skip
    both = [Augment(with_it).apply(PICTURE, seed=0, epoch=0, index=n).flipped for n in range(40)]
    assert plain == both


def test_none_changes_nothing() -> None:
    assert all((_apply(Augment("none"), index=n) == PICTURE).all() for n in range(20))


def test_a_flip_mirrors_and_says_so() -> None:
    result = _only("flip").apply(PICTURE, seed=0, epoch=0, index=0)
    assert result.flipped
    np.testing.assert_array_equal(result.image, PICTURE[:, ::-1])


def test_a_flip_inside_a_warp_of_no_strength_is_the_plain_flip() -> None:
    config = AugmentConfig(flip_p=1.0, crop_p=1.0, shift=0.0, scale=0.0, angle_deg=0.0)
    np.testing.assert_array_equal(_apply(Augment(config)), PICTURE[:, ::-1])


def test_a_shift_moves_by_at_most_what_is_asked() -> None:
    augment = _only("crop", shift=0.1, scale=0.0, angle_deg=0.0)
    picture = np.zeros((112, 112, 3), np.uint8)
    picture[54:58, 54:58] = 255
    centres = []
    for index in range(100):
        moved = augment(picture, seed=0, epoch=0, index=index)[..., 0].astype(float)
        y, x = np.mgrid[:112, :112]
        centres.append([(moved * x).sum() / moved.sum(), (moved * y).sum() / moved.sum()])
    offset = np.array(centres) - 55.5
    assert np.abs(offset).max() <= 11.2 + 0.2
    assert np.abs(offset).max() > 9
    assert np.abs(offset.mean(axis=0)).max() < 2.5


def test_a_rotation_turns_by_at_most_what_is_asked() -> None:
    augment = _only("crop", shift=0.0, scale=0.0, angle_deg=10.0)
    picture = np.zeros((112, 112, 3), np.uint8)
    picture[54:58, 100:104] = 255  # 46 px right of the centre
    angles = []
    for index in range(60):
        moved = augment(picture, seed=0, epoch=0, index=index)[..., 0].astype(float)
        y, x = np.mgrid[:112, :112] - 55.5
        angles.append(np.rad2deg(np.arctan2((moved * y).sum(), (moved * x).sum())))
    assert np.abs(angles).max() <= 10.3
    assert max(angles) > 7
    assert min(angles) < -7


def test_light_maps_grey_levels_monotonically_with_one_table_per_channel() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    augment = _only("light")
    for index in range(20):
        lit = augment(ramp, seed=0, epoch=0, index=index)[0].astype(int)
        assert (np.diff(lit, axis=0) >= 0).all()
    same = _only("light", gamma=0.0, contrast=0.0, brightness=0.0, temperature=0.0)
    np.testing.assert_array_equal(same(ramp, seed=0, epoch=0, index=0), ramp)


def test_warm_light_favours_red_over_blue_and_cold_the_reverse() -> None:
    grey = np.full((112, 112, 3), 120, np.uint8)
    augment = _only("light", gamma=0.0, contrast=0.0, brightness=0.0, temperature=0.2)
    shades = [augment(grey, seed=0, epoch=0, index=n)[0, 0].astype(int) for n in range(30)]
    assert all(green == 120 for _, green, _ in shades)
    assert all(abs((red - 120) + (blue - 120)) <= 1 for red, _, blue in shades)
    assert {np.sign(red - blue) for red, _, blue in shades} >= {-1, 1}


def test_an_occlusion_covers_the_area_that_is_asked() -> None:
    augment = _only("occlusion", occlusion_area=(0.1, 0.2))
    white = np.full((112, 112, 3), 255, np.uint8)
    for index in range(50):
        covered = (augment(white, seed=0, epoch=0, index=index) != 255).any(axis=2)
        rows, columns = covered.any(axis=1).sum(), covered.any(axis=0).sum()
        assert covered.sum() == rows * columns
        assert 0.09 < covered.mean() < 0.22


def test_noise_has_the_spread_that_is_asked() -> None:
    grey = np.full((112, 112, 3), 128, np.uint8)
    noisy = _only("noise", noise_sigma=(5.0, 5.0))(grey, seed=0, epoch=0, index=0).astype(float)
    # Rounding adds 1/12 to the variance; 37,632 values give 0.4 % of standard error.
    assert noisy.std() == pytest.approx(np.sqrt(25 + 1 / 12), rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=0.2)


def test_grey_has_three_equal_channels() -> None:
    grey = _apply(_only("grey"))
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 1] == grey[..., 2]).all()


@pytest.mark.parametrize("operation", ["blur", "down", "jpeg"])
def test_degradations_lose_detail_but_keep_the_colours(operation: str) -> None:
    fine = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    smooth = PICTURE.astype(int)
    augment = _only(operation)
    for index in range(5):
        worse = augment(fine, seed=0, epoch=0, index=index)
        assert np.abs(worse.astype(int) - fine).mean() > 5
        near = augment(PICTURE, seed=0, epoch=0, index=index)
        assert np.abs(near.astype(int) - smooth).mean() < 5


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("flip_p", 1.5),
        ("flip_p", -0.1),
        ("scale", 1.0),
        ("occlusion_area", (0.3, 0.2)),
        ("jpeg_quality", (0, 50)),
        ("down_side_px", (20, 300)),
        ("flipp", 0.5),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        AugmentConfig(**{field: value})


def test_an_unknown_preset_says_which_there_are() -> None:
    with pytest.raises(ConfigError, match="one of none, flip, light, strong, got 'heavy'"):
        Augment("heavy")
