"""Similarity transforms against the closed form, warps against known pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossface.core.contract import InputSpec
from crossface.core.geometry import (
    align,
    apply_transform,
    normalise,
    retarget_crops,
    umeyama,
    warp,
)
from crossface.core.template import ARCFACE_POINTS_112

coordinate = st.floats(-200, 200)
points = st.lists(st.tuples(coordinate, coordinate), min_size=2, max_size=8).map(np.array)
FAST = settings(derandomize=True, deadline=None, max_examples=30)


def _matrix(scale: float, angle_rad: float, tx: float, ty: float) -> np.ndarray:
    cos, sin = scale * np.cos(angle_rad), scale * np.sin(angle_rad)
    return np.array([[cos, -sin, tx], [sin, cos, ty]])


def _closed_form(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Least squares over (p, q, tx, ty) of x' = p x - q y + tx, y' = q x + p y + ty."""
    x, y = a.T
    ones, zeros = np.ones(len(a)), np.zeros(len(a))
    system = np.vstack([np.stack([x, -y, ones, zeros], 1), np.stack([y, x, zeros, ones], 1)])
    p, q, tx, ty = np.linalg.lstsq(system, b.T.ravel(), rcond=None)[0]
    return np.array([[p, -q, tx], [q, p, ty]])


@FAST
@given(points, st.floats(0.1, 10), st.floats(-3.1, 3.1), coordinate, coordinate)
def test_umeyama_recovers_a_similarity(
    source: np.ndarray, scale: float, angle_rad: float, tx: float, ty: float
) -> None:
    assume(np.ptp(source, axis=0).max() > 1)
    wanted = _matrix(scale, angle_rad, tx, ty)
    found = umeyama(source, apply_transform(wanted, source))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-5)


@FAST
@given(st.integers(0, 10_000))
def test_umeyama_is_the_least_squares_similarity(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(5, 2)) * 30
    target = source @ rng.normal(size=(2, 2)) + rng.normal(size=(5, 2)) * 5
    linear = umeyama(source, target)[:, :2]
    np.testing.assert_allclose(linear @ linear.T, np.linalg.det(linear) * np.eye(2), atol=1e-9)
    # The closed form has no sign condition, so it agrees wherever a rotation is the best answer.
    np.testing.assert_allclose(umeyama(source, target), _closed_form(source, target), atol=1e-8)


def test_umeyama_never_mirrors() -> None:
    mirrored = ARCFACE_POINTS_112 * [-1, 1]
    assert np.linalg.det(umeyama(ARCFACE_POINTS_112, mirrored)[:, :2]) > 0


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        ([[0, 0]], [[0, 0]], "N >= 2"),
        ([[0, 0], [1, 1]], [[0, 0], [1, 1], [2, 2]], r"got \(2, 2\) and \(3, 2\)"),
        ([[1, 1], [1, 1]], [[0, 0], [1, 1]], "coincide"),
        ([[0, 0], [np.nan, 1]], [[0, 0], [1, 1]], "finite"),
        ([[0, 0, 0], [1, 1, 1]], [[0, 0, 0], [1, 1, 1]], r"\(N, 2\)"),
    ],
)
def test_umeyama_refuses_points_without_an_answer(source: list, target: list, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        umeyama(source, target)


def test_a_warp_moves_a_pixel_where_the_matrix_says() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    image[5, 7] = (10, 20, 30)
    moved = warp(image, _matrix(1, 0, 4, -2), (25, 40))
    assert moved.shape == (25, 40, 3)
    assert moved[3, 11].tolist() == [10, 20, 30]
    assert moved.sum() == 60


def test_align_puts_the_landmarks_on_the_template() -> None:
    landmarks = apply_transform(_matrix(1.7, 0.3, 60, 20), ARCFACE_POINTS_112)
    y, x = np.mgrid[:320, :320].astype(float)
    for number, (px, py) in enumerate(landmarks):
        blob = 255 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18)
        image = np.repeat(blob[..., None], 3, axis=2).astype(np.uint8)
        crop = align(image, landmarks, InputSpec())[..., 0].astype(float)
        cy, cx = np.mgrid[:112, :112]
        centre = [(crop * cx).sum() / crop.sum(), (crop * cy).sum() / crop.sum()]
        np.testing.assert_allclose(centre, ARCFACE_POINTS_112[number], atol=0.1)


def _spec(scale: float, tx: float, ty: float, size_hw: tuple[int, int]) -> InputSpec:
    moved = apply_transform(_matrix(scale, 0, tx, ty), ARCFACE_POINTS_112)
    return InputSpec(size_hw=size_hw, reference_points_px=tuple(map(tuple, moved.tolist())))


def test_retargeting_into_the_same_template_changes_nothing() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    assert retarget_crops(crops, InputSpec()) is crops


def test_retargeting_by_whole_pixels_is_a_cut() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    cut = retarget_crops(crops, _spec(1.0, -8, -16, (80, 96)))
    np.testing.assert_array_equal(cut, crops[:, 16:96, 8:104])


def test_retargeting_refuses_crops_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"\(N, 112, 112, 3\), got \(1, 96, 96, 3\)"):
        retarget_crops(np.zeros((1, 96, 96, 3), np.uint8), InputSpec())


def test_normalising_follows_the_spec_by_a_loop() -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 8, 9, 3), dtype=np.uint8)
    spec = InputSpec(size_hw=(8, 9), mean=(1, 2, 3), std=(4, 5, 6), channel_order="bgr")
    values = normalise(crops, spec)
    assert values.dtype == np.float32
    assert values.shape == (2, 3, 8, 9)
    for channel in range(3):
        expected = (crops[:, :, :, 2 - channel].astype(float) - spec.mean[channel]) / spec.std[
            channel
        ]
        np.testing.assert_allclose(values[:, channel], expected, rtol=1e-6)
    nhwc = normalise(crops, spec.model_copy(update={"layout": "nhwc"}))
    np.testing.assert_array_equal(nhwc, values.transpose(0, 2, 3, 1))


def test_normalising_refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"\(N, 112, 112, 3\), got \(1, 96, 96, 3\)"):
        normalise(np.zeros((1, 96, 96, 3), np.uint8), InputSpec())
