"""Quality, pose and liveness against closed forms and against what tiny networks were given."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.core.errors import WeightsError
from crossface.core.geometry import umeyama, warp
from crossface.core.template import ARCFACE_POINTS_112
from crossface.core.types import Box
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.liveness import Liveness, crop_slices
from crossface.pipeline.pose import FACE_MODEL, FsaNet, pose_from_landmarks
from crossface.pipeline.quality import (
    HALF_SHARP,
    QualityMeter,
    laplacian_variance,
    score_of,
    to_grey,
)
from face_files import pattern
from pipeline.onnx_files import channel_means, constants, one_face

POINTS = ARCFACE_POINTS_112.astype(np.float32)
BOX = Box(10, 10, 100, 110)


def turned(yaw_deg, pitch_deg, roll_deg, scale=40.0):
    """The mean face turned as a person turns it and seen from far away.

    Written from the definition, one axis at a time: x to the viewer's right, y down, z away.
    """
    yaw, pitch, roll = (math.radians(a) for a in (yaw_deg, pitch_deg, roll_deg))
    out = []
    for x, y, z in FACE_MODEL:
        # pitch positive: the face's front (towards the viewer, -z) moves up (-y)
        y1, z1 = (
            y * math.cos(pitch) + z * math.sin(pitch),
            z * math.cos(pitch) - y * math.sin(pitch),
        )
        # yaw positive: the front moves to the viewer's right (+x)
        x1 = x * math.cos(yaw) - z1 * math.sin(yaw)
        # roll positive: clockwise in the picture
        out.append(
            (x1 * math.cos(roll) - y1 * math.sin(roll), x1 * math.sin(roll) + y1 * math.cos(roll))
        )
    return np.array(out) * scale + 200


@given(st.floats(-50, 50), st.floats(-179, 179), st.floats(1, 300))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_yaw_and_roll_of_a_turned_mean_face_are_found(yaw, roll, scale):
    pose = pose_from_landmarks(turned(yaw, 0, roll, scale))
    if abs(roll) < 1 or abs(yaw) < 1:
        assert pose.yaw_deg == pytest.approx(yaw, abs=1.5)
    assert math.hypot(
        math.sin(math.radians(pose.yaw_deg)) * math.cos(math.radians(pose.pitch_deg)),
        math.sin(math.radians(pose.pitch_deg)),
    ) == pytest.approx(abs(math.sin(math.radians(yaw))), abs=1e-3)


@pytest.mark.parametrize("pitch", [-40, -10, 0, 15, 40])
def test_pitch_is_positive_upwards(pitch):
    pose = pose_from_landmarks(turned(0, pitch, 0))
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == pytest.approx((0, pitch, 0), abs=1e-6)


def test_the_nose_to_the_right_is_positive_yaw_and_the_right_eye_lower_is_positive_roll():
    looks_right = POINTS + np.array([[0, 0], [0, 0], [6, 0], [0, 0], [0, 0]], dtype=np.float32)
    assert pose_from_landmarks(looks_right).yaw_deg > 10
    lower = POINTS.copy()
    lower[[1, 4], 1] += 8
    assert pose_from_landmarks(lower).roll_deg > 5


def test_landmarks_without_a_pose_are_refused():
    with pytest.raises(ValueError, match="coincide"):
        pose_from_landmarks(np.ones((5, 2)))
    with pytest.raises(ValueError, match="finite"):
        pose_from_landmarks(np.full((5, 2), np.nan))


def test_the_laplacian_variance_is_that_of_the_loop():
    grey = np.random.default_rng(0).uniform(0, 255, (9, 11))
    values = [
        grey[i - 1, j] + grey[i + 1, j] + grey[i, j - 1] + grey[i, j + 1] - 4 * grey[i, j]
        for i in range(1, 8)
        for j in range(1, 10)
    ]
    assert laplacian_variance(grey) == pytest.approx(np.var(values) / np.var(grey))
    assert laplacian_variance(grey * 0.2 + 30) == pytest.approx(laplacian_variance(grey))
    assert laplacian_variance(np.full((9, 9), 7.0)) == 0
    assert to_grey(np.array([[[255, 0, 0]]], np.uint8))[0, 0] == pytest.approx(76.245)


def measured(image, points=POINTS):
    score, parts, pose = QualityMeter().measure(image, BOX, points)
    return score, parts, pose


def noise(seed=0):
    return np.random.default_rng(seed).integers(60, 200, (112, 112, 3), dtype=np.uint8)


def test_blur_lowers_sharpness_and_little_else():
    import cv2

    blocks = np.kron(noise()[:14, :14], np.ones((8, 8, 1), np.uint8))
    sharp = measured(blocks)[1]
    blurred = measured(cv2.GaussianBlur(blocks, (0, 0), 4))[1]
    assert sharp.sharpness > 0.9
    assert blurred.sharpness < 0.5
    assert sharp.sharpness == pytest.approx(sharp.laplacian / (sharp.laplacian + HALF_SHARP))
    assert (blurred.size, blurred.pose) == (sharp.size, sharp.pose)


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 3.0])
def test_size_is_the_eye_distance_over_the_template_s(factor):
    _, parts, _ = measured(pattern(0, (400, 400)), POINTS * np.float32(factor))
    assert parts.eye_distance_px == pytest.approx(35.2377 * factor, rel=1e-4)
    assert parts.size == pytest.approx(min(1, factor), rel=1e-4)


def test_light_sees_darkness_glare_flatness_and_clipping():
    good = measured(noise())[1]
    assert good.light == 1
    for bad in (noise() // 16, 255 - noise() // 16, noise() // 20 + 120):
        assert measured(bad)[1].light < 0.6
    clipped = noise()
    clipped[:70] = 255
    parts = measured(clipped)[1]
    assert parts.clipped > 0.4
    assert parts.light <= 1 - parts.clipped + 1e-9


def test_skin_tone_does_not_move_the_light():
    tones = [measured((noise() * factor).astype(np.uint8))[1].light for factor in (0.4, 0.7, 1.0)]
    assert tones == [1.0, 1.0, 1.0]


def test_the_score_is_the_worst_part():
    for points in (POINTS, POINTS * np.float32(0.3), turned(60, 10, 0).astype(np.float32)):
        score, parts, pose = measured(pattern(1, (300, 300)), points)
        assert score == min(parts.size, parts.sharpness, parts.pose, parts.light) == score_of(parts)
        assert 0 <= score <= 1
        cosines = math.cos(math.radians(pose.yaw_deg)) * math.cos(math.radians(pose.pitch_deg))
        assert parts.pose == pytest.approx(max(0, cosines))


def test_lightqnet_is_given_its_three_point_crop(tmp_path):
    """A network that answers with the mean of its input shows what it was given."""
    path = constants(
        tmp_path / "q.onnx", {"q": np.array([[0.295]], np.float32)}, shape=("N", 96, 96, 3)
    )
    _, parts, _ = QualityMeter(lightqnet=path).measure(noise(), BOX, POINTS)
    assert parts.learned == pytest.approx(0.5)
    assert score_of(parts) == pytest.approx(0.5)
    mouth = (POINTS[3] + POINTS[4]) / 2
    fractions = np.array([(0.3419, 0.4616), (0.6565, 0.4598), (0.5012, 0.8240)])
    matrix = umeyama(np.vstack([POINTS[:2], mouth]), fractions * 96)
    given_ = []
    meter = QualityMeter(lightqnet=path)
    meter._lightqnet.run = lambda values: given_.append(values) or [np.ones((1, 1), np.float32)]
    meter.measure(noise(), BOX, POINTS)
    crop = warp(noise(), matrix, (96, 96))[..., ::-1].astype(np.float32)
    np.testing.assert_allclose(given_[0], (crop[None] - 128) / 128, atol=1e-6)


def test_fsanet_files_are_averaged_and_its_yaw_is_turned_to_the_viewer_s(tmp_path):
    shape = (1, 3, 64, 64)
    first = constants(tmp_path / "a.onnx", {"o": np.array([[10, 4, 2]], np.float32)}, shape=shape)
    second = constants(tmp_path / "b.onnx", {"o": np.array([[20, 8, 4]], np.float32)}, shape=shape)
    pose = FsaNet([first, second]).estimate(noise(), BOX)
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == (-15, 6, 3)
    image = np.zeros((112, 112, 3), np.uint8)
    image[...] = (10, 20, 30)
    means = FsaNet([channel_means(tmp_path / "m.onnx", shape)]).estimate(image, BOX)
    wanted = [(v - 127.5) / 128 for v in (30, 20, 10)]
    assert (-means.yaw_deg, means.pitch_deg, means.roll_deg) == pytest.approx(wanted, rel=1e-5)
    for edge in (Box(0, 0, 1, 1), Box(111, 111, 112, 112), Box(0, 0, 112, 112)):
        FsaNet([first]).estimate(image, edge)


def published_box(src_w, src_h, bbox, scale):
    """The rule as the published code states it, corner by corner."""
    x, y, box_w, box_h = bbox
    scale = min((src_h - 1) / box_h, (src_w - 1) / box_w, scale)
    new_w, new_h = box_w * scale, box_h * scale
    cx, cy = box_w / 2 + x, box_h / 2 + y
    x1, y1, x2, y2 = cx - new_w / 2, cy - new_h / 2, cx + new_w / 2, cy + new_h / 2
    if x1 < 0:
        x2 -= x1
        x1 = 0
    if y1 < 0:
        y2 -= y1
        y1 = 0
    if x2 > src_w - 1:
        x1 -= x2 - src_w + 1
        x2 = src_w - 1
    if y2 > src_h - 1:
        y1 -= y2 - src_h + 1
        y2 = src_h - 1
    return int(x1), int(y1), int(x2), int(y2)


@given(
    st.integers(20, 400),
    st.integers(20, 400),
    st.floats(0, 0.9),
    st.floats(0, 0.9),
    st.floats(0.05, 1),
    st.sampled_from([2.7, 4.0]),
)
@settings(derandomize=True, deadline=None, max_examples=25)
def test_the_liveness_crop_is_the_published_rule(width, height, left, top, part, scale):
    x, y = left * width, top * height
    box = Box(x, y, x + max(part * (width - x), 2), y + max(part * (height - y), 2))
    x1, y1, x2, y2 = published_box(width, height, (x, y, box.width, box.height), scale)
    rows, columns = crop_slices(box, scale, (height, width))
    image = np.zeros((height, width))
    assert image[rows, columns].size > 0
    for found, wanted in (
        (rows.start, y1),
        (rows.stop, y2 + 1),
        (columns.start, x1),
        (columns.stop, x2 + 1),
    ):
        assert abs(found - wanted) <= (0 if wanted > 0 else 1)  # rounding of 0.99999 at the edge


def test_liveness_is_the_mean_softmax_of_class_one(tmp_path):
    shape = ("N", 3, 80, 80)
    logits = [[1.0, 2.0, 0.5], [0.0, 3.0, 1.0]]
    paths = [
        constants(tmp_path / f"{name}.onnx", {"l": np.array([row], np.float32)}, shape=shape)
        for name, row in zip(["2.7_80x80_a", "m_4.0_80x80"], logits, strict=True)
    ]
    expected = np.mean([math.exp(b) / sum(map(math.exp, (a, b, c))) for a, b, c in logits])
    assert Liveness(paths).score(noise(), BOX) == pytest.approx(expected)
    analysis = FaceAnalysis(None, one_face(tmp_path / "d.onnx"), threads=1, liveness=paths)
    (face,) = analysis.get(pattern(0, (64, 64)))
    assert face.liveness == pytest.approx(expected)


def test_liveness_sees_the_crop_of_each_scale_in_bgr_0_to_255(tmp_path):
    path = channel_means(tmp_path / "x.onnx", ("N", 3, 80, 80), scale=0.01)
    image = np.zeros((100, 100, 3), np.uint8)
    image[30:70, 30:70] = (10, 20, 30)
    inside = Liveness({path: 1.0}).score(image, Box(40, 40, 60, 60))
    weights = [math.exp(v * 0.01) for v in (30, 20, 10)]
    assert inside == pytest.approx(weights[1] / sum(weights), rel=1e-5)
    outside = Liveness({path: 4.0}).score(image, Box(40, 40, 60, 60))
    assert outside != pytest.approx(inside, rel=1e-5)


def test_networks_of_another_shape_and_unknown_scales_are_refused(tmp_path):
    path = channel_means(tmp_path / "x.onnx", ("N", 3, 80, 80))
    with pytest.raises(WeightsError, match=r"x\.onnx: nothing says at which scale"):
        Liveness([path])
    other = channel_means(tmp_path / "y.onnx", ("N", 3, 64, 64))
    with pytest.raises(WeightsError, match=r"y\.onnx: expected an input \[None, 3, 80, 80\]"):
        Liveness({other: 2.7})
    with pytest.raises(WeightsError, match="one output of width 1, got"):
        QualityMeter(lightqnet=channel_means(tmp_path / "z.onnx", ("N", 96, 96, 3)))
    with pytest.raises(ValueError, match="at least one file"):
        Liveness([])
