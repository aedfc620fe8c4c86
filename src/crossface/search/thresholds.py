"""The threshold of an open-set search, from the card's row for the gallery's own size."""

from __future__ import annotations

from dataclasses import dataclass

from crossface.core.card import ThresholdCard, operating_point
from crossface.core.errors import ContractMismatch, UsageError


@dataclass(frozen=True, slots=True)
class Decision:
    """Accept at or above ``threshold``; ``fpir`` is what the card promises there."""

    threshold: float
    fpir: float | None


def decide(
    card: ThresholdCard, *, persons: int, fpir: float, mixed: bool = False
) -> Decision | None:
    """The threshold for a gallery of ``persons`` people, or None where the card is silent.

    The row is chosen by ``core.card.operating_point``: the lowest threshold that promises as much.

    Args:
        card: the model's threshold card.
        persons: people enrolled.
        fpir: the false positive identification rate to stand for.
        mixed: templates of another model are searched too. The card was measured with one model
            on both sides, so its threshold then stands for no rate.

    Raises:
        UsageError: if the card has rows for this size but none that promises this rate.
    """
    sizes = [size for size in card.fpir_by_gallery_size if size >= persons]
    if not sizes:
        return None
    point = operating_point(card, gallery_size=max(persons, 1), fpir=fpir)
    if point is not None:
        return Decision(point.threshold, None if mixed else fpir)
    known = sorted({row.fpir_target for size in sizes for row in card.fpir_by_gallery_size[size]})
    raise UsageError(
        f"the threshold card promises no FPIR of {fpir:g} or less for galleries of {persons} "
        f"people; it has {', '.join(f'{rate:g}' for rate in known)}"
    )


def check_card(card: ThresholdCard, contract_id: str) -> None:
    """Refuse a card of another model.

    Raises:
        ContractMismatch: naming both.
    """
    if card.contract_id != contract_id:
        raise ContractMismatch(
            f"the threshold card was measured for contract {card.contract_id}, the probes are "
            f"made by {contract_id}; give the card of this model"
        )
