"""The house rules a linter does not hold: file and function length, no forbidden words."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FORBIDDEN_IMPORTS = {"pickle", "cPickle", "dill", "joblib", "shelve", "torchvision", "timm"}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_file_keeps_the_house_rules(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    tree = _tree(path)
    in_app = "app" in path.relative_to(ROOT / "src" / "crossface").parts
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            has_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            start = first.end_lineno if has_doc else node.lineno
            assert node.end_lineno - start <= 60, f"{node.name} is too long"
        if isinstance(node, ast.Import):
            assert not {a.name.split(".")[0] for a in node.names} & FORBIDDEN_IMPORTS
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in FORBIDDEN_IMPORTS
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}
            assert in_app or node.func.id != "print"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            called = ast.unparse(node.func)
            assert called not in {"torch.load", "torch.save", "numpy.load"}
        assert not isinstance(node, ast.Assert), "asserts vanish under python -O"
    assert not re.search(r"allow_pickle\s*=\s*True", text)


def test_importing_crossface_loads_nothing_heavy():
    code = (
        "import sys, crossface, crossface.core.errors, crossface.app.cli; "
        "crossface.app.cli.build(); "
        "heavy = {'torch', 'cv2', 'onnxruntime', 'matplotlib', 'lightning_fabric'}; "
        "heavy |= {'numpy', 'pydantic'}; "  # together they take longer than all of --help
        "heavy &= set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_public_names_are_sorted_and_exist():
    import crossface

    assert list(crossface.__all__) == sorted(crossface.__all__)
    for name in crossface.__all__:
        assert getattr(crossface, name) is not None


def test_no_verb_has_the_name_of_a_room():
    """Python would put the room in the verb's place as soon as the room is imported."""
    import crossface

    rooms = {path.name for path in (ROOT / "src" / "crossface").iterdir() if path.is_dir()}
    assert not rooms & set(crossface.__all__)


def test_version_and_changelog_agree():
    import crossface

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == crossface.__version__
    assert f"## {crossface.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_command_line_page_is_fresh():
    from crossface.app.docs import PAGE, render

    assert (ROOT / PAGE).read_text(encoding="utf-8") == render()
