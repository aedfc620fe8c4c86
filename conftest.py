"""Run the Python examples of README.md and docs/*.md as tests, each file in a folder of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


def _enter(namespace: dict[str, Any]) -> None:
    namespace["_folder"] = tempfile.mkdtemp(prefix="crossface-docs-")
    namespace["_before"] = os.getcwd()
    os.environ["CROSSFACE_CACHE"] = os.path.join(namespace["_folder"], "cache")
    os.chdir(namespace["_folder"])


def _leave(namespace: dict[str, Any]) -> None:
    os.chdir(namespace["_before"])
    os.environ.pop("CROSSFACE_CACHE", None)
    shutil.rmtree(namespace["_folder"], ignore_errors=True)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/*.md"],
    setup=_enter,
    teardown=_leave,
).pytest()
