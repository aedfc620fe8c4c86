"""SIGINT and SIGTERM ask the loop to save and stop; a second one stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class StopRequest:
    """A flag raised by SIGINT or SIGTERM while the context is open."""

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self._old: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    @property
    def wanted(self) -> bool:
        """Whether a signal came."""
        return self.signal_name is not None

    def __enter__(self) -> StopRequest:
        # Python delivers signals to the main thread only; elsewhere the caller must stop us.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
