"""Where a detector comes from: configuration, data, teachers and licences, figures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from crossface.core.files import sha256_file
from crossface.core.weights import find_by_sha256
from crossface.data import open_faces
from crossface.data.drawn.source import VERSION
from crossface.training.detector.measure import DetectorFigures
from crossface.training.detector.train import TrainedDetector

CAVEAT = (
    "The teachers' own training pictures (WIDER FACE, 300W-LP) were collected from the web; no "
    "photograph without a face was used, so textures that look like faces may be taken for them."
)


def training_card(trained: TrainedDetector) -> dict[str, Any]:
    """JSON values that travel with the exported file; no path, no host."""
    config = trained.config
    teachers = [
        _teacher(path, role)
        for role, paths in (("detector", config.crops.detectors), ("pose", config.crops.pose))
        for path in paths
    ]
    data: list[dict[str, Any]] = [
        {
            "name": "drawn faces",
            "version": VERSION,
            "identities": config.drawn.identities,
            "per_identity": config.drawn.per_identity,
            "licence": "Apache-2.0 (drawn by this package)",
        }
    ]
    if config.crops.path is not None:
        source = open_faces(config.crops.path, labels="none")
        data.append(
            {
                "name": source.name,
                "digest": source.digest(),
                "crops": len(source),
                "asked": trained.asked,
                "labelled": trained.labelled,
                "licence": config.crops.licence or "not said",
            }
        )
    return {
        "kind": "crossface detector",
        "parameters": _parameters(trained.net) + _parameters(trained.second),
        "arch": trained.net.arch,
        "landmarks_arch": None if trained.second is None else trained.second.arch,
        "config": config.public(),
        "config_digest": config.digest(),
        "data": data,
        "teachers": teachers,
        "validation": _rounded(trained.figures),
        "validation_before_the_second_look": _rounded(trained.first_figures),
        "steps": trained.steps,
        "landmarks_steps": trained.landmarks_steps,
        "core_s": trained.core_s,
        "environment": trained.environment,
        "starts": trained.starts,
        "caveat": CAVEAT,
    }


def _parameters(net: nn.Module | None) -> int:
    return 0 if net is None else sum(p.numel() for p in net.parameters())


def _rounded(figures: DetectorFigures) -> dict[str, float]:
    return {name: round(value, 5) for name, value in asdict(figures).items()}


def _teacher(path: str | Path, role: str) -> dict[str, Any]:
    digest = sha256_file(path)
    known = find_by_sha256(digest)
    return {
        "file": Path(path).name,
        "sha256": digest,
        "role": role,
        "licence": "unknown" if known is None else known.licence,
    }
