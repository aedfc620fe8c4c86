"""Drawn identities: a procedural generator of parametric faces; no photograph, no download."""

from __future__ import annotations

from crossface.data.drawn.draw import DrawnPicture, draw_face
from crossface.data.drawn.identity import Identity
from crossface.data.drawn.nuisance import Nuisance
from crossface.data.drawn.source import Annotation, DrawnFaces, parse_spec

__all__ = [
    "Annotation",
    "DrawnFaces",
    "DrawnPicture",
    "Identity",
    "Nuisance",
    "draw_face",
    "parse_spec",
]
