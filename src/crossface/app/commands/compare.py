"""``crossface compare``."""

from __future__ import annotations


def command() -> None:
    """Comes with the next commit."""
