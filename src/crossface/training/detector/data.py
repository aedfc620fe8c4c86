"""The scenes of a run, from its configuration: those it learns from and those it is judged on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossface.core.seeds import derive_seed, generator
from crossface.data import open_faces
from crossface.data.drawn import DrawnFaces
from crossface.data.scenes import (
    CropLabels,
    Cuts,
    DrawnCuts,
    FaceCut,
    LabelledCrops,
    SceneOptions,
    Scenes,
)
from crossface.training.detector.config import DetectorConfig
from crossface.training.detector.labels import CropTeacher, label_crops

LABELS = "labels.safetensors"
_FIRST_HELD_OUT = 1_000_000  # of drawn people: nobody is on both sides


@dataclass(frozen=True, slots=True)
class ScenePair:
    """Scenes to learn from, scenes to be judged on, and what is known about the crops in them."""

    training: Scenes
    validation: Scenes
    labelled: int
    asked: int


class _NoCuts:
    def __len__(self) -> int:
        return 0

    def read(self, index: int) -> FaceCut:
        raise IndexError(index)


def open_scenes(config: DetectorConfig, folder: Path, *, progress: bool = True) -> ScenePair:
    """Scenes for training and for validation: other crops, other drawn people, other grounds.

    The labels of the crops are made once and lie in the run's folder.

    Raises:
        CrossfaceError: naming what cannot be read.
    """
    seed, drawn = config.seed, config.drawn
    people = DrawnCuts(
        DrawnFaces(identities=drawn.identities, per_identity=drawn.per_identity, seed=seed)
    )
    others = DrawnCuts(
        DrawnFaces(
            identities=drawn.holdout,
            per_identity=drawn.per_identity,
            seed=seed,
            first_identity=_FIRST_HELD_OUT,
        )
    )
    training: Cuts = _NoCuts()
    validation: Cuts = _NoCuts()
    labelled = asked = 0
    if config.crops.path is not None:
        source = open_faces(config.crops.path, labels="none")
        labels = _labels(config, folder, progress=progress)
        labelled, asked = len(labels), labels.asked
        order = generator(seed, "held-out crops").permutation(len(labels))
        cut = max(1, round(config.crops.holdout * len(labels)))
        validation = LabelledCrops(source, labels.take(np.sort(order[:cut])))
        training = LabelledCrops(source, labels.take(np.sort(order[cut:])))
    options = SceneOptions(side_px=config.scenes.side_px, max_faces=config.scenes.max_faces)
    return ScenePair(
        Scenes(training, people, seed=derive_seed(seed, "scenes"), options=options),
        Scenes(validation, others, seed=derive_seed(seed, "validation scenes"), options=options),
        labelled,
        asked,
    )


def _labels(config: DetectorConfig, folder: Path, *, progress: bool) -> CropLabels:
    """The labels in the run's folder; made, if those there are of other teachers or crops."""
    crops = config.crops
    source = open_faces(str(crops.path), labels="none")
    teacher = CropTeacher(crops.detectors, crops.pose)
    file = folder / LABELS
    if file.is_file():
        kept = CropLabels.load(file)
        asked = min(crops.count or len(source), len(source))
        if (kept.source_digest, kept.teachers, kept.asked) == (
            source.digest(),
            teacher.digest,
            asked,
        ):
            return kept
    made = label_crops(source, teacher, count=crops.count, seed=config.seed, progress=progress)
    made.save(file)
    return made
