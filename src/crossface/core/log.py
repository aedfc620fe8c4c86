"""One logger for the package; handlers are set by the application (``app``), never here."""

from __future__ import annotations

import logging

logging.getLogger("crossface").addHandler(logging.NullHandler())


def get_logger(name: str) -> logging.Logger:
    """The logger of a room, for example ``get_logger("train")``."""
    return logging.getLogger(f"crossface.{name}")
