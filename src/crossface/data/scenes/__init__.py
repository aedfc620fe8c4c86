"""Scenes with known faces: pasted crops and drawn people over procedural grounds; no photograph."""

from __future__ import annotations

from crossface.data.scenes.compose import Scene, SceneOptions, Scenes
from crossface.data.scenes.cuts import Cuts, DrawnCuts, FaceCut, LabelledCrops
from crossface.data.scenes.labels import CropLabels

__all__ = [
    "CropLabels",
    "Cuts",
    "DrawnCuts",
    "FaceCut",
    "LabelledCrops",
    "Scene",
    "SceneOptions",
    "Scenes",
]
