"""Our own detector's file: what it says of itself, poses, a smaller copy of large pictures."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from crossface.core.errors import WeightsError
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.detectors import DetectorOptions, open_detector
from crossface.pipeline.detectors.base import Detections
from crossface.pipeline.detectors.own import DetectorSpec
from pipeline.onnx_files import constants, random_outputs
from pipeline.test_detectors import SIZE, picture


def own_file(path, *, props=None, seed=0, angles=None):
    out = random_outputs("crossface", SIZE, seed)
    if angles is not None:
        out["angles"][...] = angles
    constants(path, out)
    if props is not None:
        model = onnx.load(path)
        onnx.helper.set_model_props(model, props)
        onnx.save(model, path)
    return path, out


def test_our_detector_tells_the_pose_of_each_face(tmp_path):
    path, out = own_file(tmp_path / "d.onnx")
    options = DetectorOptions(min_score=0.5)
    (found,) = open_detector(path, options=options, threads=1).detect([picture()])
    assert found.poses.shape == (len(found), 3)
    for score, pose in zip(found.scores, found.poses, strict=True):
        row = int(np.abs(out["score"][0, :, 0] - score).argmin())
        np.testing.assert_allclose(pose, out["angles"][0, row] * 90, rtol=1e-5)


def test_the_pose_of_the_detector_reaches_the_face(tmp_path):
    path, _ = own_file(tmp_path / "d.onnx", angles=[0.1, -0.2, 0.3])
    for quality in (True, False):
        face = FaceAnalysis(None, path, quality=quality, threads=1).get(picture())[0]
        assert face.pose.yaw_deg == pytest.approx(9, rel=1e-5)
        assert face.pose.pitch_deg == pytest.approx(-18, rel=1e-5)
        assert face.pose.roll_deg == pytest.approx(27, rel=1e-5)
    other = constants(tmp_path / "y.onnx", random_outputs("yunet", SIZE))
    assert FaceAnalysis(None, other, quality=False, threads=1).get(picture())[0].pose is None


def test_our_file_says_its_threshold_and_a_user_may_say_another(tmp_path):
    told = DetectorSpec(min_score=0.7).model_dump_json()
    path, _ = own_file(tmp_path / "d.onnx", props={"crossface.detector": told})
    assert open_detector(path, threads=1).min_score == 0.7
    options = DetectorOptions(min_score=0.3)
    assert open_detector(path, options=options, threads=1).min_score == 0.3


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"strides": [4, 8, 16]}', '{"mean": 0.0}', '{"min_score": 1.5}', '{"x": 1}'],
)
def test_our_file_that_says_something_else_is_refused(text, tmp_path):
    path, _ = own_file(tmp_path / "d.onnx", props={"crossface.detector": text})
    with pytest.raises(WeightsError, match=r"d\.onnx: its metadata 'crossface\.detector'"):
        open_detector(path, threads=1)


@pytest.mark.parametrize(
    ("size_hw", "limit", "wanted"),
    [((300, 250), 640, [640]), ((400, 90), 640, [640, 256]), ((900, 900), 300, [300])],
)
def test_ours_looks_at_a_smaller_copy_of_a_large_picture_too(
    size_hw, limit, wanted, tmp_path, monkeypatch
):
    path, _ = own_file(tmp_path / "own.onnx")
    detector = open_detector(path, options=DetectorOptions(max_side_px=limit), threads=1)
    sides = []

    def candidates(image, side):
        sides.append(side)
        boxes = np.array([[side / 4, 0, side / 3, 50]], np.float32)
        points = np.array([[[1, 1], [3, 1], [2, 2], [1, 3], [3, 3]]], np.float32) + side
        return Detections(boxes, np.array([0.9], np.float32), points, np.zeros((1, 3), np.float32))

    monkeypatch.setattr(detector, "_candidates", candidates)
    (found,) = detector.detect([np.zeros((*size_hw, 3), np.uint8)])
    assert sides == wanted
    assert len(found) == len(wanted)
    assert found.poses.shape == (len(wanted), 3)
