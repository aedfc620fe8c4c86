"""FaceAnalysis on tiny files: what goes in, what comes out, and a reason for what does not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from crossface.core.contract import InputSpec
from crossface.core.errors import ImageError, UsageError, WeightsError
from crossface.core.geometry import align, normalise
from crossface.core.images import ImageLimits
from crossface.core.types import Failure
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.detectors import Detections, DetectorOptions
from crossface.pipeline.networks import NetworkOptions
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder
from face_files import encode, pattern
from pipeline.onnx_files import embedder, inverse_of_mean, one_face

SPEC = InputSpec()
EYES = np.array([[24, 24], [40, 24], [32, 33], [25, 42], [39, 42]], dtype=np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    props = {"crossface.input_spec": SPEC.model_dump_json()}
    return {
        "model": embedder(folder / "model.onnx", props=props),
        "one": one_face(folder / "one.onnx"),
        "two": one_face(folder / "two.onnx", faces=2),
        "broken": one_face(folder / "broken.onnx", coincide=True),
    }


@pytest.fixture(scope="module")
def analysis(files):
    return FaceAnalysis(files["model"], files["one"], threads=2, batch_size=3)


def image(seed=0, side=64):
    return pattern(seed, (side, side))


def by_hand(picture, files, scale=1.0):
    """The unit embedding from the definitions: align by the known landmarks, embed, divide."""
    crop = align(picture, EYES * scale, SPEC)
    raw = OnnxEmbedder(files["model"], threads=1).embed(crop[None])[0].astype(np.float64)
    return raw / np.linalg.norm(raw), np.linalg.norm(raw)


def test_a_face_has_what_it_says(analysis, files):
    (face,) = analysis.get(image())
    vector, norm = by_hand(image(), files)
    np.testing.assert_allclose(face.kps_px, EYES, atol=1e-4)
    np.testing.assert_allclose(face.embedding, vector, atol=1e-5)
    assert face.raw_norm == pytest.approx(norm, rel=1e-5)
    assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)
    assert face.embedding.dtype == np.float32
    assert face.normed_embedding is face.embedding
    assert face.kps is face.kps_px
    assert face.det_score == pytest.approx(0.9)
    assert face.bbox.as_xyxy().tolist() == [20, 20, 52, 52]
    assert 0 <= face.quality <= 1
    assert abs(face.pose.yaw_deg) < 3
    assert (face.liveness, face.failure) == (None, None)
    assert "embedding" not in repr(face)


def test_a_large_picture_is_aligned_at_its_own_resolution(analysis, files):
    (face,) = analysis.get(image(3, side=256))
    np.testing.assert_allclose(face.kps_px, EYES * 4, atol=1e-3)
    np.testing.assert_allclose(face.embedding, by_hand(image(3, 256), files, 4)[0], atol=1e-5)


def test_get_many_gives_what_get_gives(files):
    for threads in (1, 2):
        analysis = FaceAnalysis(files["model"], files["two"], threads=threads, batch_size=3)
        pictures = [image(seed) for seed in range(7)]
        many = list(analysis.get_many(iter(pictures)))
        assert [len(faces) for faces in many] == [2] * 7
        for picture, faces in zip(pictures, many, strict=True):
            for one, other in zip(analysis.get(picture), faces, strict=True):
                np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-6)
                assert one.quality_parts == other.quality_parts
                assert one.raw_norm == pytest.approx(other.raw_norm, rel=1e-6)


def test_every_form_of_a_picture_gives_the_same_face(analysis, tmp_path):
    array = image(5)
    path = tmp_path / "a.png"
    path.write_bytes(encode(array))
    forms = [array, path, str(path), path.read_bytes(), Image.fromarray(array)]
    vectors = [analysis.get(form)[0].embedding for form in forms]
    vectors += [faces[0].embedding for faces in analysis.get_many(forms)]
    bgr = np.ascontiguousarray(array[..., ::-1])
    vectors.append(analysis.get(bgr, channel_order="bgr")[0].embedding)
    vectors += [faces[0].embedding for faces in analysis.get_many([bgr], channel_order="bgr")]
    for vector in vectors:
        np.testing.assert_allclose(vector, vectors[0], atol=1e-6)
    assert np.abs(analysis.get(bgr)[0].embedding - vectors[0]).max() > 1e-3


def test_exif_rotation_is_applied(analysis):
    array = image(6)
    turned = Image.fromarray(np.rot90(array).copy())
    exif = turned.getexif()
    exif[0x0112] = 6  # shown rotated by 90 degrees clockwise
    stream = io.BytesIO()
    turned.save(stream, "PNG", exif=exif)
    upright, shown = analysis.get(array)[0], analysis.get(stream.getvalue())[0]
    np.testing.assert_allclose(shown.embedding, upright.embedding, atol=1e-6)


def test_a_bad_picture_is_an_error_alone_and_a_value_among_many(analysis, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    with pytest.raises(ImageError, match=r"bad\.jpg: expected an image .* got a text file"):
        analysis.get(tmp_path / "bad.jpg")
    results = list(analysis.get_many([image(), tmp_path / "bad.jpg", b"", None, image(1)]))
    assert [isinstance(result, Failure) for result in results] == [False, True, True, True, False]
    assert results[1].name == "bad.jpg"
    assert str(tmp_path) not in results[1].reason
    assert results[2].reason.startswith("picture 3: expected an image")
    assert "got NoneType" in results[3].reason


def test_a_face_that_cannot_be_aligned_says_so_and_keeps_its_box(files):
    analysis = FaceAnalysis(files["model"], files["broken"], threads=1)
    (face,) = analysis.get(image(), name="group.jpg")
    assert face.embedding is None
    assert face.failure.name == "face 1 of group.jpg"
    assert "cannot be aligned" in face.failure.reason
    assert face.bbox.width == 32


class TwoFaces:
    """A detector of one's own: one face on black, one on white; not safe in two threads."""

    def __init__(self):
        self.inside = 0

    def detect(self, images):
        self.inside += 1
        assert self.inside == 1
        shift = np.array([0, 64], dtype=np.float32)
        points = np.stack([EYES, EYES + shift])
        boxes = np.array([[20, 20, 52, 52], [20, 84, 52, 116]], dtype=np.float32)
        found = [Detections(boxes, np.array([0.9, 0.8], np.float32), points) for _ in images]
        self.inside -= 1
        return found


