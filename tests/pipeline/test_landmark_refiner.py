"""A second look moves landmarks to where they are, at any size and roll."""

from __future__ import annotations

import json

import cv2
import numpy as np
import onnx
import pytest

from crossface.core.errors import WeightsError
from crossface.core.files import sha256_file
from crossface.core.geometry import apply_transform
from crossface.core.template import ARCFACE_POINTS_112
from crossface.pipeline.detectors import DetectorOptions, open_detector
from crossface.pipeline.detectors.base import Detections, suppress
from crossface.pipeline.detectors.landmarks import (
    CROP_PX,
    EYES_PX,
    TEMPLATE,
    crop_matrix,
    face_crop,
    fill_their_boxes,
    refine,
)
from pipeline.onnx_files import STRIDES, constants

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))


def dotted(points, side, radius):
    """A grey picture with a dot of its own colour on each landmark."""
    image = np.full((side, side, 3), 90, np.uint8)
    for (x, y), colour in zip(points, COLOURS, strict=True):
        centre = (round(x * 16), round(y * 16))
        cv2.circle(image, centre, round(radius * 16), colour, -1, cv2.LINE_AA, 4)
    return image


def sees_dots(crops):
    """A network that finds the middle of each colour."""
    points = np.zeros((len(crops), 5, 2))
    rows, columns = np.mgrid[:CROP_PX, :CROP_PX]
    for number, crop in enumerate(crops):
        for dot, colour in enumerate(COLOURS):
            near = np.clip(200 - np.abs(crop.astype(int) - colour).sum(2), 0, None).astype(float)
            middle = np.array([(near * columns).sum(), (near * rows).sum()]) / near.sum()
            points[number, dot] = (middle - TEMPLATE[dot]) / EYES_PX
    angles = np.full((len(crops), 3), (0.1, 0.0, 0.0))
    return np.full((len(crops), 1), 0.81), points.reshape(-1, 10), angles


def face(side, eyes, roll):
    turn = np.radians(roll)
    scale = eyes / 35.24
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = ARCFACE_POINTS_112.mean(axis=0)
    return (ARCFACE_POINTS_112 - middle) @ linear.T + side / 2


@pytest.mark.parametrize(("side", "eyes"), [(80, 12), (200, 40), (900, 200)])
@pytest.mark.parametrize("roll", [0, 25, -60])
def test_rough_landmarks_become_exact(side, eyes, roll):
    true = face(side, eyes, roll)
    image = dotted(true, side, max(eyes / 8, 1.5))
    rng = np.random.default_rng(5)
    rough = (true + rng.normal(0, 0.08 * eyes, (5, 2))).astype(np.float32)
    box = np.array([[0, 0, side, side]], np.float32)
    found = Detections(box, np.array([0.49], np.float32), rough[None])
    before = found.landmarks.copy()
    (points,) = refine(image, found, sees_dots).landmarks
    assert np.abs(points - true).max() < 0.03 * eyes
    assert (found.landmarks == before).all()
    assert refine(image, found, sees_dots).scores[0] == pytest.approx(0.63)


def test_the_pose_turns_with_the_face():
    for roll in (0, 30):
        true = face(200, 40, roll)
        found = Detections(
            np.array([[0, 0, 200, 200]], np.float32),
            np.array([1], np.float32),
            true.astype(np.float32)[None],
        )
        (pose,) = refine(dotted(true, 200, 5), found, sees_dots).poses
        assert pose[2] == pytest.approx(roll, abs=1)
        assert np.hypot(pose[0], pose[1]) == pytest.approx(9, abs=0.3)


def test_nothing_stays_nothing_and_no_face_is_no_error():
    empty = Detections.empty()
    assert refine(np.zeros((9, 9, 3), np.uint8), empty, sees_dots) is empty
    points = np.full((5, 2), 3.0)
    assert np.isfinite(crop_matrix(points)).all()
    far = crop_matrix(face(100, 800, 0) + 1e5)
    assert face_crop(np.full((100, 100, 3), 9, np.uint8), far).max() == 0


