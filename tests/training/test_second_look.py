"""Training of the second look: what it is shown, what that is worth, and that it can be stopped."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from crossface.core.seeds import generator
from crossface.data.drawn import DrawnFaces
from crossface.data.scenes import DrawnCuts, Scene, SceneOptions, Scenes
from crossface.data.scenes import looks as guess_module
from crossface.data.scenes.looks import box_of_points, guesses, moved
from crossface.nets.detector import FaceDetector
from crossface.nets.landmarks import LandmarkNet, LandmarkOutputs
from crossface.pipeline.detectors.landmarks import EYES_PX, TEMPLATE
from crossface.training.detector import second as second_module
from crossface.training.detector.config import LandmarksConfig
from crossface.training.detector.looks import LookBatch, look_batch, look_losses
from crossface.training.detector.train import train_detector
from training.test_detector_training import tiny

POINTS = np.array([[40, 40], [60, 40], [50, 50], [43, 62], [57, 62]], np.float32)


def scene(*boxes, counted):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Scene(
        np.zeros((128, 128, 3), np.uint8),
        boxes,
        np.repeat(POINTS[None], len(boxes), axis=0),
        np.zeros((len(boxes), 3), np.float32),
        np.array(counted, dtype=bool),
    )


def asked(of, boxes, elsewhere=0):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    points = np.arange(len(boxes))[:, None, None] + np.zeros((1, 5, 2), np.float32)
    return guesses(of, boxes, points, generator("t", 0), elsewhere=elsewhere)


def test_guesses_are_owned_by_overlap():
    face, small = (30, 30, 70, 70), (90, 90, 110, 110)
    of = scene(face, small, counted=[True, False])
    found = [
        (32, 30, 70, 70),  # on the face
        (50, 30, 90, 70),  # a third of both: neither answer is right
        (0, 90, 40, 127),  # nothing
        (90, 90, 108, 110),  # on one that need not be found
        (88, 88, 127, 127),  # four times as large
        (95, 95, 100, 100),  # in it
    ]
    told = asked(of, found)
    assert told.face.tolist() == [0, -1, -1, 0, 0]  # three of the detector, two of the truth
    assert told.points[:3, 0, 0].tolist() == [0, 2, 4]


def test_a_scene_without_faces_has_guesses_elsewhere():
    told = asked(scene(counted=[]), [], elsewhere=3)
    assert told.face.tolist() == [-1] * 3
    assert told.points.shape == (3, 5, 2)


def test_moved_landmarks_spread_as_told():
    rng = generator("moved", 1)
    points = POINTS.astype(np.float64) + np.array([-30, 170])  # off the diagonal
    many = np.stack([moved(points, (0.1, 0.0, 0.0, 0.0), rng) for _ in range(4000)])
    np.testing.assert_allclose(many.mean(0), points, atol=0.15)
    np.testing.assert_allclose(many.std(0), 0.1 * 20, rtol=0.06)
    many = np.stack([moved(points, (0.0, 0.0, 0.2, 10.0), rng) for _ in range(4000)])
    np.testing.assert_allclose(many.mean(1) - points.mean(0), 0, atol=1e-9)
    eyes = many[:, 1] - many[:, 0]
    assert np.log(np.hypot(*eyes.T)).std() == pytest.approx(0.2, rel=0.06)
    assert np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0])).std() == pytest.approx(10, rel=0.06)


def test_the_box_of_landmarks_is_about_the_face():
    x1, y1, x2, y2 = box_of_points(POINTS.astype(np.float64))
    middle = POINTS.mean(0)
    assert (x1 + x2) / 2 == pytest.approx(middle[0])
    assert (y2 - y1) / (x2 - x1) == pytest.approx(95 / 55, rel=1e-5)
    assert y2 - y1 == pytest.approx(22 * 2 * 0.95 * 1.55, rel=1e-5)


@pytest.fixture(scope="module")
def drawn_scenes():
    cuts = DrawnCuts(DrawnFaces(identities=3, per_identity=1, seed=4))
    return Scenes(cuts, cuts, seed=2, options=SceneOptions(side_px=96))


def test_a_step_is_always_the_same_and_true(drawn_scenes, monkeypatch):
    torch.manual_seed(0)
    detector = FaceDetector(stem=4, stages=(4, 4, 4, 4), depths=(1, 1, 1, 1), neck=4, head_depth=1)
    first = look_batch(drawn_scenes, detector, 3, 5)
    again = look_batch(drawn_scenes, detector, 3, 5)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    other = look_batch(drawn_scenes, detector, 3, 6)
    assert other.crops.shape != first.crops.shape or not torch.equal(other.crops, first.crops)
    assert first.crops.shape[1:] == (3, 64, 64)
    assert first.crops.abs().max() <= 1
    assert set(first.is_face.unique().tolist()) == {0.0, 1.0}
    # guesses without error: the landmarks are where the template has them up to the face's shape
    monkeypatch.setattr(guess_module, "_ROUGH", (0.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr(guess_module, "_FINE", (0.0, 0.0, 0.0, 0.0))
    exact = look_batch(drawn_scenes, detector, 3, 5)
    off = exact.points[exact.is_face > 0].reshape(-1, 5, 2)
    torch.testing.assert_close(off.mean(1), torch.zeros(len(off), 2), rtol=0, atol=1e-3)
    rolls = exact.angles[exact.is_face > 0, 2] * 90
    assert rolls.abs().median() < 8


def test_losses_by_hand():
    def smooth(value):
        return value**2 / 2 if abs(value) < 1 else abs(value) - 0.5

    torch.manual_seed(1)
    outputs = LandmarkOutputs(torch.randn(3, 1), torch.randn(3, 10) / 9, torch.randn(3, 3) / 9)
    batch = LookBatch(
        torch.zeros(3, 3, 64, 64),
        torch.tensor([1.0, 0.0, 1.0]),
        torch.randn(3, 10) / 9,
        torch.randn(3, 3) / 9,
    )
    losses = look_losses(outputs, batch)
    score = points = angles = 0.0
    for row, face in enumerate([1, 0, 1]):
        logit = float(outputs.score[row, 0])
        score += math.log1p(math.exp(-logit if face else logit)) / 3
        if face:
            apart = (outputs.points[row] - batch.points[row]).tolist()
            points += sum(smooth(20 * value) for value in apart) / 20
            apart = (outputs.angles[row] - batch.angles[row]).tolist()
            angles += sum(smooth(6 * value) for value in apart) / 6
    assert float(losses["score"]) == pytest.approx(score, rel=1e-5)
    assert float(losses["points"]) == pytest.approx(points, rel=1e-5)
    assert float(losses["angles"]) == pytest.approx(angles, rel=1e-5)
    wanted = 2 * score + points + 0.4 * angles
    assert float(losses["loss"]) == pytest.approx(wanted, rel=1e-5)


def test_without_a_face_only_the_score_counts():
    net = LandmarkNet((4, 4, 4, 4)).train()
    batch = LookBatch(
        torch.randn(2, 3, 64, 64), torch.zeros(2), torch.zeros(2, 10), torch.zeros(2, 3)
    )
    losses = look_losses(net(batch.crops), batch)
    told = {name: float(value.detach()) for name, value in losses.items()}
    assert told["points"] == told["angles"] == 0
    assert told["loss"] == pytest.approx(2 * told["score"])


def test_the_template_is_the_field_s_made_smaller():
    assert pytest.approx(35.24 * 0.8 * 64 / 112, rel=1e-3) == EYES_PX
    np.testing.assert_allclose(TEMPLATE.mean(0), [31.7, 39.0], atol=0.1)


def test_a_stopped_second_look_ends_with_the_same_weights(tmp_path, monkeypatch):
    config = tiny(landmarks=LandmarksConfig(steps=5, scenes_a_step=2, channels=(4, 4, 4, 4)))
    whole = train_detector(config, tmp_path / "whole", show_progress=False)
    assert whole.landmarks_steps == 5
    real = second_module._step

    def failing(net, optimizer, batch, clip_norm, step):
        if step == 4:
            raise RuntimeError("killed")
        return real(net, optimizer, batch, clip_norm, step)

    monkeypatch.setattr(second_module, "_step", failing)
    with pytest.raises(RuntimeError, match="killed"):
        train_detector(config, tmp_path / "cut", show_progress=False)
    monkeypatch.setattr(second_module, "_step", real)
    early = train_detector(config, tmp_path / "cut", resume=True, finish=True, show_progress=False)
    assert early.landmarks_steps == 3
    again = train_detector(config, tmp_path / "cut", resume=True, show_progress=False)
    for name, value in whole.second.state_dict().items():
        torch.testing.assert_close(again.second.state_dict()[name], value, rtol=0, atol=0)


def test_a_longer_detector_gets_a_second_look_of_its_own(tmp_path):
    train_detector(tiny(steps=2), tmp_path, show_progress=False)
    longer = train_detector(tiny(steps=3), tmp_path, resume=True, show_progress=False)
    fresh = train_detector(tiny(steps=3), tmp_path / "fresh", show_progress=False)
    assert longer.landmarks_steps == 2
    for name, value in fresh.second.state_dict().items():
        torch.testing.assert_close(longer.second.state_dict()[name], value, rtol=0, atol=0)


def test_it_may_be_left_out(tmp_path):
    config = tiny(steps=1, landmarks=LandmarksConfig(steps=0))
    trained = train_detector(config, tmp_path, show_progress=False)
    assert trained.second is None
    assert trained.figures == trained.first_figures
