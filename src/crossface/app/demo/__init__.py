"""The demo: a CNN learns from a Transformer on drawn people, shown with error bars."""

from __future__ import annotations

from crossface.app.demo.run import run_demo

__all__ = ["run_demo"]