def test_an_embedding_that_fails_does_not_take_the_others_with_it(tmp_path):
    model = OnnxEmbedder(
        inverse_of_mean(tmp_path / "m.onnx"),
        input_spec=InputSpec(mean=(0, 0, 0), std=(1, 1, 1)),
        threads=1,
    )
    analysis = FaceAnalysis(model, TwoFaces(), threads=2, quality=False)
    half = np.zeros((128, 64, 3), np.uint8)
    half[66:] = 255
    for faces in [analysis.get(half), *analysis.get_many([half] * 5)]:
        assert faces[0].embedding is None
        assert "finite" in faces[0].failure.reason
        assert faces[1].failure is None
        np.testing.assert_allclose(np.linalg.norm(faces[1].embedding), 1, atol=1e-6)


def test_a_zero_embedding_has_no_direction(tmp_path):
    analysis = FaceAnalysis(
        embedder(tmp_path / "m.onnx", props={"crossface.input_spec": SPEC.model_dump_json()}),
        one_face(tmp_path / "d.onnx"),
        threads=1,
        options=NetworkOptions(input_spec=InputSpec(mean=(9, 9, 9))),
    )
    (face,) = analysis.get(np.full((64, 64, 3), 9, np.uint8))
    assert face.embedding is None
    assert "length 0.0, which has no direction" in face.failure.reason


