"""A model by its path: what is imported for it, and what is found."""

from __future__ import annotations

import subprocess
import sys

from crossface.pipeline.runtimes.opening import model_file
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
