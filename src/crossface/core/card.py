"""The threshold card type: computed by ``evaluation``, read by ``search``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Interval(BaseModel):
    """A figure with its 95 % interval; ``low`` and ``high`` are None where none can be given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class OperatingPoint(BaseModel):
    """One threshold and what was measured at it (accept when similarity >= threshold)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fmr_target: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=-1, le=1)
    fmr: Interval
    fnmr: Interval
    extrapolated: bool = False


class ThresholdCard(BaseModel):
    """Thresholds of one model, with the data they were measured on.

    FMR: false match rate. FNMR: false non-match rate. FPIR: false positive identification rate
    of an open-set search, by gallery size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    contract_id: str
    protocol: str
    data_digest: str
    date: str
    operating_points: tuple[OperatingPoint, ...]
    fpir_by_gallery_size: dict[int, tuple[OperatingPoint, ...]] = Field(default_factory=dict)
    groups: dict[str, tuple[OperatingPoint, ...]] = Field(default_factory=dict)
