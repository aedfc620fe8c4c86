"""Two crops laid over each other, so that a teacher can be asked about pictures nobody took.

Who is mixed with whom depends only on (seed, epoch, index), as everything else that is done to a
picture.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from crossface.core.seeds import generator
from crossface.core.types import UInt8Image


class Mix(NamedTuple):
    """What is laid over a picture.

    Attributes:
        partner: position of the other picture in the set.
        share: of the picture itself, in [0.5, 1).
    """

    partner: int
    share: float


def draw_mix(*, seed: int, epoch: int, index: int, size: int, probability: float) -> Mix | None:
    """Who is laid over picture ``index`` of ``size``, or None.

    The share is uniform; below one half it is turned round, so that a picture stays itself more
    than its partner.

    Paper: Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412, with
    Beta(1, 1), as Beyer et al., arXiv:2106.05237, use it for function matching.
    Deviation: each picture has a share and a partner of its own, drawn from the whole set; the
    authors' code (big_vision) draws one share per batch and mixes neighbours. Ours can be drawn
    again without the batch, so a teacher's answer can be kept.
    """
    if probability <= 0:
        return None
    chance, share, place = generator(seed, "mix", epoch, index).random(3)
    if chance >= probability:
        return None
    return Mix(partner=int(place * size), share=float(max(share, 1.0 - share)))


def mixed(image: UInt8Image, other: UInt8Image, share: float) -> UInt8Image:
    """``share * image + (1 - share) * other``, rounded; both (H, W, 3) uint8."""
    import cv2

    blend: Any = cv2.addWeighted(image, share, other, 1.0 - share, 0.0)
    return blend  # type: ignore[no-any-return]
