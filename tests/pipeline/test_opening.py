"""A model by its path: what is imported for it, and what is found."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from crossface.core.errors import UsageError
from crossface.pipeline.runtimes.opening import model_file, open_embedder
from pipeline.onnx_files import embedder


def test_an_onnx_model_needs_no_torch(tmp_path):
    path = embedder(tmp_path / "m.onnx")
    code = (
        "import sys, crossface.api as api; "
        "embedder = api.load_model(sys.argv[1], input_spec='arcface', threads=1); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=False, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()


def test_a_run_folder_stands_for_its_student(tmp_path):
    assert model_file(tmp_path) == tmp_path / "student.safetensors"
    assert model_file(tmp_path / "m.safetensors") == tmp_path / "m.safetensors"


def test_a_model_of_ours_is_not_run_by_openvino(tmp_path):
    with pytest.raises(UsageError, match=r"m\.safetensors: openvino runs ONNX files"):
        open_embedder(tmp_path / "m.safetensors", runtime="openvino")


def test_openvino_embeds_what_onnxruntime_embeds(tmp_path):
    pytest.importorskip("openvino")
    path = embedder(tmp_path / "m.onnx")
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    ours, theirs = (
        open_embedder(path, input_spec="arcface", threads=1, runtime=runtime)
        for runtime in ("onnxruntime", "openvino")
    )
    assert ours.contract.digest == theirs.contract.digest  # one cache for both
    np.testing.assert_allclose(theirs.embed(crops), ours.embed(crops), rtol=1e-4, atol=1e-5)
