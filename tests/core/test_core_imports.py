"""What importing does not do."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["torch", "cv2", "PIL", "onnx", "onnxruntime", "scipy", "sklearn", "pydantic", "numpy"]


def _modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(json.loads(result.stdout))


def test_importing_crossface_imports_nothing_heavy() -> None:
    loaded = _modules_after("import crossface")
    assert not loaded & set(HEAVY)


def test_asking_for_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import crossface

    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        crossface.distil  # noqa: B018
    assert list(crossface.__all__) == sorted(crossface.__all__)


@pytest.mark.parametrize("room", ["core", "data", "search", "evaluation", "pipeline"])
def test_a_room_that_serves_does_not_import_torch(room: str) -> None:
    statement = (
        "import importlib, pkgutil\n"
        f"room = importlib.import_module('crossface.{room}')\n"
        "for found in pkgutil.walk_packages(room.__path__, room.__name__ + '.'):\n"
        "    if found.name != 'crossface.data.loader':\n"
        "        importlib.import_module(found.name)"
    )
    loaded = _modules_after(statement)
    assert "torch" not in loaded