def test_flip_adds_the_mirror_image(files):
    (face,) = FaceAnalysis(files["model"], files["one"], threads=1, flip=True).get(image(4))
    crop = align(image(4), EYES, SPEC)
    model = OnnxEmbedder(files["model"], threads=1)
    both = model.embed(crop[None])[0] + model.embed(np.fliplr(crop)[None])[0]
    np.testing.assert_allclose(face.embedding, both / np.linalg.norm(both), atol=1e-5)


def test_alignment_follows_the_model_s_own_template(files, tmp_path):
    points = tuple((x + 3.0, y - 2.0) for x, y in SPEC.reference_points_px)
    spec = InputSpec(reference_points_px=points, channel_order="bgr")
    analysis = FaceAnalysis(
        files["model"], files["one"], threads=1, options=NetworkOptions(input_spec=spec)
    )
    (face,) = analysis.get(image(2))
    crop = align(image(2), EYES, spec)
    values = normalise(crop[None], spec)
    quarters = values.reshape(1, 3, 2, 56, 2, 56).mean(axis=(3, 5)).reshape(1, 12)
    weight = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
    raw = (quarters @ weight)[0]
    np.testing.assert_allclose(face.embedding, raw / np.linalg.norm(raw), atol=1e-4)
    assert (
        face.quality_parts
        == FaceAnalysis(files["model"], files["one"], threads=1).get(image(2))[0].quality_parts
    )


def test_finding_faces_needs_no_recogniser(files):
    analysis = FaceAnalysis(None, files["two"], threads=2, quality=False)
    faces = analysis.get(image())
    assert [(face.embedding, face.quality, face.pose) for face in faces] == [(None,) * 3] * 2
    assert all(len(faces) == 2 for faces in analysis.get_many([image()] * 3))
    with pytest.raises(UsageError, match="no recogniser"):
        _ = analysis.contract


def test_the_options_of_the_detector_reach_it(files):
    options = NetworkOptions(detector_options=DetectorOptions(min_score=0.85))
    analysis = FaceAnalysis(None, files["two"], threads=1, options=options)
    assert len(analysis.get(image())) == 1


def test_what_cannot_be_meant_is_refused(files):
    with pytest.raises(WeightsError, match=r"absent\.onnx: expected an ONNX file, there is no"):
        FaceAnalysis(files["model"], "absent.onnx")
    with pytest.raises(ValueError, match="batch_size and threads must be >= 1"):
        FaceAnalysis(files["model"], files["one"], threads=0)
    with pytest.raises(WeightsError, match=r"one\.onnx: expected an embedder with one input"):
        FaceAnalysis(files["one"], files["one"], threads=1)


def test_sides_beyond_what_can_be_warped_are_refused(files):
    analysis = FaceAnalysis(
        files["model"], files["one"], threads=1, limits=ImageLimits(max_pixels=200_000)
    )
    with pytest.raises(ImageError, match="got 40000 x 1"):
        analysis.get(np.zeros((1, 40_000, 3), np.uint8))
    with pytest.raises(ImageError, match="at most 200000 pixels, got 500 x 500"):
        analysis.get(np.zeros((500, 500, 3), np.uint8))


def test_openvino_gives_the_same_faces_behind_the_same_door(files):
    pytest.importorskip("openvino")
    analysis = FaceAnalysis(
        files["model"], files["one"], threads=1, options=NetworkOptions(runtime="openvino")
    )
    (face,) = analysis.get(image(1))
    np.testing.assert_allclose(face.embedding, by_hand(image(1), files)[0], atol=1e-4)
    with pytest.raises(UsageError, match="this openvino has only cpu"):
        FaceAnalysis(
            files["model"],
            files["one"],
            options=NetworkOptions(runtime="openvino", device="npu"),
        )


def test_openvino_that_is_not_installed_says_what_to_install(files, monkeypatch):
    import sys

    from crossface.core.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"pip install 'crossface\[openvino\]'"):
        FaceAnalysis(None, files["one"], options=NetworkOptions(runtime="openvino"))
