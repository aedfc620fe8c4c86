"""Landmarks, camera and boxes of drawn faces against closed forms and the painted picture."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.data.drawn import DrawnFaces, Identity, Nuisance, draw_face
from crossface.data.drawn.anatomy import landmarks
from crossface.data.drawn.draw import truth
from crossface.data.drawn.geometry3d import CAMERA_DISTANCE, UNIT_SHARE, Head, rotation
from crossface.data.drawn.scene import Scene

SETTINGS = settings(derandomize=True, deadline=None, max_examples=20)
YAW, PITCH, ROLL = (st.floats(-limit, limit) for limit in (45.0, 22.0, 25.0))


def project_by_hand(point, how: Nuisance, size: int) -> tuple[float, float]:
    """Yaw, pitch, roll and perspective of one point, written out in sines and cosines."""
    x, y, z = point
    a, b, c = (math.radians(v) for v in (how.yaw_deg, how.pitch_deg, how.roll_deg))
    x, z = x * math.cos(a) + z * math.sin(a), z * math.cos(a) - x * math.sin(a)
    y, z = y * math.cos(b) - z * math.sin(b), z * math.cos(b) + y * math.sin(b)
    x, y = x * math.cos(c) - y * math.sin(c), y * math.cos(c) + x * math.sin(c)
    unit = UNIT_SHARE * size * how.scale * CAMERA_DISTANCE / (CAMERA_DISTANCE - z)
    middle = (size - 1) / 2
    return (
        middle + how.shift_x * size + unit * x,
        middle + (how.shift_y - 0.005) * size + unit * y,
    )


@SETTINGS
@given(YAW, PITCH, ROLL)
def test_landmarks_follow_the_closed_form_of_the_projection(yaw, pitch, roll):
    who, how = Identity(), Nuisance(yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll, shift_x=0.01)
    expected = [project_by_hand(p, how, 96) for p in landmarks(who, how, Head(who))]
    kps_px = truth(Scene.of(who, how, 96))[1]
    np.testing.assert_allclose(kps_px, expected, atol=1e-3)


@SETTINGS
@given(YAW, PITCH, ROLL)
def test_rotation_is_a_proper_rotation(yaw, pitch, roll):
    turn = rotation(yaw, pitch, roll)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("turn", "axis", "sign"),
    [("yaw_deg", 0, 1), ("pitch_deg", 1, -1)],
    ids=["yaw_to_the_viewers_right", "pitch_up"],
)
def test_nose_moves_from_the_eyes_as_the_pose_says(turn, axis, sign):
    def offset(degrees: float) -> float:
        kps = truth(Scene.of(Identity(), Nuisance(**{turn: degrees}), 96))[1]
        return float((kps[2] - kps[:2].mean(axis=0))[axis])

    assert sign * (offset(20) - offset(0)) > 1.5
    assert sign * (offset(-20) - offset(0)) < -1.5


def test_positive_roll_turns_clockwise_in_the_picture():
    eyes = draw_face(Identity(), Nuisance(roll_deg=15), size=96).kps_px[:2]
    left, right = eyes
    assert right[1] > left[1]
    assert math.degrees(math.atan2(*(right - left)[::-1])) == pytest.approx(15, abs=0.5)


def test_surface_of_the_head_is_highest_in_the_middle_and_zero_at_the_outline():
    head = Head(Identity())
    assert head.lift(np.array([[0.0, 0.1]]))[0, 2] == pytest.approx(Identity().face_depth)
    np.testing.assert_allclose(head.lift(head.outline)[:, 2], 0.0, atol=1e-6)


def darkness_near(picture, point, radius: float) -> float:
    """Mean grey level inside a circle."""
    grey = cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY)
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    return float(grey[np.hypot(x - point[0], y - point[1]) <= radius].mean())


@pytest.mark.parametrize("tone", [0.05, 0.5])
def test_landmarks_lie_on_iris_and_lips(tone):
    who = Identity().with_(skin_tone=tone, iris_light=0.0, iris_hue=0.0)
    picture = draw_face(who, Nuisance(), size=192)
    unit = UNIT_SHARE * 192
    for eye in picture.kps_px[:2]:
        pupil = darkness_near(picture, eye, 0.05 * unit)
        below = darkness_near(picture, eye + np.array([0, 0.3 * unit]), 0.05 * unit)
        assert pupil < 0.6 * below
    for corner, inwards in zip(picture.kps_px[3:], (1, -1), strict=True):
        lips = darkness_near(picture, corner + np.array([inwards * 0.06 * unit, 0]), 0.03 * unit)
        cheek = darkness_near(picture, corner - np.array([inwards * 0.15 * unit, 0]), 0.03 * unit)
        assert lips < 0.85 * cheek


def test_nose_tip_lies_above_the_dark_nostrils():
    picture = draw_face(Identity(), Nuisance(), size=192)
    tip, unit = picture.kps_px[2], UNIT_SHARE * 192
    grey = cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY).astype(float)
    x, y = round(float(tip[0])), round(float(tip[1]))
    column = grey[y : y + int(0.25 * unit), x - int(0.12 * unit)]
    assert column.min() < 0.6 * grey[y, x]


def test_boxes_lie_inside_the_picture_and_hold_the_landmarks():
    faces = DrawnFaces(identities=6, per_identity=4, seed=5)
    for index in range(len(faces)):
        picture = faces.picture(index)
        box, (height, width) = picture.box, picture.image.shape[:2]
        assert 0 <= box.x1 < box.x2 <= width
        assert 0 <= box.y1 < box.y2 <= height
        x, y = picture.kps_px[[0, 1, 3, 4]].T
        assert (box.x1 <= x).all()
        assert (x <= box.x2).all()
        assert (box.y1 <= y).all()
        assert (y <= box.y2).all()


def test_aligned_crop_puts_unjittered_landmarks_near_the_template():
    faces = DrawnFaces(identities=4, per_identity=1, nuisance=0.0)
    for index in range(len(faces)):
        kps = faces.annotation(index).kps_px
        assert np.abs(kps[:2, 1] - 51.6).max() < 6
        assert kps[0, 0] < kps[2, 0] < kps[1, 0]
