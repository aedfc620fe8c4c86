"""The schema of a detector's training: what its tables may say, and by default do."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import Field

from crossface.training.config import config_json
from crossface.training.schema import Section


class CropsConfig(Section):
    """Real faces, and who labels them.

    Attributes:
        path: aligned 112x112 crops; None for drawn faces only.
        licence: of the crops, for the card.
        detectors: ONNX files whose landmarks and boxes are averaged.
        pose: FSA-Net files, averaged.
        count: how many crops are asked about.
        holdout: share of the labelled crops kept for validation scenes.
    """

    path: str | None = None
    licence: str | None = None
    detectors: list[str] = Field(default_factory=list)
    pose: list[str] = Field(default_factory=list)
    count: int | None = Field(default=16000, gt=0)
    holdout: float = Field(default=0.05, gt=0, lt=1)


class DrawnConfig(Section):
    """Drawn people in scenes.

    Attributes:
        identities: how many; as many others are drawn for validation as ``holdout`` says.
        per_identity: pictures of each.
        holdout: other people, for validation scenes.
    """

    identities: int = Field(default=500, gt=0)
    per_identity: int = Field(default=3, gt=0)
    holdout: int = Field(default=40, gt=0)


class NetworkConfig(Section):
    """Sizes of ``nets.detector.FaceDetector``, whose arguments these are."""

    stem: int = Field(default=16, gt=0)
    stages: tuple[int, int, int, int] = Field(default=(24, 48, 64, 96), strict=False)
    depths: tuple[int, int, int, int] = Field(default=(1, 3, 3, 3), strict=False)
    neck: int = Field(default=48, gt=0)
    head_depth: int = Field(default=2, ge=0)


class ScenesConfig(Section):
    """How scenes look, see ``data.scenes.SceneOptions``; as many for validation as said."""

    side_px: int = 256
    max_faces: int = 8
    validation: int = Field(default=200, gt=0)


class LandmarksConfig(Section):
    """The second look at every face, trained after the detector (``nets.landmarks``).

    Attributes:
        steps: optimiser steps; 0 leaves it out.
        scenes_a_step: scenes whose guesses are one step's crops, some 14 of each.
        lr: peak learning rate, of Muon for the convolutions and AdamW for the rest.
        channels: of the network's four stages.
    """

    steps: int = Field(default=3000, ge=0)
    scenes_a_step: int = Field(default=8, ge=2)
    lr: float = Field(default=4e-3, gt=0)
    channels: tuple[int, int, int, int] = Field(default=(12, 24, 32, 40), strict=False)


class DetectorConfig(Section):
    """A whole run.

    Attributes:
        crops: real faces and their teachers.
        drawn: drawn faces.
        net: sizes of the network.
        scenes: how scenes look.
        landmarks: the second look.
        steps: optimiser steps; the learning rate falls along them.
        batch_size: scenes a step.
        lr: peak learning rate of AdamW.
        weight_decay: of the convolutions.
        warmup_fraction: share of the steps in which the learning rate rises.
        ema_decay: of the averaged weights, which are what is kept.
        clip_norm: largest norm of the gradient.
        seed: of everything random.
        threads: of torch.
        workers: threads that compose scenes.
        log_every_steps, checkpoint_every_steps, validate_every_steps: how often.
    """

    crops: CropsConfig = CropsConfig()
    drawn: DrawnConfig = DrawnConfig()
    net: NetworkConfig = NetworkConfig()
    scenes: ScenesConfig = ScenesConfig()
    landmarks: LandmarksConfig = LandmarksConfig()
    steps: int = Field(default=4000, gt=0)
    batch_size: int = Field(default=32, gt=1)
    lr: float = Field(default=4e-3, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    clip_norm: float = Field(default=10.0, gt=0)
    seed: int = 0
    threads: int = Field(default=1, gt=0)
    workers: int = Field(default=1, gt=0)
    log_every_steps: int = Field(default=50, gt=0)
    checkpoint_every_steps: int = Field(default=500, gt=0)
    validate_every_steps: int = Field(default=1000, gt=0)

    def digest(self) -> str:
        """Hex sha256 of everything said of the detector but its steps: a run may be made longer
        or shorter, and the second look comes after it.
        """
        told = config_json(self)
        del told["steps"], told["landmarks"]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def landmarks_digest(self) -> str:
        """Hex sha256 of everything said but numbers of steps."""
        told = config_json(self)
        del told["steps"], told["landmarks"]["steps"]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    def public(self) -> dict[str, Any]:
        """As JSON values, files by their names only."""
        told = config_json(self)
        crops = told["crops"]
        crops["path"] = None if crops["path"] is None else Path(crops["path"]).name
        for key in ("detectors", "pose"):
            crops[key] = [Path(path).name for path in crops[key]]
        return told
