"""Small charts as inline SVG: axes, lines, areas and labels, styled by the page's own CSS.

Written by hand instead of by a plotting library: the text stays text in the page's typeface, the
colours are the page's, and no further dependency is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

Numbers = Sequence[float] | npt.NDArray[np.floating]

WIDTH, HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 14, 42
_BARS_WIDTH, _NAMES, _VALUES, _ROW, _LONGEST = 680, 190, 130, 24, 30


class Axis:
    """A scale from data to pixels.

    Args:
        low: value at the start.
        high: value at the end.
        ticks: (value, text) to be written.
        log: logarithmic; both ends must be positive.
    """

    def __init__(
        self, low: float, high: float, ticks: Sequence[tuple[float, str]], *, log: bool = False
    ) -> None:
        self.log = log
        self.low, self.high = self._of(low), self._of(high)
        self.ticks = ticks

    def share(self, value: float) -> float:
        """Position in [0, 1]; values outside are put on the edge."""
        place = (self._of(value) - self.low) / (self.high - self.low)
        return min(1.0, max(0.0, place))

    def _of(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.log else value


class Chart:
    """One panel.

    Args:
        x: horizontal axis.
        y: vertical axis.
        x_label: said under the axis.
        y_label: said above the axis.
        title: for screen readers.
        height: of the panel; the width is fixed and the page scales it.
    """

    def __init__(
        self,
        x: Axis,
        y: Axis,
        *,
        x_label: str,
        y_label: str,
        title: str,
        height: int = HEIGHT,
    ) -> None:
        self.x, self.y, self.height = x, y, height
        self._title, self._x_label, self._y_label = title, x_label, y_label
        self._parts: list[str] = []

    def line(self, xs: Numbers, ys: Numbers, *, style: str, dots: bool = False) -> None:
        """A line through points; ``style`` is a class of the page's CSS."""
        points = [self._at(x, y) for x, y in zip(xs, ys, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<polyline class="line {style}" points="{path}"/>')
        if dots:
            for x, y in points:
                self._parts.append(f'<circle class="dot {style}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')

    def band(self, xs: Numbers, lows: Numbers, highs: Numbers, *, style: str) -> None:
        """The area between two lines."""
        there = [self._at(x, y) for x, y in zip(xs, highs, strict=True)]
        back = [self._at(x, y) for x, y in zip(xs, lows, strict=True)][::-1]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in there + back)
        self._parts.append(f'<polygon class="band {style}" points="{path}"/>')

    def steps(self, edges: Numbers, heights: Numbers, *, style: str) -> None:
        """A histogram's outline, filled down to the axis."""
        corners = [(edges[0], 0.0)]
        for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
            corners += [(left, height), (right, height)]
        corners.append((edges[-1], 0.0))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self._at(*c) for c in corners))
        self._parts.append(f'<polygon class="area {style}" points="{path}"/>')

    def rule(self, value: float, *, style: str = "rule") -> None:
        """A vertical line from top to bottom."""
        x, _ = self._at(value, self.y.low)
        self._parts.append(
            f'<line class="{style}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" '
            f'y2="{self.height - _BOTTOM}"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        style: str = "",
        anchor: str = "start",
        shift: tuple[float, float] = (0, 0),
    ) -> None:
        """Words at a place of the data, moved by pixels."""
        across, down = self._at(x, y)
        self._parts.append(
            f'<text class="name {style}" x="{across + shift[0]:.1f}" y="{down + shift[1]:.1f}" '
            f'text-anchor="{anchor}">{escape(words)}</text>'
        )

    def svg(self) -> str:
        """The panel as an SVG element."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" '
            f'aria-label="{escape(self._title, quote=True)}">'
            f"{self._frame()}{''.join(self._parts)}</svg>"
        )

    def _frame(self) -> str:
        bottom = self.height - _BOTTOM
        parts = []
        for value, words in self.y.ticks:
            y = self._down(self.y.share(value))
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            )
            if words:
                parts.append(
                    f'<text class="tick" x="{_LEFT - 7}" y="{y + 4:.1f}" '
                    f'text-anchor="end">{escape(words)}</text>'
                )
        for value, words in self.x.ticks:
            x = self._across(self.x.share(value))
            parts.append(
                f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
                f'<text class="tick" x="{x:.1f}" y="{bottom + 17}" '
                f'text-anchor="middle">{escape(words)}</text>'
            )
        parts.append(
            f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>'
            f'<text class="label" x="{(_LEFT + WIDTH - _RIGHT) / 2}" y="{self.height - 6}" '
            f'text-anchor="middle">{escape(self._x_label)}</text>'
            f'<text class="label" x="{_LEFT}" y="{_TOP - 3}">{escape(self._y_label)}</text>'
        )
        return "".join(parts)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self._across(self.x.share(float(x))), self._down(self.y.share(float(y)))

    def _across(self, share: float) -> float:
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def _down(self, share: float) -> float:
        top = _TOP + 8
        return self.height - _BOTTOM - share * (self.height - _BOTTOM - top)


class Bars:
    """Horizontal bars from zero, one per row, each with its interval as a whisker.

    Args:
        axis: of the values; its low end is where bars begin.
        title: for screen readers.
        label: said under the axis.
    """

    def __init__(self, axis: Axis, *, title: str, label: str) -> None:
        self._axis, self._title, self._label = axis, title, label
        self._rows: list[tuple[str, float, float | None, float | None, str]] = []

    def bar(
        self, name: str, value: float, low: float | None, high: float | None, words: str
    ) -> None:
        """Add a row; ``words`` are written at its end."""
        self._rows.append((name, value, low, high, words))

    def svg(self) -> str:
        """The panel as an SVG element."""
        bottom = _TOP + _ROW * len(self._rows)
        height = bottom + _BOTTOM
        parts = []
        for value, words in self._axis.ticks:
            x = self._across(value)
            parts.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>'
                f'<text class="tick" x="{x:.1f}" y="{bottom + 16}" '
                f'text-anchor="middle">{escape(words)}</text>'
            )
        for number, row in enumerate(self._rows):
            parts.append(self._row(_TOP + _ROW * number, *row))
        return (
            f'<svg viewBox="0 0 {_BARS_WIDTH} {height}" role="img" '
            f'aria-label="{escape(self._title, quote=True)}">{"".join(parts)}'
            f'<text class="label" x="{(_NAMES + _BARS_WIDTH - _VALUES) / 2}" y="{height - 6}" '
            f'text-anchor="middle">{escape(self._label)}</text></svg>'
        )

    def _row(
        self, top: float, name: str, value: float, low: float | None, high: float | None, words: str
    ) -> str:
        middle, end = top + _ROW / 2, self._across(value)
        shown = name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
        row = (
            f'<text class="name" x="{_NAMES - 8}" y="{middle + 4:.1f}" text-anchor="end">'
            f"{escape(shown)}</text>"
            f'<rect class="bar" x="{_NAMES}" y="{top + 4:.1f}" height="{_ROW - 8}" '
            f'width="{max(end - _NAMES, 0):.1f}"/>'
        )
        if low is not None and high is not None:
            left, right = self._across(low), self._across(high)
            row += (
                f'<path class="whisker" d="M{left:.1f} {middle - 4:.1f}v8m0 -4H{right:.1f}'
                f'm0 -4v8"/>'
            )
        return row + (
            f'<text class="tick" x="{_BARS_WIDTH - 2}" y="{middle + 4:.1f}" '
            f'text-anchor="end">{escape(words)}</text>'
        )

    def _across(self, value: float) -> float:
        return _NAMES + self._axis.share(value) * (_BARS_WIDTH - _NAMES - _VALUES)


def even_ticks(low: float, high: float, *, about: int = 5) -> list[tuple[float, str]]:
    """Round values from ``low`` to ``high``, roughly ``about`` of them."""
    span = max(high - low, 1e-9)
    raw = span / about
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [(n * step, f"{n * step:g}") for n in range(first, last + 1)]
