"""The threshold card: computed by ``evaluation``, carried by a model, read where it decides."""

from __future__ import annotations

from typing import overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossface.core.errors import WeightsError

DEFAULT_FMR = 1e-3
DEFAULT_FPIR = 1e-2


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Interval(BaseModel):
    """A figure with its 95 % interval; ``low`` and ``high`` are None where none can be given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class OperatingPoint(_Frozen):
    """One threshold and what was measured at it (accept when similarity >= threshold).

    Attributes:
        fmr_target: the FMR the threshold was chosen for.
        threshold: cosine.
        fmr: at the threshold.
        fnmr: at the threshold; null with the reason where no identities were known.
        extrapolated: whether the threshold comes from a fitted tail, beyond what was counted.
    """

    fmr_target: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=-1, le=1)
    fmr: Interval
    fnmr: Interval
    extrapolated: bool = False


class SearchPoint(_Frozen):
    """One threshold of a search in a gallery of a given size.

    Attributes:
        gallery_size: people enrolled, one template each.
        fpir_target: the FPIR the threshold was chosen for.
        threshold: cosine.
        fpir: share of searches for people who are not enrolled that accept somebody.
        fnmr: share of genuine comparisons below the threshold; with rank left aside, the share of
            searches for enrolled people that miss them.
        extrapolated: whether the FPIR comes from a fitted tail instead of counting.
    """

    gallery_size: int = Field(ge=1)
    fpir_target: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=-1, le=1)
    fpir: Interval
    fnmr: Interval
    extrapolated: bool = False


class AbsentPoint(_Frozen):
    """A row that the data cannot support, and why."""

    fmr_target: float | None = None
    gallery_size: int | None = None
    fpir_target: float | None = None
    reason: str = Field(min_length=1)


class ThresholdCard(_Frozen):
    """Thresholds of one model, with the data they were measured on.

    FMR: false match rate. FNMR: false non-match rate. FPIR: false positive identification rate
    of an open-set search, by gallery size.

    Attributes:
        contract_id: of the model, see ``core.contract``.
        model_id: the model's short name.
        protocol: which comparisons were made.
        data: name of the face set.
        data_digest: hex sha256 of the set the thresholds were chosen on.
        date: ISO 8601, the day of measurement.
        flip: whether embeddings were sums over a crop and its mirror image; a runtime that does
            otherwise must not use these thresholds.
        n_images: pictures compared.
        n_identities: people compared; None where identities were not known.
        n_impostor: impostor comparisons.
        n_genuine: genuine comparisons.
        operating_points: one row per FMR that the data supports.
        fpir_by_gallery_size: one row per FPIR that the data supports.
        groups: error rates of each group at the *common* thresholds of ``operating_points``; a
            group does not get a threshold of its own, since nobody is asked for it at run time.
        absent: the rows that are missing, with the reason.
        notes: what a reader must know to trust a row.
    """

    contract_id: str
    model_id: str
    protocol: str
    data: str
    data_digest: str
    date: str
    flip: bool
    n_images: int = Field(ge=0)
    n_identities: int | None = Field(default=None, ge=0)
    n_impostor: int = Field(ge=0)
    n_genuine: int = Field(ge=0)
    operating_points: tuple[OperatingPoint, ...]
    fpir_by_gallery_size: dict[int, tuple[SearchPoint, ...]] = Field(default_factory=dict)
    groups: dict[str, tuple[OperatingPoint, ...]] = Field(default_factory=dict)
    absent: tuple[AbsentPoint, ...] = ()
    notes: tuple[str, ...] = ()


def parse_card(text: str, *, source: str) -> ThresholdCard:
    """Read a card from JSON.

    Args:
        text: as ``ThresholdCard.model_dump_json`` writes it.
        source: the file's name, for the error.

    Raises:
        WeightsError: naming the file and the first field that does not fit.
    """
    try:
        return ThresholdCard.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise WeightsError(f"{source}: bad ThresholdCard: {where}: {first['msg']}") from None


@overload
def operating_point(
    card: ThresholdCard | None, *, fmr: float | None = None
) -> OperatingPoint | None: ...


@overload
def operating_point(
    card: ThresholdCard | None, *, gallery_size: int, fpir: float | None = None
) -> SearchPoint | None: ...


def operating_point(
    card: ThresholdCard | None,
    *,
    fmr: float | None = None,
    gallery_size: int | None = None,
    fpir: float | None = None,
) -> OperatingPoint | SearchPoint | None:
    """The row to decide by: of all rows that promise what is asked, the lowest threshold.

    A row for a smaller FMR or FPIR, or for a larger gallery, promises more and so is taken where
    the very one is missing; nothing is interpolated.

    Args:
        card: None gives None: without a measurement there is no threshold.
        fmr: for one-to-one comparison, the largest FMR that is wanted; 1e-3 by default.
        gallery_size: for a search, the number of people enrolled.
        fpir: for a search, the largest FPIR that is wanted; 1e-2 by default.

    Returns:
        An ``OperatingPoint``, a ``SearchPoint`` if a gallery size is given, or None where no row
        promises as much.

    Raises:
        ValueError: if an FMR is asked of a search, an FPIR without a gallery size, or a number
            lies outside its range.
    """
    _check_wish(fmr, gallery_size, fpir)
    if card is None:
        return None
    rows: list[OperatingPoint | SearchPoint]
    if gallery_size is None:
        most = DEFAULT_FMR if fmr is None else fmr
        rows = [row for row in card.operating_points if _within(row.fmr_target, most)]
    else:
        most = DEFAULT_FPIR if fpir is None else fpir
        rows = [
            row
            for size, points in card.fpir_by_gallery_size.items()
            for row in points
            if size >= gallery_size and _within(row.fpir_target, most)
        ]
    return min(rows, key=lambda row: row.threshold, default=None)


def _within(target: float, most: float) -> bool:
    return target <= most * (1 + 1e-9)


def _check_wish(fmr: float | None, gallery_size: int | None, fpir: float | None) -> None:
    if gallery_size is None and fpir is not None:
        raise ValueError("an FPIR belongs to a gallery: gallery_size is missing")
    if gallery_size is not None and fmr is not None:
        raise ValueError("a search is decided by its FPIR: give fpir, not fmr")
    if gallery_size is not None and gallery_size < 1:
        raise ValueError(f"gallery_size must be >= 1, got {gallery_size}")
    for name, rate in (("fmr", fmr), ("fpir", fpir)):
        if rate is not None and not 0 < rate < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {rate}")
