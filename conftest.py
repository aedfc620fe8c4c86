"""Run the Python examples of README.md and docs/*.md as tests, each file in a folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

_CHANGED = ("HOME", "CROSSFACE_CACHE", "CROSSFACE_HOME", "CROSSFACE_GALLERY_KEY")


def _enter(namespace: dict[str, Any]) -> None:
    """An empty folder, which is also the user's home."""
    folder = tempfile.mkdtemp(prefix="crossface-docs-")
    namespace["_folder"] = folder
    namespace["_before"] = os.getcwd()
    namespace["_environment"] = {name: os.environ.get(name) for name in _CHANGED}
    os.environ |= {
        "HOME": folder,
        "CROSSFACE_CACHE": os.path.join(folder, "cache"),
        "CROSSFACE_HOME": os.path.join(folder, "models"),
        "CROSSFACE_GALLERY_KEY": "5a" * 32,
    }
    os.chdir(folder)


def _enter_with_photographs(namespace: dict[str, Any]) -> None:
    """What a user of another library has: a pack of models and photographs of people."""
    from PIL import Image

    from photo_people import photo, recogniser
    from pipeline.onnx_files import one_face

    _enter(namespace)
    folder = Path(namespace["_folder"])
    pack = folder / ".insightface" / "models" / "buffalo_s"
    pack.mkdir(parents=True)
    recogniser(pack / "w600k_mbf.onnx")
    one_face(pack / "det_500m.onnx")
    (folder / "people" / "ann").mkdir(parents=True)
    (folder / "people" / "bob").mkdir()
    for name, person, number in (
        ("a.jpg", "ann", 0),
        ("b.jpg", "ann", 1),
        ("stranger.jpg", "cy", 0),
        ("people/ann/1.jpg", "ann", 0),
        ("people/bob/1.jpg", "bob", 0),
    ):
        Image.fromarray(photo(person, number)).save(folder / name, quality=95)


def _leave(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_before"])
    for name, value in namespace["_environment"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    shutil.rmtree(namespace["_folder"], ignore_errors=True)


_OF_PHOTOGRAPHS = ["docs/coming-from.md", "docs/gallery.md"]
_pages = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/*.md"],
    excludes=_OF_PHOTOGRAPHS,
    setup=_enter,
    teardown=_leave,
)
_with_photographs = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=_OF_PHOTOGRAPHS,
    setup=_enter_with_photographs,
    teardown=_leave,
)
pytest_collect_file = (_pages + _with_photographs).pytest()
