"""``crossface quantize`` keeps what is accepted and nothing else."""

from __future__ import annotations

import json

from audit.test_replacement import room

__all__ = ["room"]


def test_the_verb_keeps_what_is_accepted_and_nothing_else(room, call):
    words = ["quantize", room / "old.onnx", room / "q.onnx", "--calibrate"]
    words += ["drawn:ids=50,per_id=2,seed=9", "--data", "drawn:ids=24,per_id=4,seed=8"]
    words += ["--pairs", room / "pairs.csv", "--json", room / "report.json"]
    code, _, err = call(*words, "--speedup", 1000)
    assert code == 5, err
    assert "q.onnx: not kept: " in err
    assert "1000 is asked" in err
    assert not json.loads((room / "report.json").read_text())["accepted"]
    assert not (room / "q.onnx").exists()
    code, out, err = call(*words, "--speedup", 0.1, "--loss", 1)
    assert code == 0, err
    assert "mean cosine" in out
    assert (room / "q.onnx").exists()
    assert sorted(f.name for f in room.iterdir() if f.name.startswith(".")) == []
