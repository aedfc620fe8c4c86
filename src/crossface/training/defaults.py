"""What a run is made of where nothing is said; without imports, so that verbs may read it."""

from __future__ import annotations

STUDENT = "mobilefacenet"

DISTILLER = "sp"
"""Regression to the teacher's embedding, and similarities within the batch beside it: the ladder's
choice on held-out crops at equal minutes (``benchmarks/results/ladder-real.json``)."""

HEAD = "cosface"
METRIC = "triplet"
