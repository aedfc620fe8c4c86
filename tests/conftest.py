"""What every test shares: one torch thread, a cache of its own."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def _quiet_and_apart(tmp_path_factory, monkeypatch):
    """Tests run side by side, so each takes one thread; no test sees a user's cache."""
    monkeypatch.setenv("CROSSFACE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
