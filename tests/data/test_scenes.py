"""Scenes: what is pasted lies where its labels say, and nothing gives a crop's edge away."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.core.errors import ConfigError, DataError
from crossface.core.geometry import turned
from crossface.core.template import ARCFACE_POINTS_112
from crossface.data.drawn import DrawnFaces
from crossface.data.scenes import (
    CropLabels,
    DrawnCuts,
    FaceCut,
    LabelledCrops,
    SceneOptions,
    Scenes,
)
from crossface.data.scenes.cuts import FACE_ELLIPSE_112, ellipse_of
from crossface.data.scenes.heads import in_a_head
from crossface.data.scenes.paste import oval_mask, paste, place, placement
from crossface.pipeline.pose import FACE_MODEL, pose_from_landmarks

DRAWN = DrawnFaces(identities=3, per_identity=2, seed=5)


def dotted(side=112, colour=255):
    """A black picture with a white dot on each of five landmarks."""
    image = np.zeros((side, side, 3), np.uint8)
    for x, y in ARCFACE_POINTS_112:
        cv2.circle(image, (round(x), round(y)), 2, (colour,) * 3, -1)
    points = np.round(ARCFACE_POINTS_112)
    return FaceCut(image, points, np.array(FACE_ELLIPSE_112), np.zeros(3), whole_head=False)


def dots_of(image, count=5):
    """(count, 2) middles of the bright spots."""
    grey = image[..., 0].astype(np.float32)
    number, marks = cv2.connectedComponents((grey > 60).astype(np.uint8))
    assert number == count + 1
    spots = []
    for mark in range(1, number):
        y, x = np.nonzero(marks == mark)
        weight = grey[y, x]
        spots.append(((x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()))
    return np.array(spots)


@given(st.floats(60, 250), st.floats(-90, 90), st.floats(90, 170), st.floats(90, 170))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_landmarks_land_where_the_labels_say(height, turn, x, y):
    cut = dotted()
    scene = np.zeros((256, 256, 3), np.uint8)
    matrix = placement(cut, (x, y), height, turn)
    paste(scene, cut.image, np.ones(cut.image.shape[:2], np.float32), matrix)
    said = place(cut, matrix).points
    inside = ((said > 6) & (said < 249)).all(axis=1)
    if not inside.all():
        return
    seen = dots_of(scene)
    for point in said:
        assert np.linalg.norm(seen - point, axis=1).min() < 0.75


@given(st.floats(20, 250), st.floats(-180, 180))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_the_box_touches_the_turned_ellipse(height, turn):
    cut = dotted()
    said = place(cut, placement(cut, (100.0, 90.0), height, turn))
    around = np.linspace(0, 2 * np.pi, 20_000)
    half_y = height / 2
    half_x = half_y * FACE_ELLIPSE_112[2] / FACE_ELLIPSE_112[3]
    angle = math.radians(turn)
    u, v = half_x * np.cos(around), half_y * np.sin(around)
    x = 100 + math.cos(angle) * u - math.sin(angle) * v
    y = 90 + math.sin(angle) * u + math.cos(angle) * v
    np.testing.assert_allclose(said.box, [x.min(), y.min(), x.max(), y.max()], atol=1e-3)


def rotation(yaw, pitch, roll):
    """A head that turns by its own yaw and pitch, then rolls in the picture."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


@given(st.floats(-50, 50), st.floats(-40, 40), st.floats(-30, 30), st.floats(-90, 90))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_a_turned_picture_turns_the_pose(yaw, pitch, roll, turn):
    """The pose read from landmarks before and after the turn; FACE_MODEL has no other error."""
    points = (FACE_MODEL @ rotation(yaw, pitch, roll).T)[:, :2] * 40
    before = pose_from_landmarks(points)
    cut = FaceCut(np.zeros((9, 9, 3), np.uint8), points, np.array([0, 0, 30, 40.0]), np.array(
        [before.yaw_deg, before.pitch_deg, before.roll_deg]), whole_head=True)  # fmt: skip
    said = place(cut, placement(cut, (0.0, 0.0), 80, turn))
    after = pose_from_landmarks(said.points)
    np.testing.assert_allclose(
        said.angles, [after.yaw_deg, after.pitch_deg, after.roll_deg], atol=1e-4
    )


def test_turning_by_nothing_and_all_the_way_changes_nothing():
    angles = np.array([30.0, -20.0, 10.0])
    np.testing.assert_allclose(turned(angles, 0), angles)
    np.testing.assert_allclose(turned(angles, 360), angles)
    np.testing.assert_allclose(turned(angles, 180)[:2], [-30, 20], atol=1e-9)


def test_a_mirrored_face_is_the_mirrored_picture_s_face():
    cut = dotted()
    mirrored = cut.mirrored()
    np.testing.assert_array_equal(mirrored.image, cut.image[:, ::-1])
    seen = np.sort(dots_of(mirrored.image)[:, 0])
    np.testing.assert_allclose(seen, np.sort(mirrored.points[:, 0]), atol=0.5)
    assert mirrored.points[0, 0] < mirrored.points[1, 0]
    back = mirrored.mirrored()
    np.testing.assert_allclose(back.points, cut.points)
    np.testing.assert_allclose(back.ellipse, cut.ellipse)
    turned_cut = FaceCut(cut.image, cut.points, cut.ellipse, np.array([10.0, 5.0, -3.0]), True)
    np.testing.assert_allclose(turned_cut.mirrored().angles, [-10, 5, 3])


