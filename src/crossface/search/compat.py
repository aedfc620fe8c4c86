"""Two models that may search each other's galleries: the measured record the gallery honours."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crossface.core.card import Interval
from crossface.core.contract import EmbeddingContract


class CompatRecord(BaseModel):
    """FNMR at a fixed FMR of every way to pair two models, written by ``crossface compat``.

    Attributes:
        gallery: the model that enrolled.
        probe: the model that asks.
        protocol: how it was measured.
        data_digest: what it was measured on.
        date: when, ISO 8601.
        fmr_target: the false match rate at which FNMR is given.
        fnmr: keys "gallery-gallery", "gallery-probe", "probe-gallery", "probe-probe": enrolled
            with the first, asked with the second.
        thresholds: the similarity threshold of each of these at ``fmr_target``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gallery: EmbeddingContract
    probe: EmbeddingContract
    protocol: str
    data_digest: str
    date: str
    fmr_target: float = Field(gt=0, lt=1)
    fnmr: dict[str, Interval]
    thresholds: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_space(self) -> Self:
        if not self.gallery.comparable_with(self.probe):
            raise ValueError(
                f"{self.gallery.model_id} and {self.probe.model_id} do not share a space"
            )
        if "gallery-probe" not in self.fnmr:
            raise ValueError("fnmr lacks the pairing gallery-probe")
        return self
