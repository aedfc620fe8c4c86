"""1:1: a verdict only where a threshold is known, and the FMR it stands for."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from crossface.core.card import Interval
from crossface.core.contract import InputSpec
from crossface.core.errors import NoFaceFound
from crossface.core.types import Box, Face
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.detectors import Detections
from crossface.pipeline.portraits import portrait
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder
from crossface.pipeline.verify import largest_face, verify
from face_files import encode, pattern
from pipeline.onnx_files import embedder, one_face


@dataclasses.dataclass(frozen=True)
class Point:
    """A row of a threshold card, as far as verify reads it."""

    fmr_target: float
    threshold: float
    fmr: Interval
    extrapolated: bool = False


POINTS = (
    Point(1e-2, 0.2, Interval(value=0.009)),
    Point(1e-3, 0.4, Interval(value=0.0008)),
    Point(1e-4, 0.6, Interval(value=None), extrapolated=True),
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    props = {"crossface.input_spec": InputSpec().model_dump_json()}
    return {
        "model": embedder(folder / "m.onnx", props=props),
        "one": one_face(folder / "one.onnx"),
        "broken": one_face(folder / "broken.onnx", coincide=True),
    }


def picture(seed):
    return pattern(seed, (64, 64))


def cosine(files, a, b):
    analysis = FaceAnalysis(files["model"], files["one"], threads=1)
    first, second = (analysis.get(p)[0].embedding.astype(float) for p in (a, b))
    return first @ second


def carded(files, **changes):
    """An embedder that carries a card."""
    model = OnnxEmbedder(files["model"], threads=1)
    contract_id = model.contract.contract_id
    values = {"contract_id": contract_id, "operating_points": POINTS, "flip": False, **changes}
    model._threshold_card = types.SimpleNamespace(**values)
    return model


def test_without_a_card_there_is_no_verdict_unless_a_threshold_is_passed(files):
    inputs = {"model": files["model"], "detector": files["one"], "threads": 1}
    expected = cosine(files, picture(0), picture(1))
    answer = verify(picture(0), encode(picture(1)), **inputs)
    assert answer.similarity == pytest.approx(expected, abs=1e-6)
    assert (answer.threshold, answer.fmr, answer.same) == (None, None, None)
    assert answer.uncalibrated
    assert "uncalibrated: the model carries no threshold card" in answer.notes[0]
    for threshold, same in ((expected - 0.01, True), (expected + 0.01, False)):
        answer = verify(picture(0), picture(1), threshold=threshold, **inputs)
        assert (answer.same, answer.threshold, answer.fmr) == (same, threshold, None)
        assert not answer.uncalibrated


def test_a_similarity_at_the_threshold_is_accepted(files):
    inputs = {"model": files["model"], "detector": files["one"], "threads": 1}
    exact = verify(picture(0), picture(0), **inputs).similarity
    assert verify(picture(0), picture(0), threshold=exact, **inputs).same


@pytest.mark.parametrize(
    ("wish", "threshold", "fmr"),
    [({}, 0.4, 0.0008), ({"fmr": 0.05}, 0.2, 0.009), ({"fmr": 5e-4}, 0.6, 1e-4)],
)
def test_the_card_gives_threshold_and_fmr(files, wish, threshold, fmr):
    answer = verify(picture(0), picture(0), model=carded(files), detector=files["one"], **wish)
    assert (answer.threshold, answer.fmr, answer.same) == (threshold, fmr, True)
    assert ("fitted tail" in " ".join(answer.notes)) == (threshold == 0.6)


def test_a_card_that_does_not_fit_gives_no_verdict(files):
    same = {"detector": files["one"]}
    answer = verify(picture(0), picture(0), model=carded(files, contract_id="another"), **same)
    assert answer.uncalibrated
    assert "another model or input" in answer.notes[0]
    answer = verify(picture(0), picture(0), model=carded(files), fmr=1e-5, **same)
    assert "supports no FMR of 1e-05 or less" in answer.notes[0]


def test_a_card_measured_with_mirror_images_is_decided_with_them(files):
    model = carded(files, flip=True)
    answer = verify(picture(0), picture(1), model=model, detector=files["one"], threads=1)
    flipped = FaceAnalysis(files["model"], files["one"], threads=1, flip=True)
    a, b = (flipped.get(picture(n))[0].embedding.astype(float) for n in (0, 1))
    assert answer.similarity == pytest.approx(a @ b, abs=1e-6)
    assert answer.same is not None
    plain = FaceAnalysis(model, files["one"], threads=1)
    answer = verify(picture(0), picture(1), model=plain)
    assert "another use of the mirror image" in answer.notes[0]
    assert plain.flip is False


class Group:
    """A small face with the better score and a large one."""

    def detect(self, images):
        points = np.array([[24, 24], [40, 24], [32, 33], [25, 42], [39, 42]], np.float32)
        boxes = np.array([[0, 0, 9, 9], [20, 20, 52, 52]], np.float32)
        both = np.stack([points / 4, points])
        scores = np.array([0.99, 0.6], np.float32)
        return [Detections(boxes, scores, both) for _ in images]


class Nobody:
    def detect(self, images):
        return [Detections.empty() for _ in images]


def test_the_largest_face_is_taken_and_said(files):
    answer = verify(
        picture(0), picture(1), model=files["model"], detector=Group(), threshold=0, threads=1
    )
    assert answer.notes == (
        "the first picture: the largest of 2 faces was taken",
        "the second picture: the largest of 2 faces was taken",
    )
    assert answer.similarity == pytest.approx(cosine(files, picture(0), picture(1)), abs=1e-5)


def test_no_face_and_unusable_faces_are_named(files, tmp_path):
    path = tmp_path / "wall.png"
    path.write_bytes(encode(picture(0)))
    with pytest.raises(NoFaceFound, match=r"^wall\.png: no face was found$") as caught:
        verify(path, picture(0), model=files["model"], detector=Nobody())
    assert caught.value.exit_code == 3
    with pytest.raises(NoFaceFound, match=r"its largest face cannot be used: it cannot be aligned"):
        verify(path, picture(0), model=files["model"], detector=files["broken"], threads=1)
    for wrong in ({"threshold": 1.5}, {"fmr": 0.0}):
        with pytest.raises(ValueError, match=r"threshold is a cosine|fmr must lie"):
            verify(path, path, model=files["model"], detector=Nobody(), **wrong)


def test_a_doubtful_face_must_be_larger_to_be_meant():
    vector, points = np.ones(1, np.float32), np.zeros((5, 2), np.float32)
    sure = Face(Box(0, 0, 94, 115), points, 0.95, embedding=vector)
    doubtful = Face(Box(0, 0, 101, 115), points, 0.82, embedding=vector)
    both = [doubtful, sure]
    assert portrait("p", both, largest=True).face is sure
    finder = types.SimpleNamespace(get=lambda image, name: both)
    assert largest_face(finder, "p.jpg", "the picture")[0] is sure