def test_a_mask_is_the_superellipse_of_its_formula():
    mask = oval_mask((30, 40), (20.0, 12.0), (15.0, 10.0), 3.0, 0.4)
    for y, x in [(12, 20), (0, 0), (12, 34), (3, 20), (18, 30), (21, 9)]:
        radius = (abs(x - 20) / 15) ** 3 + (abs(y - 12) / 10) ** 3
        wanted = min(max((1 - radius ** (1 / 3)) / 0.4 + 0.5, 0), 1)
        assert mask[y, x] == pytest.approx(wanted, abs=1e-5)


def test_a_paste_far_outside_and_half_outside_is_harmless():
    cut = dotted()
    scene = np.full((64, 64, 3), 9, np.uint8)
    whole = np.ones((112, 112), np.float32)
    paste(scene, cut.image, whole, placement(cut, (900.0, 900.0), 40, 20))
    assert (scene == 9).all()
    paste(scene, cut.image, whole, placement(cut, (0.0, 32.0), 60, 0))
    assert (scene[:, 40:] == 9).all()
    assert (scene[20:40, :10] != 9).any()


def labelled(crops, digest=None):
    count = len(crops)
    x, y, half_x, half_y = FACE_ELLIPSE_112
    return CropLabels(
        digest or crops.digest(),
        "none",
        np.arange(count),
        np.repeat(ARCFACE_POINTS_112[None], count, 0).astype(np.float32),
        np.array([[x - half_x, y - half_y, x + half_x, y + half_y]] * count, np.float32),
        np.zeros((count, 3), np.float32),
        count + 2,
    )  # fmt: skip


def scenes(seed=0, **settings_):
    return Scenes(
        LabelledCrops(DRAWN, labelled(DRAWN)),
        DrawnCuts(DRAWN),
        seed=seed,
        options=SceneOptions(side_px=128, **settings_),
    )


def test_scenes_are_fixed_by_seed_and_number():
    one, two = scenes().scene(3), scenes().scene(3)
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.points, two.points)
    assert not np.array_equal(one.image, scenes().scene(4).image)
    assert not np.array_equal(one.image, scenes(seed=1).scene(3).image)


def test_every_scene_keeps_its_promises():
    made = scenes()
    seen = []
    for number in range(30):
        scene = made.scene(number)
        count = len(scene.boxes)
        seen.append(count)
        assert scene.image.shape == (128, 128, 3)
        assert scene.image.dtype == np.uint8
        assert scene.points.shape == (count, 5, 2)
        assert scene.angles.shape == (count, 3)
        assert scene.counted.shape == (count,)
        middle = (scene.boxes[:, :2] + scene.boxes[:, 2:]) / 2
        assert ((middle > 0) & (middle < 128)).all()
        tall = scene.boxes[:, 3] - scene.boxes[:, 1]
        inside = ((scene.points >= 0) & (scene.points < 128)).all(2).sum(1)
        assert ((tall >= 11) & (inside >= 4))[scene.counted].all()
        # The landmarks lie in their box, and the roll is near the slope of the eyes.
        held = (scene.points > scene.boxes[:, None, :2]) & (scene.points < scene.boxes[:, None, 2:])
        assert held.mean() > 0.9 or not count
    assert max(seen) > 1
    assert any(scenes().scene(n).counted.any() for n in range(5))


def test_a_face_in_a_drawn_head_keeps_its_own_landmarks():
    head = DrawnCuts(DRAWN).read(0)
    face = LabelledCrops(DRAWN, labelled(DRAWN)).read(2)
    before = head.image.copy()
    joined = in_a_head(face, head, np.random.default_rng(0))
    np.testing.assert_array_equal(head.image, before)
    assert joined.image.shape == head.image.shape
    assert joined.whole_head
    # Five points fitted to five others: the eyes within a fifth of their distance.
    eyes = np.linalg.norm(head.points[1] - head.points[0])
    assert np.linalg.norm(joined.points[:2] - head.points[:2], axis=1).max() < 0.25 * eyes
    changed = (joined.image != before).any(2)
    x, y = joined.points.mean(axis=0).round().astype(int)
    assert changed[y, x]


def test_the_ellipse_of_the_template_is_the_template_s():
    np.testing.assert_allclose(ellipse_of(ARCFACE_POINTS_112), FACE_ELLIPSE_112)
    moved = ellipse_of(ARCFACE_POINTS_112 * 2 + [3, 4])
    np.testing.assert_allclose(moved, np.array(FACE_ELLIPSE_112) * 2 + [3, 4, 0, 0])


def test_labels_come_back_from_their_file(tmp_path):
    labels = labelled(DRAWN)
    labels.save(tmp_path / "l.safetensors")
    back = CropLabels.load(tmp_path / "l.safetensors")
    np.testing.assert_array_equal(back.points, labels.points)
    assert (back.source_digest, back.teachers, back.asked) == (DRAWN.digest(), "none", 8)
    assert len(back.take(np.array([1, 3]))) == 2


def test_what_does_not_fit_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"x\.safetensors: cannot be read as labels"):
        CropLabels.load(tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="labels are those of another set"):
        LabelledCrops(DRAWN, labelled(DRAWN, digest="0"))
    for wrong in ({"side_px": 100}, {"max_faces": 0}, {"height_px": (2.0, 9.0)}, {"drawn": 2.0}):
        with pytest.raises(ConfigError, match=r"scenes need|shares lie"):
            SceneOptions(**wrong)
    empty = labelled(DRAWN).take(np.zeros(0, np.int64))
    nobody = LabelledCrops(DRAWN, empty)
    with pytest.raises(ConfigError, match="at least one face"):
        Scenes(nobody, nobody, seed=0)
