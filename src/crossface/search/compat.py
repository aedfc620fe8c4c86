"""Two models that may search each other's galleries: the measured record the gallery honours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crossface.core.card import Interval
from crossface.core.contract import EmbeddingContract
from crossface.core.errors import ContractMismatch, GalleryError
from crossface.core.linear_map import LinearMap


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
        linear_map: from the probe's space into the gallery's, where they are two; everything
            above was then measured with the probe model's vectors mapped.
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
    linear_map: LinearMap | None = None

    @model_validator(mode="after")
    def _one_space(self) -> Self:
        into = self.linear_map
        if into is not None:
            if (into.to_dim, into.from_dim) != (self.gallery.dim, self.probe.dim):
                raise ValueError(
                    f"the map goes from {into.from_dim} to {into.to_dim} numbers, the models have "
                    f"{self.probe.dim} and {self.gallery.dim}"
                )
        elif not self.gallery.comparable_with(self.probe):
            raise ValueError(
                f"{self.gallery.model_id} and {self.probe.model_id} do not share a space"
            )
        if "gallery-probe" not in self.fnmr:
            raise ValueError("fnmr lacks the pairing gallery-probe")
        return self


@dataclass(frozen=True, slots=True)
class Leave:
    """Whose templates probes of one model may be compared with, and how they get there.

    ``into`` brings the probes, and the templates of their own model, into the space that is
    searched; None where all share one.
    """

    contract_ids: tuple[str, ...]
    into: LinearMap | None = None


def leave_of(
    probe: EmbeddingContract, primary: EmbeddingContract, records: Sequence[CompatRecord]
) -> Leave:
    """What a gallery's records allow a model.

    One index holds one space: with records by different maps, that for the gallery's own model
    decides, and those that lead elsewhere are left out.
    """
    ours = [record for record in records if record.gallery == primary] or list(records)
    if not ours:
        return Leave((probe.contract_id,))
    into = ours[0].linear_map
    honoured = [record.gallery.contract_id for record in records if record.linear_map == into]
    return Leave(tuple(dict.fromkeys([probe.contract_id, *honoured])), into)


def make_record(
    report: Mapping[str, Any], fnmr: Mapping[str, Mapping[str, Any]], *, fmr: float
) -> CompatRecord:
    """The record of a compatibility report whose A enrolled and whose B asks.

    Args:
        report: holds ``a`` and ``b`` (contracts), ``cells`` ("A-B": a report with its protocol)
            and ``data_digest``, and ``linear_map`` where B's vectors were mapped.
        fnmr: {value, low, high, threshold} at ``fmr`` of each cell.
        fmr: the false match rate.

    Raises:
        ContractMismatch: if the two do not share a space and no map leads from one to the other.
    """
    into = report.get("linear_map")
    gallery, probe = (
        EmbeddingContract.model_validate({k: v for k, v in side.items() if k != "contract_id"})
        for side in (report["a"], report["b"])
    )
    if into is None and not gallery.comparable_with(probe):
        raise ContractMismatch(
            f"{gallery.model_id} (space {gallery.space_id}) and {probe.model_id} (space "
            f"{probe.space_id}) do not share a space: fit a map between them (crossface compat "
            "--map-from CROPS), or move the gallery (crossface gallery migrate)"
        )
    said = {"A": "gallery", "B": "probe"}
    names = {cell: f"{said[cell[0]]}-{said[cell[2]]}" for cell in fnmr}
    return CompatRecord(
        gallery=gallery,
        probe=probe,
        protocol=report["cells"]["A-B"]["protocol"],
        data_digest=report["data_digest"],
        date=datetime.now(UTC).date().isoformat(),
        fmr_target=fmr,
        fnmr={
            names[cell]: Interval(value=row["value"], low=row["low"], high=row["high"])
            for cell, row in fnmr.items()
        },
        thresholds={names[cell]: row["threshold"] for cell, row in fnmr.items()},
        linear_map=None if into is None else LinearMap.model_validate(into),
    )


def read_record(path: Path) -> CompatRecord:
    """The record in a JSON file.

    Raises:
        GalleryError: if it cannot be read or is no such record.
    """
    try:
        return CompatRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise GalleryError(f"{path.name}: {error.strerror or error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise GalleryError(
            f"{path.name} is no record of crossface compat: {where}: {first['msg']}"
        ) from None
