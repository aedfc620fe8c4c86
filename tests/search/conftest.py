"""Galleries sync every commit: a memory file system, where there is one, does not make them wait.

What is tested is unchanged by that: a killed process loses nothing that the kernel was given.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")  # noqa: S108  # a place of its own inside it


@pytest.fixture
def tmp_path():
    """A folder of the test's own."""
    usable = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)
    folder = Path(tempfile.mkdtemp(prefix="crossface-test-", dir=_MEMORY if usable else None))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
