"""What comes with the package works without torch, without the network and without options."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import crossface
from crossface.core.files import sha256_file
from crossface.core.weights import DEFAULT_DETECTOR, DEFAULT_MODEL, asset_path, known_weights
from crossface.pipeline.detectors import Detections
from crossface.pipeline.store import ModelStore

PACKAGED = [row for row in known_weights() if row.packaged is not None]


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(pytest.importorskip("skimage.data").astronaut())


class Placed:
    """A detector that knows where the one face of each picture is."""

    def __init__(self, landmarks):
        self.landmarks = list(landmarks)

    def detect(self, images):
        points = [self.landmarks.pop(0) for _ in images]
        boxes = [np.array([*p.min(0) - 25, *p.max(0) + 25], np.float32) for p in points]
        one = np.ones(1, np.float32)
        return [
            Detections(box[None], one, p[None].astype(np.float32))
            for box, p in zip(boxes, points, strict=True)
        ]


def changed(photo):
    """Mirrored, three quarters as large, and through a JPEG of low quality."""
    small = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((384, 384))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=40)
    return stream.getvalue()


def test_the_defaults_are_in_the_package():
    assert {DEFAULT_MODEL, DEFAULT_DETECTOR} <= {row.name for row in PACKAGED}
    assert sum(asset_path(str(row.packaged)).stat().st_size for row in PACKAGED) <= 6 << 20


@pytest.mark.parametrize("row", PACKAGED, ids=lambda row: row.name)
def test_every_file_is_the_one_its_row_and_its_card_name(row):
    path = asset_path(str(row.packaged))
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert sha256_file(path) == row.sha256 == card["sha256"]
    assert not row.non_commercial
    assert ModelStore().verify(row.name)[0].reason is None
    assert ModelStore().pull(row.name) == path  # nothing to fetch


def test_one_photograph_and_its_damaged_mirror_image_are_the_same_person(photo):
    points = np.array([[203, 104], [247, 104], [224, 128], [204, 143], [243, 144]], np.float32)
    mirrored = points[[1, 0, 2, 4, 3]] * [-1, 1] + [511, 0]
    answer = crossface.verify(photo, changed(photo), detector=Placed([points, mirrored * 0.75]))
    assert answer.same is True
    assert answer.fmr is not None
    assert answer.fmr <= 1e-3


def test_alone_the_package_finds_and_recognises(photo):
    """Its own detector and recogniser, its own threshold: nothing is named, nothing fetched."""
    faces = crossface.FaceAnalysis().get(photo)
    best = max(faces, key=lambda face: face.prominence)
    by_hand = np.array([[203, 104], [247, 104], [224, 128], [204, 143], [243, 144]])
    apart = np.linalg.norm(best.kps_px - by_hand, axis=1)
    assert apart.mean() < 0.15 * 44
    answer = crossface.verify(photo, changed(photo))
    assert answer.same is True
    assert answer.fmr is not None
    assert answer.fmr <= 1e-3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["detect", "a.png"], "a.png  face 1  box "),
        (["verify", "a.png", "b.jpg"], "same  similarity "),
    ],
    ids=["detect", "verify"],
)
def test_neither_torch_nor_a_network_is_needed(photo, tmp_path, words, said):
    photo.save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(changed(photo))
    code = (
        "import sys, socket; sys.modules['torch'] = None; socket.socket.connect = None; "
        "from crossface.app.cli import main; sys.argv = ['crossface', *sys.argv[1:]]; main()"
    )
    environment = {name: value for name, value in os.environ.items() if "CROSSFACE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_all_packaged_recognisers_share_one_space(photo):
    """A gallery of one may be searched with another, from phone to server."""
    names = [row.name for row in PACKAGED if row.task == "embedding"]
    faces = {name: crossface.FaceAnalysis(name).get(photo) for name in names}
    best = {n: max(found, key=lambda face: face.prominence) for n, found in faces.items()}
    first = best[DEFAULT_MODEL]
    for name, face in best.items():
        contract = crossface.FaceAnalysis(name).contract
        assert contract.comparable_with(crossface.FaceAnalysis().contract), name
        assert float(face.embedding @ first.embedding) > 0.6, name