def test_a_large_face_is_averaged_not_picked():
    """A fine checkerboard has no pattern left when it is made much smaller."""
    rows, columns = np.mgrid[:800, :800]
    board = np.repeat((((rows + columns) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    crop = face_crop(board, crop_matrix(face(800, 180, 0)))
    inner = crop[8:-8, 8:-8].astype(float)
    assert np.abs(inner - 127.5).max() < 3


def test_the_middle_of_a_shrunk_crop_is_the_middle():
    """Averaging first moves nothing: a ramp keeps its values."""
    ramp = np.repeat(np.tile(np.arange(900) * 0.25, (900, 1))[..., None], 3, axis=2)
    matrix = crop_matrix(face(900, 150, 0))
    crop = face_crop(ramp.astype(np.uint8), matrix)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    for x, y in ((20, 20), (32, 40), (45, 30)):
        (source,) = apply_transform(inverse, [[x, y]])
        assert float(crop[y, x, 0]) == pytest.approx(source[0] * 0.25 - 0.375, abs=0.8)


def own(folder, landmarks=None, min_score=0.4):
    """A detector that sees a face in the middle cell of stride 32, and its second look."""
    cells = [(96 // stride) ** 2 for stride in STRIDES]
    total = sum(cells)
    score = np.zeros((1, total, 1), np.float32)
    middle = total - cells[-1] + 4
    score[0, middle] = 0.25
    box = np.zeros((1, total, 4), np.float32)
    points = np.tile((face(96, 16, 0) - 48).reshape(1, 1, 10) / 32, (1, total, 1))
    path = constants(
        folder / "own.onnx",
        {
            "score": score,
            "box": box,
            "points": points.astype(np.float32),
            "angles": np.zeros((1, total, 3), np.float32),
        },
    )
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key = "crossface.detector"
    entry.value = json.dumps({"min_score": min_score, "landmarks": landmarks})
    onnx.save(model, path)
    return path


def second(folder, score=1.0):
    return constants(
        folder / "look.onnx",
        {
            "score": np.array([[score]], np.float32),
            "points": np.full((1, 10), 0.05, np.float32),
            "angles": np.zeros((1, 3), np.float32),
        },
        shape=("N", 3, 64, 64),
    )


IMAGE = np.full((96, 96, 3), 120, np.uint8)


def told(path):
    return {"file": path.name, "sha256": sha256_file(path)}


def test_a_detector_looks_twice_where_its_file_says_so(tmp_path):
    look = second(tmp_path, score=1.0)
    (found,) = open_detector(own(tmp_path, told(look)), threads=1).detect([IMAGE])
    assert found.scores.tolist() == [0.5]  # of 0.25 and 1
    # three looks, each a twentieth of an eye distance to the right and down
    moved = found.landmarks[0].mean(0) - 48
    np.testing.assert_allclose(moved, 3 * 0.05 * 16, atol=0.2)
    (none,) = open_detector(own(tmp_path, told(look), min_score=0.6), threads=1).detect([IMAGE])
    assert len(none) == 0
    options = DetectorOptions(min_score=0.45)
    (some,) = open_detector(own(tmp_path, told(look)), options=options, threads=1).detect([IMAGE])
    assert len(some) == 1


def test_a_second_look_that_says_no_is_no_face(tmp_path):
    look = second(tmp_path, score=0.0)
    (found,) = open_detector(own(tmp_path, told(look)), threads=1).detect([IMAGE])
    assert len(found) == 0


def test_a_second_look_that_is_missing_or_another_is_refused(tmp_path):
    look = second(tmp_path)
    path = own(tmp_path, told(look))
    second(tmp_path, score=0.5)
    with pytest.raises(WeightsError, match=r"is not the second look of own.onnx: expected the sha"):
        open_detector(path, threads=1)
    look.unlink()
    with pytest.raises(WeightsError, match=r"own.onnx: its second look, look.onnx, is not beside"):
        open_detector(path, threads=1)
    with pytest.raises(WeightsError, match="its metadata"):
        open_detector(own(tmp_path, {"file": "../look.onnx", "sha256": "0" * 64}), threads=1)


def test_a_second_look_with_other_outputs_is_refused(tmp_path):
    look = constants(tmp_path / "look.onnx", {"score": np.zeros((1, 1), np.float32)})
    with pytest.raises(WeightsError, match="expected the outputs score, points, angles, got score"):
        open_detector(own(tmp_path, told(look)), threads=1)


def test_two_guesses_that_become_one_face_are_one(tmp_path):
    detector = open_detector(own(tmp_path, told(second(tmp_path))), threads=1)
    true = face(200, 40, 0)
    rough = np.stack([true + 14, true - 14]).astype(np.float32)
    boxes = np.array([[20, 47, 127, 154], [74, 47, 181, 154]], np.float32)
    found = Detections(boxes, np.array([0.6, 0.8], np.float32), rough)
    assert len(suppress(found, 0.4)) == 2
    detector.second = sees_dots
    kept = detector.finish(dotted(true, 200, 5), found)
    assert kept.scores.tolist() == [pytest.approx(np.sqrt(0.8 * 0.81), abs=1e-6)]
    assert np.abs(kept.landmarks[0] - true).max() < 1


@pytest.mark.parametrize("roll", [0, 40, 90])
def test_landmarks_must_fill_their_box(roll):
    points = face(200, 40, roll).astype(np.float32)
    scale, middle = 40 / 35.24, np.array([57.5, 63.5]) - ARCFACE_POINTS_112.mean(axis=0)
    turn = np.radians(roll)
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    x, y = linear @ middle + 100
    side = scale * 2 * np.sqrt(41.5 * 53.5)

    def fits(share, dx=0.0):
        half, shift = share * side / 2, dx * share * side
        box = [x - half + shift, y - half, x + half + shift, y + half]
        one = np.ones(1, np.float32)
        return bool(fill_their_boxes(Detections(np.array([box], np.float32), one, points[None]))[0])

    assert fits(1)
    assert fits(1.65)
    assert fits(0.62)
    assert fits(1, dx=0.3)
    assert not fits(1.75)
    assert not fits(0.55)
    assert not fits(1, dx=0.4)
    for broken in (points * 0 + [100, 300], points * np.nan):
        found = Detections(
            np.array([[95, 295, 105, 305]], np.float32),
            np.ones(1, np.float32),
            broken[None].astype(np.float32),
        )
        assert not fill_their_boxes(found)[0]
