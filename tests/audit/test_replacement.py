"""The gate: what is slower or less accurate than what it would replace is refused."""

from __future__ import annotations

import numpy as np
import pytest

from crossface.audit import replacement
from crossface.audit.replacement import ReplacementRules, judge_replacement
from crossface.data.drawn import DrawnFaces
from crossface.data.formats.pair_list import read_pairs
from crossface.data.sampling import mixed_crops
from exporting.test_quantize import network

PEOPLE = 24
FACES = DrawnFaces(identities=PEOPLE, per_identity=4, seed=8)
FAST = {"value": 2.0, "low": 1.9, "high": 2.1}


@pytest.fixture
def room(tmp_path):
    rows = ["fold,a,b,same"]
    for person in range(PEOPLE):
        other = (person + 1) % PEOPLE
        fold = person % 4
        first = [FACES.key(4 * person + k) for k in range(4)]
        rows += [f"{fold},{first[0]},{first[1]},1", f"{fold},{first[2]},{first[3]},1"]
        rows += [f"{fold},{first[k]},{FACES.key(4 * other + k)},0" for k in (1, 2)]
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    network(tmp_path / "old.onnx")
    return tmp_path


def judged(room, new, monkeypatch, ratio=FAST, **rules):
    def speed(*_):
        return {"speedup": ratio, "milliseconds": {}}

    monkeypatch.setattr(replacement, "_speed", speed)
    return judge_replacement(
        new,
        room / "old.onnx",
        crops=mixed_crops(FACES, 20),
        faces=FACES,
        pairs=read_pairs(room / "pairs.csv"),
        rules=ReplacementRules(**rules),
        progress=False,
    )


def test_the_same_numbers_in_half_the_time_are_accepted(room, monkeypatch):
    report = judged(room, room / "old.onnx", monkeypatch)
    assert report["accepted"]
    assert report["reasons"] == []
    assert report["cosine"]["mean"] == pytest.approx(1, abs=1e-6)
    assert report["accuracy"]["value"] == 0


def test_not_fast_enough_is_refused_by_the_lower_end(room, monkeypatch):
    slow = {"value": 1.4, "low": 1.2, "high": 1.6}
    report = judged(room, room / "old.onnx", monkeypatch, ratio=slow)
    assert not report["accepted"]
    assert report["reasons"] == ["1.20 times as fast at least, 1.3 is asked"]


def test_other_embeddings_are_refused(room, monkeypatch):
    rng = np.random.default_rng(1)
    path = network(room / "new.onnx", wild=1.0)
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        noisy = (values + rng.normal(size=values.shape) * values.std()).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(noisy, tensor.name))
    onnx.save(model, path)
    report = judged(room, path, monkeypatch)
    assert any("mean cosine" in reason for reason in report["reasons"])
    assert any("of accuracy, 0.3 are allowed" in reason for reason in report["reasons"])
    assert judged(room, path, monkeypatch, most_loss=1.0, least_cosine=-1.0)["accepted"]


def test_a_file_against_itself_is_about_as_fast(room):
    found = replacement._speed(room / "old.onnx", room / "old.onnx", "onnxruntime", 30)
    ratio = found["speedup"]
    assert ratio["low"] <= ratio["value"] <= ratio["high"]
    assert set(found["milliseconds"]) == {"new", "old"}


def test_the_interval_holds_the_median():
    ratio = replacement._ratio(np.full(50, 1.5))
    assert ratio == {"value": 1.5, "low": 1.5, "high": 1.5}
    spread = replacement._ratio(np.random.default_rng(0).lognormal(0, 0.3, 400))
    assert spread["low"] < 1 < spread["high"]
    assert spread["high"] - spread["low"] < 0.15
