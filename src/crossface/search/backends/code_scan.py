"""Weighted bit counts of sign codes: compiled where numba is installed, by numpy elsewhere.

Both count the same integers, so the answer does not depend on which one runs; only the time does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Distances = npt.NDArray[np.uint16]
Scan = Callable[[Words, Words, Distances], None]
"""``scan(block, planes, out)``: distances of a (W, N) block from a query's (3, W) planes."""

LOG = logging.getLogger(__name__)
_MOST_COUNTS_IN_A_BYTE = 3  # a word has at most 64 bits set


@lru_cache(maxsize=1)
def scan() -> Scan:
    """The fastest scan that is installed; said once in the log where it is the slower one."""
    if find_spec("numba") is None:
        LOG.info("codes are compared by numpy; pip install 'crossface[ann]' makes it faster")
        return numpy_scan
    return _compiled()


def numpy_scan(block: Words, planes: Words, out: Distances) -> None:
    """Write (N,) distances of a (W, N) block of codes.

    Args:
        block: (W, N) sign bits, a row of words a plane of 64 dimensions.
        planes: (3, W) the query's sign bits, and the low and high bits of its magnitudes.
        out: (N,) uint16: sum of 1 + 2 low + 4 high over the dimensions whose signs disagree.
    """
    n = block.shape[1]
    mixed, masked = np.empty(n, dtype=np.uint64), np.empty(n, dtype=np.uint64)
    bits, total = np.empty(n, dtype=np.uint8), np.empty(n, dtype=np.uint16)
    parts = np.zeros((len(planes), n), dtype=np.uint8)
    out[:] = 0
    for word in range(len(block)):
        np.bitwise_xor(block[word], planes[0, word], out=mixed)
        np.bitwise_count(mixed, out=bits)
        parts[0] += bits
        for level in range(1, len(planes)):
            np.bitwise_and(mixed, planes[level, word], out=masked)
            np.bitwise_count(masked, out=bits)
            parts[level] += bits
        if (word + 1) % _MOST_COUNTS_IN_A_BYTE == 0 or word + 1 == len(block):
            for level, part in enumerate(parts):
                np.left_shift(part, level, out=total, dtype=np.uint16)
                out += total
            parts[:] = 0


def _compiled() -> Scan:
    """One pass over the block; bit counts become the processor's own instruction."""
    from numba import njit, types
    from numba.extending import intrinsic

    @intrinsic
    def count(typing_context, word):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        del typing_context, word

        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            del context, signature
            return builder.ctpop(arguments[0])

        return types.uint64(types.uint64), code

    @njit(inline="always")
    def distance(word, planes, at):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        mixed = word ^ planes[0, at]
        return (
            count(mixed) + (count(mixed & planes[1, at]) << 1) + (count(mixed & planes[2, at]) << 2)  # type: ignore[call-arg]
        )

    @njit("void(uint64[:, ::1], uint64[:, ::1], uint16[::1])", nogil=True)
    def compiled(block, planes, out):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        # Four words at a time halve the time: the narrow sums are read and written less often.
        out[:] = 0
        fours = len(block) // 4 * 4
        for at in range(0, fours, 4):
            first, second, third, fourth = block[at], block[at + 1], block[at + 2], block[at + 3]
            for i in range(len(out)):
                out[i] += (
                    distance(first[i], planes, at)
                    + distance(second[i], planes, at + 1)
                    + distance(third[i], planes, at + 2)
                    + distance(fourth[i], planes, at + 3)
                )
        for at in range(fours, len(block)):
            for i in range(len(out)):
                out[i] += distance(block[at, i], planes, at)

    found: Scan = compiled
    return found
