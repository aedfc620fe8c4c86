"""The ladder: methods x teachers x seeds under one budget, in one table with intervals."""

from __future__ import annotations

from crossface.app.ladder.run import run_ladder

__all__ = ["run_ladder"]
