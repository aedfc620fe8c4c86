"""Training of the detector: labels from teachers, figures, and a run that can be stopped."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crossface.core.errors import ConfigError, DataError, WeightsError
from crossface.core.template import ARCFACE_POINTS_112
from crossface.data import open_faces
from crossface.data.drawn import DrawnFaces
from crossface.data.scenes import CropLabels, Scene
from crossface.pipeline.detectors import Detections
from crossface.training.detector import labels as labels_module
from crossface.training.detector import train as train_module
from crossface.training.detector.config import (
    CropsConfig,
    DetectorConfig,
    DrawnConfig,
    LandmarksConfig,
    NetworkConfig,
    ScenesConfig,
)
from crossface.training.detector.data import LABELS, open_scenes
from crossface.training.detector.labels import CropTeacher, label_crops
from crossface.training.detector.measure import measure, overlaps
from crossface.training.detector.train import config_of, train_detector
from pipeline.onnx_files import STRIDES, channel_means, constants

CROPS = DrawnFaces(identities=3, per_identity=2, seed=1)
SIDE = 192  # a crop and its margins


def tiny(**changes):
    values = {
        "steps": 6,
        "batch_size": 2,
        "checkpoint_every_steps": 3,
        "validate_every_steps": 3,
        "log_every_steps": 2,
        "drawn": DrawnConfig(identities=2, per_identity=1, holdout=1),
        "scenes": ScenesConfig(side_px=64, validation=2),
        "landmarks": LandmarksConfig(steps=2, scenes_a_step=2, channels=(4, 4, 4, 4)),
        "net": NetworkConfig(
            stem=4, stages=(4, 4, 4, 4), depths=(1, 1, 1, 1), neck=4, head_depth=1
        ),
    }
    return DetectorConfig(**(values | changes))


def teacher_file(path, points):
    """A file that sees one face with these landmarks of a crop, in a picture with margins."""
    count = sum((SIDE // s) ** 2 for s in STRIDES)
    out = {
        name: np.zeros((1, count, width), np.float32)
        for name, width in (("score", 1), ("box", 4), ("points", 10), ("angles", 3))
    }
    cell = 12 * (SIDE // 8) + 12
    middle = np.array([100.0, 100.0], np.float32)
    out["score"][0, cell] = 0.9
    out["box"][0, cell, 2:] = np.log([80 / 8, 104 / 8])
    out["points"][0, cell] = ((points + 40 - middle) / 8).reshape(-1)
    return constants(path, out, shape=(1, 3, SIDE, SIDE))


@pytest.fixture
def teachers(tmp_path):
    pose = channel_means(tmp_path / "pose.onnx", (1, 3, 64, 64), scale=10.0)
    one = teacher_file(tmp_path / "one.onnx", ARCFACE_POINTS_112 + np.array([1, 0]))
    two = teacher_file(tmp_path / "two.onnx", ARCFACE_POINTS_112 + np.array([3, 2]))
    far = teacher_file(tmp_path / "far.onnx", ARCFACE_POINTS_112 + np.array([14, 0]))
    return SimpleNamespace(pose=pose, one=one, two=two, far=far)


def test_labels_are_the_mean_of_the_teachers(teachers):
    teacher = CropTeacher([teachers.one, teachers.two], [teachers.pose])
    labels = label_crops(CROPS, teacher, count=4, seed=0, progress=False)
    assert (len(labels), labels.asked, labels.source_digest) == (4, 4, CROPS.digest())
    np.testing.assert_allclose(labels.points[0], ARCFACE_POINTS_112 + np.array([2, 1]), atol=1e-3)
    np.testing.assert_allclose(labels.boxes[0], [20, 8, 100, 112], atol=1e-3)
    # The pose file gives the means of blue, green and red; its yaw is the subject's.
    part = CROPS.read(int(labels.rows[0]))[max(8 - 20, 0) :, 4:112]
    assert labels.angles[0, 0] == pytest.approx(-10 * (part[..., 2].mean() - 127.5) / 128, abs=0.3)


def test_crops_that_teachers_disagree_about_are_left_out(teachers):
    teacher = CropTeacher([teachers.one, teachers.far], [teachers.pose])
    assert teacher.look(CROPS.read(0)) is None
    with pytest.raises(DataError, match="agree about none of 6 crops"):
        label_crops(CROPS, teacher, count=None, seed=0, progress=False)


def test_a_teacher_that_may_not_be_used_commercially_is_refused(teachers, monkeypatch):
    known = SimpleNamespace(non_commercial=True, licence="research only")
    monkeypatch.setattr(labels_module, "find_by_sha256", lambda _: known)
    with pytest.raises(WeightsError, match=r"one\.onnx: may not be used commercially"):
        CropTeacher([teachers.one], [teachers.pose])
    with pytest.raises(WeightsError, match="at least one detector"):
        CropTeacher([], [teachers.pose])


def test_labels_are_made_once_and_held_out_crops_are_others(teachers, tmp_path, monkeypatch):
    crops = CropsConfig(
        path="drawn:ids=5,per_id=2,seed=1",
        detectors=[str(teachers.one), str(teachers.two)],
        pose=[str(teachers.pose)],
        holdout=0.3,
    )
    config = tiny(crops=crops)
    pair = open_scenes(config, tmp_path, progress=False)
    assert (pair.labelled, pair.asked) == (10, 10)
    rows = [set(s._crops._labels.rows.tolist()) for s in (pair.training, pair.validation)]
    assert [len(r) for r in rows] == [7, 3]
    assert not rows[0] & rows[1]
    kept = CropLabels.load(tmp_path / LABELS)
    assert kept.source_digest == open_faces(crops.path).digest()
    monkeypatch.setattr(CropTeacher, "look", lambda *_: pytest.fail("asked again"))
    open_scenes(config, tmp_path, progress=False)
    # Other teachers, other labels.
    other = tiny(crops=crops.model_copy(update={"detectors": [str(teachers.one)]}))
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        open_scenes(other, tmp_path, progress=False)


def scene(boxes, counted):
    boxes = np.array(boxes, np.float32)
    points = np.stack([boxes[:, :2] + (boxes[:, 2:] - boxes[:, :2]) * s for s in (
        [0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8])], axis=1)  # fmt: skip
    angles = np.tile(np.array([[10, -5, 170]], np.float32), (len(boxes), 1))
    return Scene(np.zeros((64, 64, 3), np.uint8), boxes, points, angles, np.array(counted))


def seen(of, rows, scores, shift=0.0, turn=0.0):
    return Detections(
        of.boxes[rows] + np.float32(shift),
        np.array(scores, np.float32),
        of.points[rows] + np.float32(shift),
        of.angles[rows] + np.float32(turn),
    )


def test_figures_of_a_detector_that_sees_everything():
    there = scene([[0, 0, 20, 30], [30, 30, 50, 60]], [True, True])
    figures = measure([there], [seen(there, [1, 0], [0.9, 0.6])])
    assert (figures.average_precision, figures.recall, figures.precision) == (1, 1, 1)
    assert figures.min_score == pytest.approx(0.6)
    assert (figures.point_error, figures.faces) == (0, 2)


def test_figures_by_hand():
    """Three faces: found, found late, missed; one stray between; one that need not be found."""
    there = scene([[0, 0, 20, 20], [20, 0, 40, 20], [40, 0, 60, 20], [0, 40, 20, 60]], [1, 1, 1, 0])
    there = Scene(there.image, there.boxes, there.points, there.angles, there.counted.astype(bool))
    right = seen(there, [0, 3, 1], [0.9, 0.85, 0.4], turn=30)
    stray = Detections(
        np.array([[40, 40, 60, 60]], np.float32),
        np.array([0.7], np.float32),
        np.zeros((1, 5, 2), np.float32),
        np.zeros((1, 3), np.float32),
    )
    order = [0, 1, 3, 2]
    both = Detections(
        *(
            np.concatenate([getattr(right, name), getattr(stray, name)])[order]
            for name in ("boxes", "scores", "landmarks", "poses")
        )
    )
    figures = measure([there], [both])
    # In order: right, (neutral), wrong, right. Precision 1, 1/2, 2/3; recall 1/3, 1/3, 2/3.
    assert figures.average_precision == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    # F0.5 = 1.25 P R / (P / 4 + R): 5/7 after the first, 2/3 after the last.
    assert figures.recall == pytest.approx(1 / 3)
    assert figures.precision == pytest.approx(1)
    assert figures.min_score == pytest.approx(float(both.scores[0]))
    assert figures.yaw_error_deg == pytest.approx(30)
    assert figures.roll_error_deg == pytest.approx(30)  # 170 + 30 is -160


def test_a_face_is_found_once():
    there = scene([[0, 0, 20, 20]], [True])
    figures = measure([there], [seen(there, [0, 0], [0.9, 0.8])])
    assert figures.recall == 1
    assert figures.min_score == pytest.approx(0.9)
    nothing = measure([there], [Detections.empty()])
    assert (nothing.recall, nothing.average_precision, nothing.faces) == (0, 0, 1)


def test_overlaps_are_those_of_rectangles():
    boxes = np.array([[0, 0, 10, 10], [5, 5, 15, 15]], np.float32)
    np.testing.assert_allclose(overlaps(boxes, boxes), [[1, 25 / 175], [25 / 175, 1]], rtol=1e-6)


def weights(trained):
    return {name: value.clone() for name, value in trained.net.state_dict().items()}


def test_a_stopped_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    whole = train_detector(tiny(), tmp_path / "whole", show_progress=False)
    real = train_module._step

    def failing(state, batch, cells):
        if state.progressed.step == 4:
            raise RuntimeError("killed")
        return real(state, batch, cells)

    monkeypatch.setattr(train_module, "_step", failing)
    with pytest.raises(RuntimeError, match="killed"):
        train_detector(tiny(), tmp_path / "cut", show_progress=False)
    monkeypatch.setattr(train_module, "_step", real)
    assert config_of(tmp_path / "cut") == tiny()
    again = train_detector(
        config_of(tmp_path / "cut"), tmp_path / "cut", resume=True, show_progress=False
    )
    for name, value in weights(whole).items():
        torch.testing.assert_close(again.net.state_dict()[name], value, rtol=0, atol=0)
    every = train_module.RunFolder(tmp_path / "cut").metrics()
    lines = [line["step"] for line in every if "step" in line]
    assert lines == [0, 2, 3, 3, 4, 6, 6]
    assert [start["step"] for start in again.starts] == [0, 3]


def test_a_run_may_be_finished_early(tmp_path, monkeypatch):
    real = train_module._step

    def failing(state, batch, cells):
        if state.progressed.step == 4:
            raise RuntimeError("killed")
        return real(state, batch, cells)

    monkeypatch.setattr(train_module, "_step", failing)
    with pytest.raises(RuntimeError, match="killed"):
        train_detector(tiny(), tmp_path, show_progress=False)
    early = train_detector(tiny(), tmp_path, resume=True, finish=True, show_progress=False)
    assert early.steps == 3
    assert train_module.RunFolder(tmp_path).metrics()[-1]["step"] == 3


def test_the_loss_falls(tmp_path):
    config = tiny(steps=40, batch_size=4, lr=1e-2, log_every_steps=10, validate_every_steps=100)
    train_detector(config, tmp_path / "run", show_progress=False)
    lines = [x for x in train_module.RunFolder(tmp_path / "run").metrics() if "loss" in x]
    assert lines[-1]["loss"] < 0.95 * lines[0]["loss"]


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    train_detector(tiny(steps=1), tmp_path / "run", show_progress=False)
    with pytest.raises(ConfigError, match="already holds a run"):
        train_detector(tiny(steps=1), tmp_path / "run", show_progress=False)
    with pytest.raises(WeightsError, match="another configuration"):
        train_detector(tiny(lr=1e-2), tmp_path / "run", resume=True, show_progress=False)
    longer = train_detector(tiny(steps=2), tmp_path / "run", resume=True, show_progress=False)
    assert longer.steps == 2
