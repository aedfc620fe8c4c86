"""Error against discard, against a loop that throws away one quality after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.evaluation.discard import (
    area_under_discard,
    error_against_discard,
    error_against_picture_discard,
    fmr_against_discard,
    fnmr_against_discard,
    pair_quality,
)

calm = settings(derandomize=True, deadline=None, max_examples=25)


@calm
@given(st.integers(0, 10_000), st.sampled_from([2, 5, 1000]))
def test_equal_quality_is_left_out_together(seed, levels):
    rng = np.random.default_rng(seed)
    errors, quality = rng.random(30) < 0.3, rng.integers(0, levels, 30)
    curve = error_against_discard(errors, quality)
    assert curve.quality.tolist() == sorted(set(quality.tolist()))
    for share, error, level in zip(*curve, strict=True):
        kept = [bool(e) for e, q in zip(errors, quality, strict=True) if q >= level]
        assert share == pytest.approx(1 - len(kept) / 30)
        assert error == pytest.approx(np.mean(kept))


@calm
@given(st.integers(0, 10_000))
def test_a_picture_takes_all_its_comparisons_along(seed):
    rng = np.random.default_rng(seed)
    quality = rng.integers(0, 6, 12)
    first, second = rng.integers(0, 12, (2, 25))
    errors = rng.random(25) < 0.4
    curve = error_against_picture_discard(errors, first, second, quality)
    for share, error, level in zip(*curve, strict=True):
        kept = [
            bool(e)
            for e, i, j in zip(errors, first, second, strict=True)
            if quality[i] >= level and quality[j] >= level
        ]
        assert share == pytest.approx(np.mean(quality < level))
        assert error == pytest.approx(np.mean(kept))
    joint = pair_quality(quality, first, second)
    assert curve.quality[-1] <= joint.max()  # it ends where no comparison is left


@calm
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.2, 0.61, 1.0]))
def test_the_area_is_the_integral_of_the_staircase(seed, upto):
    rng = np.random.default_rng(seed)
    curve = error_against_discard(rng.random(20) < 0.5, rng.integers(0, 8, 20))
    middles = (np.arange(20_000) + 0.5) / 20_000 * upto
    heights = curve.error[np.searchsorted(curve.discarded, middles, side="right") - 1]
    assert area_under_discard(curve, upto=upto) == pytest.approx(np.mean(heights), abs=1e-3)


def test_an_oracle_quality_falls_straight_and_one_that_says_nothing_stays():
    rng = np.random.default_rng(0)
    genuine = rng.normal(1, 1, 4000)
    perfect = fnmr_against_discard(genuine, genuine, 0.0)
    rate = perfect.error[0]
    place = np.searchsorted(perfect.discarded, rate)
    assert perfect.error[place] == 0.0
    nothing = fnmr_against_discard(genuine, np.zeros(4000), 0.0)
    assert (nothing.discarded.tolist(), nothing.error.tolist()) == ([0.0], [rate])
    assert area_under_discard(nothing, upto=0.3) == pytest.approx(rate)
    assert area_under_discard(perfect, upto=0.3) < rate / 2


def test_a_comparison_at_the_threshold_is_accepted():
    assert fmr_against_discard(np.array([0.5]), np.array([1.0]), 0.5).error[0] == 1.0
    assert fnmr_against_discard(np.array([0.5]), np.array([1.0]), 0.5).error[0] == 0.0


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r"quality must be \(2,\)"):
        error_against_discard(np.array([True, False]), np.array([1.0]))
    with pytest.raises(ValueError, match="numbers"):
        error_against_discard(np.array([True]), np.array([np.nan]))
    with pytest.raises(ValueError, match="genuine scores"):
        fnmr_against_discard(np.array([np.nan]), np.array([1.0]), 0.5)
    curve = error_against_discard(np.array([True]), np.array([1.0]))
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        area_under_discard(curve, upto=0.0)
