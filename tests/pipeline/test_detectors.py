"""Detectors against loops written from their definitions, on constant-output files."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.core.errors import UnknownName, UsageError, WeightsError
from crossface.pipeline.detectors import DETECTORS, Detector, DetectorOptions, open_detector
from crossface.pipeline.detectors.base import Detections, letterbox, suppress
from pipeline.onnx_files import STRIDES, channel_means, constants, random_outputs

SIZE = (64, 96)
KINDS = ["crossface", "retinaface", "scrfd", "yunet"]


def loop_retinaface(out):
    """Every prior in the order of the public code: stride, row, column, size."""
    sides = {8: (16, 32), 16: (64, 128), 32: (256, 512)}
    n = 0
    for stride in STRIDES:
        for i, j, side in itertools.product(
            range(SIZE[0] // stride), range(SIZE[1] // stride), sides[stride]
        ):
            cx, cy = (j + 0.5) * stride, (i + 0.5) * stride
            loc, points = out["loc"][0, n], out["landms"][0, n]
            mx, my = cx + loc[0] * 0.1 * side, cy + loc[1] * 0.1 * side
            w, h = side * math.exp(loc[2] * 0.2), side * math.exp(loc[3] * 0.2)
            kps = [
                (cx + points[2 * k] * 0.1 * side, cy + points[2 * k + 1] * 0.1 * side)
                for k in range(5)
            ]
            yield out["conf"][0, n, 1], (mx - w / 2, my - h / 2, mx + w / 2, my + h / 2), kps
            n += 1


def loop_yunet(out):
    for stride in STRIDES:
        n = 0
        for r in range(SIZE[0] // stride):
            for c in range(SIZE[1] // stride):
                box, points = out[f"bbox_{stride}"][0, n], out[f"kps_{stride}"][0, n]
                cx, cy = (c + box[0]) * stride, (r + box[1]) * stride
                w, h = math.exp(box[2]) * stride, math.exp(box[3]) * stride
                score = math.sqrt(out[f"cls_{stride}"][0, n, 0] * out[f"obj_{stride}"][0, n, 0])
                kps = [
                    ((points[2 * k] + c) * stride, (points[2 * k + 1] + r) * stride)
                    for k in range(5)
                ]
                yield score, (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), kps
                n += 1


def loop_scrfd(out):
    for level, stride in enumerate(STRIDES):
        n = 0
        for r in range(SIZE[0] // stride):
            for c in range(SIZE[1] // stride):
                for _ in range(2):
                    d, points = out[f"b{level}"][n], out[f"k{level}"][n]
                    x, y = c * stride, r * stride
                    box = (
                        x - d[0] * stride,
                        y - d[1] * stride,
                        x + d[2] * stride,
                        y + d[3] * stride,
                    )
                    kps = [
                        (x + points[2 * k] * stride, y + points[2 * k + 1] * stride)
                        for k in range(5)
                    ]
                    yield out[f"s{level}"][n, 0], box, kps
                    n += 1


def loop_crossface(out):
    """Every cell, stride by stride, row by row, from its middle."""
    n = 0
    for stride in STRIDES:
        for r in range(SIZE[0] // stride):
            for c in range(SIZE[1] // stride):
                box, points = out["box"][0, n], out["points"][0, n]
                x, y = (c + 0.5) * stride, (r + 0.5) * stride
                mx, my = x + box[0] * stride, y + box[1] * stride
                w, h = math.exp(box[2]) * stride, math.exp(box[3]) * stride
                kps = [
                    (x + points[2 * k] * stride, y + points[2 * k + 1] * stride) for k in range(5)
                ]
                yield out["score"][0, n, 0], (mx - w / 2, my - h / 2, mx + w / 2, my + h / 2), kps
                n += 1


LOOPS = {
    "crossface": loop_crossface,
    "retinaface": loop_retinaface,
    "scrfd": loop_scrfd,
    "yunet": loop_yunet,
}


def test_every_detector_of_the_table_has_a_loop():
    assert sorted(LOOPS) == DETECTORS.names() == KINDS


def clip(box, height, width):
    return (max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height))


def area(box):
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def iou(a, b):
    shared = area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    return shared / (area(a) + area(b) - shared)


def by_loops(kind, out, min_score, max_overlap):
    """Threshold, clipping and greedy suppression, one face at a time."""
    found = [(s, clip(b, *SIZE), k) for s, b, k in LOOPS[kind](out) if s >= min_score]
    found = sorted((f for f in found if area(f[1]) > 0), key=lambda f: -f[0])
    kept = []
    for face in found:
        if all(apart(face[1:], other[1:], max_overlap) for other in kept):
            kept.append(face)
    return kept


def apart(worse, better, max_overlap):
    """Whether two faces, each box and landmarks, may both stay."""
    overlap = iou(worse[0], better[0])
    (ax, ay), (bx, by) = better[1][:2]
    reach = 0.2 * math.hypot(bx - ax, by - ay)
    near = min(math.dist(p, q) for p in worse[1] for q in better[1])
    return overlap <= max_overlap and (overlap == 0 or near >= reach)


def picture(height=SIZE[0], width=SIZE[1]):
    return np.full((height, width, 3), 100, np.uint8)


def same_faces(found, expected):
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.scores, [f[0] for f in expected], atol=1e-6)
    np.testing.assert_allclose(found.boxes, [f[1] for f in expected], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(found.landmarks, [f[2] for f in expected], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_is_that_of_the_loops(kind, seed, tmp_path):
    out = random_outputs(kind, SIZE, seed)
    options = DetectorOptions(min_score=0.5, max_overlap=0.4)
    detector = open_detector(constants(tmp_path / "d.onnx", out), options=options, threads=1)
    assert isinstance(detector, Detector)
    assert type(detector) is DETECTORS.resolve(kind)
    expected = by_loops(kind, out, 0.5, 0.4)
    assert len(expected) >= 3
    (found,) = detector.detect([picture()])
    same_faces(found, expected)
    assert found.boxes.dtype == found.scores.dtype == found.landmarks.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract_of_every_detector(kind, tmp_path):
    out = random_outputs(kind, (64, 64))
    path = constants(tmp_path / "d.onnx", out, shape=(1, 3, 64, 64))
    detector = open_detector(path, threads=1)
    assert detector.detect([]) == []
    sizes = [(1, 1), (7, 300), (64, 64), (3000, 2000), (1, 2000)]
    for (height, width), found in zip(
        sizes, detector.detect([picture(*size) for size in sizes]), strict=True
    ):
        assert found.boxes.shape == (len(found), 4)
        assert found.landmarks.shape == (len(found), 5, 2)
        assert (found.boxes >= 0).all()
        assert (found.boxes <= [width, height, width, height]).all()
        assert (np.diff(found.scores) <= 0).all()
        assert (found.scores >= detector.min_score).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaled_picture_gives_scaled_faces(kind, tmp_path):
    out = random_outputs(kind, SIZE)
    path = constants(tmp_path / "d.onnx", out)
    options = DetectorOptions(max_side_px=96, min_score=0.5, max_faces=4)
    detector = open_detector(path, options=options, threads=1)
    small, large = detector.detect([picture(), picture(128, 192)])
    assert len(small) == 4
    np.testing.assert_allclose(large.boxes, small.boxes * 2, rtol=1e-5)
    np.testing.assert_allclose(large.landmarks, small.landmarks * 2, rtol=1e-5)


def test_the_kind_may_be_said_where_the_names_do_not_say_it(tmp_path):
    out = random_outputs("yunet", SIZE)
    renamed = {f"out{n}": value for n, value in enumerate(out.values())}
    path = constants(tmp_path / "d.onnx", renamed)
    with pytest.raises(WeightsError, match=r"d\.onnx: expected the outputs of one of crossface"):
        open_detector(path, threads=1)
    (found,) = open_detector(path, kind="yunet", threads=1).detect([picture()])
    (named,) = open_detector(constants(tmp_path / "n.onnx", out), threads=1).detect([picture()])
    np.testing.assert_array_equal(found.boxes, named.boxes)
    with pytest.raises(WeightsError, match=r"d\.onnx: its 12 outputs are not those of Scrfd"):
        open_detector(path, kind="scrfd", threads=1)
    with pytest.raises(UnknownName, match="did you mean yunet"):
        open_detector(path, kind="yunett", threads=1)


def test_an_embedder_is_no_detector(tmp_path):
    path = channel_means(tmp_path / "e.onnx", ("N", 3, 112, 112))
    with pytest.raises(WeightsError, match="these are no detector this knows: out"):
        open_detector(path, threads=1)


def test_outputs_of_another_picture_size_name_the_file(tmp_path):
    for kind in KINDS:
        path = constants(tmp_path / f"{kind}.onnx", random_outputs(kind, SIZE))
        with pytest.raises(WeightsError, match=rf"^{kind}\.onnx: .*got"):
            open_detector(path, threads=1).detect([picture(32, 32)])


def test_scores_that_were_not_softmaxed_are_refused(tmp_path):
    out = random_outputs("retinaface", SIZE)
    out["conf"] = out["conf"] * 7 - 3
    path = constants(tmp_path / "d.onnx", out)
    with pytest.raises(WeightsError, match="softmaxed"):
        open_detector(path, threads=1).detect([picture()])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_are_not_finite_are_no_faces(kind, value, tmp_path):
    out = random_outputs(kind, SIZE)
    for name, array in out.items():
        if array.shape[-1] in {4, 10} and name != "conf":
            out[name] = np.full_like(array, value)
    path = constants(tmp_path / "d.onnx", out)
    (found,) = open_detector(path, threads=1).detect([picture()])
    assert np.isfinite(found.boxes).all()
    assert np.isfinite(found.landmarks).all()


def test_a_fixed_input_that_is_no_multiple_of_32_is_refused(tmp_path):
    path = constants(tmp_path / "d.onnx", random_outputs("scrfd", SIZE), shape=(1, 3, 60, 96))
    with pytest.raises(WeightsError, match="fixed to 60x96"):
        open_detector(path, threads=1)


def test_options_outside_their_ranges_are_refused():
    for wrong in ({"min_score": 0.0}, {"max_overlap": 1.5}, {"max_side_px": 8}, {"max_faces": -1}):
        with pytest.raises(ValueError, match="min_score and max_overlap lie between"):
            DetectorOptions(**wrong)


def test_a_device_that_is_not_there_is_refused_and_not_exchanged(tmp_path):
    import onnxruntime

    path = constants(tmp_path / "d.onnx", random_outputs("scrfd", SIZE))
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(UsageError, match=r"'cuda:1' was asked for; this onnxruntime has only"):
            open_detector(path, device="cuda:1", threads=1)
    for name in ("tpu", "cpu:1", "cuda:x"):
        with pytest.raises(UsageError, match="no device is named"):
            open_detector(path, device=name, threads=1)
    with pytest.raises(UsageError, match="no runtime is named 'tvm'"):
        open_detector(path, runtime="tvm", threads=1)


@given(st.integers(1, 2000), st.integers(1, 2000), st.sampled_from([32, 320, 640]), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=25)
def test_letterbox_keeps_the_picture_inside(height, width, limit, fixed):
    image = np.full((height, width, 3), 200, np.uint8)
    size = (64, 128) if fixed else None
    boxed, (scale_x, scale_y) = letterbox(image, limit, size)
    assert boxed.shape[:2] == size if fixed else all(side % 32 == 0 for side in boxed.shape[:2])
    inner_h, inner_w = round(height * scale_y), round(width * scale_x)
    assert 1 <= inner_h <= boxed.shape[0]
    assert 1 <= inner_w <= boxed.shape[1]
    assert scale_x <= 1 + 1 / width
    assert (boxed[:inner_h, :inner_w] == 200).all()
    assert boxed.sum() == 200 * 3 * inner_h * inner_w


@given(st.integers(0, 10_000), st.integers(0, 40), st.floats(0.1, 0.9))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_suppression_is_that_of_the_loop(seed, count, max_overlap):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 30, (count, 2)), rng.uniform(1, 30, (count, 2))
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    scores = rng.choice([0.5, 0.6, 0.7, 0.8], count).astype(np.float32)
    points = (corner[:, None] + rng.uniform(0, 1, (count, 5, 2)) * size[:, None]).astype(np.float32)
    given_ = Detections(boxes, scores, points)
    both = [
        (box.astype(float), p.astype(float).tolist()) for box, p in zip(boxes, points, strict=True)
    ]
    kept = []
    for index in sorted(range(count), key=lambda i: -scores[i]):
        if all(apart(both[index], both[other], max_overlap) for other in kept):
            kept.append(index)
    np.testing.assert_array_equal(suppress(given_, max_overlap).boxes, boxes[kept])


def test_a_face_made_of_the_eyes_of_two_others_goes():
    """Two heads side by side and a third between them, with an eye of each: RetinaFace sees it."""
    eyes = np.array([[20, 30], [40, 30], [30, 40], [22, 50], [38, 50]], np.float32)
    points = eyes + np.array([[0, 0], [50, 0], [21, 1], [25, 6]], np.float32)[:, None]
    boxes = np.array([[10, 10, 50, 60], [60, 10, 100, 60], [31, 10, 71, 60], [34, 10, 76, 60]])
    scores = np.array([0.99, 0.98, 0.97, 0.96], np.float32)
    found = suppress(Detections(boxes.astype(np.float32), scores, points), 0.4)
    # the third has its left eye upon the first's right one; the last shares no landmark with any
    np.testing.assert_allclose(found.scores, [0.99, 0.98, 0.96])


def test_no_face_is_an_empty_array():
    none = Detections.empty()
    assert (len(none), none.boxes.shape, none.landmarks.shape) == (0, (0, 4), (0, 5, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_the_network_is_given_what_its_kind_says(kind, tmp_path):
    """Red, green and blue of one picture, where each kind wants them and scaled as it wants."""
    path = constants(tmp_path / "d.onnx", random_outputs(kind, (32, 32)))
    detector = open_detector(path, threads=1)
    image = np.zeros((32, 32, 3), np.uint8)
    image[...] = (10, 20, 30)
    expected = {
        "crossface": [(10 - 127.5) / 127.5, (20 - 127.5) / 127.5, (30 - 127.5) / 127.5],
        "retinaface": [30 - 104, 20 - 117, 10 - 123],
        "yunet": [30, 20, 10],
        "scrfd": [(10 - 127.5) / 128, (20 - 127.5) / 128, (30 - 127.5) / 128],
    }[kind]
    tensor = detector._tensor(image)
    assert tensor.shape == (1, 3, 32, 32)
    np.testing.assert_allclose(tensor.mean(axis=(0, 2, 3)), expected, rtol=1e-6)
