"""Model files known by their hash, ours and others': licence, caveat and the input they want."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossface.core.contract import InputSpec
from crossface.core.log import get_logger

Task = Literal["embedding", "detection", "liveness", "quality", "pose"]

_log = get_logger("weights")


class KnownWeights(BaseModel):
    """One row of ``weights.toml``.

    Attributes:
        name: public name, independent of what the file is called on a disk.
        task: what the network is for.
        sha256: of the file, hex.
        licence: of the weights, in a line.
        caveat: what a user of the weights, or of anything distilled from them, must know.
        non_commercial: whether commercial use is not allowed.
        packaged: of weights that come with this package: its file in ``crossface.assets``.
        url: where a file with this hash can be had, as its publisher lists it; None where the
            file must be brought.
        input_spec: of an embedder: how its crops must be aligned and normalised.
        detector: of a detector: its kind, a name of ``pipeline.detectors.DETECTORS``.
        crop_scale: of a liveness network: how many times larger than the face its crop is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    task: Task = "embedding"
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str = Field(min_length=1)
    caveat: str
    non_commercial: bool = False
    packaged: str | None = None
    url: str | None = Field(default=None, pattern=r"^https://")
    input_spec: InputSpec | None = None
    detector: str | None = None
    crop_scale: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = {
            "embedding": self.input_spec,
            "detection": self.detector,
            "liveness": self.crop_scale,
        }
        if self.task in needed and needed[self.task] is None:
            raise ValueError(f"{self.name}: a row of task {self.task} lacks what it is used with")
        return self


DEFAULT_MODEL = "default"
DEFAULT_DETECTOR = "default_detector"
"""The weights that come with the package, used where none are named."""


def asset_path(name: str) -> Path:
    """A file of ``crossface.assets`` on this disk."""
    return Path(str(files("crossface.assets").joinpath(name)))


@cache
def known_weights() -> tuple[KnownWeights, ...]:
    """All rows of the table, in its order."""
    text = files("crossface.core").joinpath("weights.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text).items()
    return tuple(KnownWeights.model_validate({"name": name, **row}) for name, row in rows)


def find_by_sha256(sha256: str) -> KnownWeights | None:
    """The row of a file with this hash, or None."""
    return next((row for row in known_weights() if row.sha256 == sha256), None)


def find_by_name(name: str) -> KnownWeights | None:
    """The row of this name, or None."""
    return next((row for row in known_weights() if row.name == name), None)


@cache  # once per process: a pipeline may open the same file for every thread
def announce_licence(row: KnownWeights) -> None:
    """Warn that weights may not be used commercially; silent for all others."""
    if row.non_commercial:
        _log.warning("%s: NON-COMMERCIAL weights: %s; %s", row.name, row.licence, row.caveat)
