"""The detector in the package: what its card says holds, and it finds drawn people."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest

from crossface.core.files import sha256_file
from crossface.data.drawn import DrawnFaces
from crossface.exporting.detector import MAX_BYTES
from crossface.pipeline.detectors import open_detector
from crossface.pipeline.detectors.own import OwnDetector
from crossface.pipeline.runtimes.sessions import Session

ASSETS = resources.files("crossface") / "assets"
FILE = ASSETS / "detector.onnx"
SECOND = ASSETS / "detector_landmarks.onnx"


@pytest.fixture(scope="module")
def card():
    return json.loads((ASSETS / "detector.json").read_text(encoding="utf-8"))


def test_the_card_belongs_to_the_file(card):
    assert card["sha256"] == sha256_file(FILE)
    assert card["landmarks"] == {"file": SECOND.name, "sha256": sha256_file(SECOND)}
    assert card["size_bytes"] == FILE.stat().st_size + SECOND.stat().st_size <= MAX_BYTES
    told = json.loads(Session(FILE, threads=1).metadata["crossface.training"])
    assert {name: card[name] for name in told} == told


def test_every_part_has_a_licence_that_allows_commercial_use(card):
    assert {teacher["licence"] for teacher in card["teachers"]} <= {"MIT", "Apache-2.0"}
    assert {part["licence"] for part in card["data"]} == {
        "Apache-2.0 (drawn by this package)",
        "CC BY 4.0",
    }
    assert "collected from the web" in card["caveat"]


def test_it_finds_drawn_people_it_has_not_seen():
    faces = DrawnFaces(identities=12, per_identity=2, seed=77, nuisance=0.7)
    detector = open_detector(FILE, threads=1)
    assert type(detector) is OwnDetector
    errors, yaws = [], []
    for index in range(len(faces)):
        drawn = faces.picture(index)
        (found,) = detector.detect([drawn.image])
        if not len(found):
            continue
        eyes = np.linalg.norm(drawn.kps_px[1] - drawn.kps_px[0])
        off = np.linalg.norm(found.landmarks[0] - drawn.kps_px, axis=1).mean() / eyes
        if off < 0.3:
            errors.append(off)
            yaws.append((drawn.pose.yaw_deg, found.poses[0, 0]))
    assert len(errors) >= 0.9 * len(faces)
    # Guards against a broken file, not a claim: docs/detector.md has the figures.
    assert np.median(errors) < 0.1
    assert np.corrcoef(np.array(yaws).T)[0, 1] > 0.5


def test_a_picture_without_anything_has_no_face():
    (found,) = open_detector(FILE, threads=1).detect([np.full((200, 300, 3), 128, np.uint8)])
    assert len(found) == 0
