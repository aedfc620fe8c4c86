"""The threshold of an open-set search, from the card's row for the gallery's own size."""

from __future__ import annotations

import math
from dataclasses import dataclass

from crossface.core.card import ThresholdCard
from crossface.core.errors import ContractMismatch, UsageError


@dataclass(frozen=True, slots=True)
class Decision:
    """Accept at or above ``threshold``; ``fpir`` is what the card promises there."""

    threshold: float
    fpir: float | None


def decide(card: ThresholdCard, *, persons: int, fpir: float) -> Decision | None:
    """The threshold for a gallery of ``persons`` people, or None where the card is silent.

    The row taken is that of the smallest measured gallery at least as large: more people give
    more chances of a false hit, so its threshold errs on the safe side.

    Args:
        card: the model's threshold card.
        persons: people enrolled.
        fpir: the false positive identification rate to stand for.

    Raises:
        UsageError: if the card has a row for this size but none at this rate.
    """
    sizes = [size for size in sorted(card.fpir_by_gallery_size) if size >= persons]
    if not sizes:
        return None
    row = card.fpir_by_gallery_size[sizes[0]]
    for point in row:
        if math.isclose(point.fpir_target, fpir, rel_tol=1e-6):
            return Decision(point.threshold, fpir)
    known = ", ".join(f"{point.fpir_target:g}" for point in row)
    raise UsageError(
        f"the threshold card has no operating point at FPIR {fpir:g} for galleries of "
        f"{sizes[0]} people; it has {known}"
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
