"""Export of the detector: any size of picture, the same faces, or no file."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch

from crossface.core.errors import ParityError
from crossface.exporting import detector as export_module
from crossface.exporting.detector import export_detector, export_landmarks
from crossface.nets import landmarks as landmark_net
from crossface.nets.detector import FaceDetector
from crossface.pipeline.detectors import DetectorOptions, open_detector
from crossface.pipeline.detectors import landmarks as landmark_look
from crossface.pipeline.detectors.base import suppress
from crossface.pipeline.detectors.own import DetectorSpec, OwnDetector, decode_cells
from crossface.pipeline.runtimes.sessions import Session
from face_files import pattern


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = FaceDetector(stem=4, stages=(4, 4, 6, 8), depths=(1, 1, 1, 2), neck=4, head_depth=1)
    with torch.no_grad():
        for head in net.heads:
            head[-1].weight.normal_(std=0.5)
        net.train()
        for _ in range(20):
            net(torch.randn(4, 3, 64, 64))
    return net.eval()


@pytest.fixture(scope="module")
def export(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "own.onnx"
    return export_detector(net, path, min_score=0.123456, training={"who": "we"})


def test_the_export_says_what_it_is(export):
    assert max(export.max_difference.values()) < 1e-4
    assert export.size_bytes == export.path.stat().st_size
    model = onnx.load(export.path)
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert DetectorSpec.model_validate_json(props["crossface.detector"]).min_score == 0.1235
    assert json.loads(props["crossface.training"]) == {"who": "we"}
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"BatchNormalization", "PRelu", "If", "Loop"}
    assert not any(node.doc_string for node in model.graph.node)


@pytest.mark.parametrize("size", [(50, 70), (33, 200), (320, 320)])
def test_pictures_of_any_size_give_the_network_s_faces(net, export, size):
    options = DetectorOptions(min_score=0.02)
    detector = open_detector(export.path, options=options, threads=1)
    assert type(detector) is OwnDetector
    image = pattern(1, size)
    height, width = (-(-side // 32) * 32 for side in size)
    padded = np.zeros((height, width, 3), np.uint8)
    padded[: size[0], : size[1]] = image
    values = torch.from_numpy((padded.astype(np.float32) - 127.5) / 127.5).permute(2, 0, 1)[None]
    with torch.no_grad():
        outputs = [part[0].numpy() for part in net(values)]
    wanted = decode_cells(outputs, (height, width), 0.02)
    assert len(wanted) > 3
    (found,) = detector.detect([image])
    limit = np.array([size[1], size[0]] * 2, np.float32)
    boxes = np.clip(wanted.boxes, 0, limit)
    keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    wanted.boxes[...] = boxes
    kept = suppress(wanted.take(keep), 0.4)
    np.testing.assert_allclose(found.scores, kept.scores, atol=1e-5)
    np.testing.assert_allclose(found.landmarks, kept.landmarks, atol=1e-2)
    np.testing.assert_allclose(found.poses, kept.poses, atol=1e-2)


def test_an_export_that_differs_is_refused_and_gone(net, tmp_path, monkeypatch):
    for value in (1.0, float("nan")):
        monkeypatch.setattr(
            export_module, "measure_detector_parity", lambda *_, v=value: {"score": 0.0, "box": v}
        )
        with pytest.raises(ParityError, match=r"x\.onnx: expected the network's outputs"):
            export_detector(net, tmp_path / "x.onnx", min_score=0.5, training={})
        assert list(tmp_path.iterdir()) == []


def test_training_and_run_time_mean_the_same_crop_and_outputs():
    """Written twice, because the run time must not need torch; so they are held together here."""
    assert landmark_net.CROP_PX == landmark_look.CROP_PX
    assert landmark_net.LandmarkOutputs._fields == tuple(landmark_look.OUTPUTS)


def test_a_second_look_is_exported_as_the_network_is(tmp_path):
    torch.manual_seed(2)
    net = landmark_net.LandmarkNet((4, 6, 6, 4)).eval()
    with torch.no_grad():
        net.head.weight.normal_(std=0.2)
    made = export_landmarks(net, tmp_path / "look.onnx", training={"who": "we"})
    assert max(made.max_difference.values()) < 1e-4
    look = landmark_look.LandmarkRefiner(Session(made.path, threads=1))
    crops = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3)).astype(np.uint8)
    with torch.no_grad():
        wanted = net(torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 127.5 - 1)
    for got, tensor in zip(look(crops), wanted, strict=True):
        np.testing.assert_allclose(got, tensor.numpy(), atol=1e-4)
