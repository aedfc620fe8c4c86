"""Progress with an estimate of the time left, on stderr, for anything over two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TextIO, TypeVar

T = TypeVar("T")


class Progress:
    """Counts steps and says how far and how long.

    On a terminal one line is rewritten; elsewhere a line is printed every ``every_s`` seconds, so
    that a log stays readable. Nothing is printed in the first two seconds.
    """

    def __init__(
        self,
        label: str,
        total: int | None = None,
        *,
        stream: TextIO | None = None,
        every_s: float = 15.0,
        enabled: bool = True,
    ) -> None:
        self.label = label
        self.total = total
        self.done = 0
        self._stream = stream if stream is not None else sys.stderr
        self._tty = self._stream.isatty()
        self._every_s = 0.2 if self._tty else every_s
        self._enabled = enabled
        self._start = time.monotonic()
        self._last = self._start + (2.0 - self._every_s)
        self._shown = False

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count ``steps`` more; ``note`` is shown behind the estimate."""
        self.done += steps
        now = time.monotonic()
        if self._enabled and now - self._last >= self._every_s:
            self._last = now
            self._show(now, note)

    def _show(self, now: float, note: str) -> None:
        elapsed = now - self._start
        parts = [self.label]
        if self.total:
            left = elapsed / max(self.done, 1) * max(self.total - self.done, 0)
            parts.append(f"{self.done}/{self.total} ({100 * self.done / self.total:.0f} %)")
            parts.append(f"{clock(left)} left")
        else:
            parts.append(f"{self.done} done, {clock(elapsed)}")
        if note:
            parts.append(note)
        text = "  ".join(parts)
        self._stream.write(f"\r\x1b[K{text}" if self._tty else f"{text}\n")
        self._stream.flush()
        self._shown = True

    def close(self) -> None:
        """End the line on a terminal."""
        if self._shown and self._tty:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def track(items: Iterable[T], label: str, *, enabled: bool = True) -> Iterator[T]:
    """Iterate with progress; the total is taken from ``len`` where there is one."""
    total = len(items) if isinstance(items, Sized) else None
    with Progress(label, total, enabled=enabled) as progress:
        for item in items:
            yield item
            progress.advance()


def clock(seconds: float) -> str:
    """Seconds as people say them: 1:05, 2:00:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
