"""Error against discard: how fast an error falls as the lowest quality is left out.

A quality measure is good if the comparisons it would leave out are those that go wrong. The
threshold stays where it is; it is not chosen anew on what is left.

Tie rule: what has the same quality is left out together, and a share is never exceeded, so the
curve is a staircase with one step per quality that occurs.

Paper: Grother and Tabassi, "Performance of biometric quality measures", PAMI 2007; Schlett et al.,
"Considerations on the evaluation of biometric quality assessment algorithms", arXiv:2303.13294
(the staircase, not straight lines between its steps).
Deviation: none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.integer]
BoolArray = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.number]


class DiscardCurve(NamedTuple):
    """A staircase: from each share on, up to the next, the error stays the same.

    Attributes:
        discarded: (T,) shares left out, rising from 0.
        error: (T,) rate among the comparisons that are kept.
        quality: (T,) what is kept has at least this quality.
    """

    discarded: Float64Array
    error: Float64Array
    quality: Float64Array


def fnmr_against_discard(genuine: Numbers, quality: Numbers, threshold: float) -> DiscardCurve:
    """FNMR as the genuine comparisons of lowest quality are left out.

    Args:
        genuine: (P,) similarities.
        quality: (P,) of each comparison, higher is better; ``pair_quality`` makes it.
        threshold: accepted when similarity >= threshold.
    """
    return error_against_discard(_errors(genuine, "genuine") < threshold, quality)


def fmr_against_discard(impostor: Numbers, quality: Numbers, threshold: float) -> DiscardCurve:
    """FMR as the impostor comparisons of lowest quality are left out; see above."""
    return error_against_discard(_errors(impostor, "impostor") >= threshold, quality)


def error_against_discard(errors: BoolArray, quality: Numbers) -> DiscardCurve:
    """An error rate as the comparisons of lowest quality are left out.

    Args:
        errors: (N,) whether each comparison goes wrong.
        quality: (N,) of each, higher is better.

    Returns:
        The curve; the last step keeps the comparisons of the highest quality.

    Raises:
        ValueError: if shapes differ, nothing is given or a quality is not a number.
    """
    levels = np.unique(_checked(quality, len(errors)))
    below = np.searchsorted(np.sort(quality), levels, side="left")
    return DiscardCurve(below / len(errors), _kept_error(errors, quality, levels), levels)


def error_against_picture_discard(
    errors: BoolArray, first: IntArray, second: IntArray, quality: Numbers
) -> DiscardCurve:
    """An error rate as the *pictures* of lowest quality are left out, with all their comparisons.

    Args:
        errors: (N,) whether each comparison goes wrong.
        first: (N,) position of its first picture.
        second: (N,) position of its second picture.
        quality: (M,) of each picture, higher is better.

    Returns:
        The curve over the share of pictures; it ends where no comparison is left.

    Raises:
        ValueError: if shapes differ, nothing is given or a quality is not a number.
    """
    joint = pair_quality(quality, first, second)
    levels = np.unique(_checked(quality, len(quality)))
    levels = levels[levels <= _checked(joint, len(errors)).max()]
    below = np.searchsorted(np.sort(quality), levels, side="left")
    return DiscardCurve(below / len(quality), _kept_error(errors, joint, levels), levels)


def pair_quality(quality: Numbers, first: IntArray, second: IntArray) -> Float64Array:
    """(N,) quality of comparisons: that of the worse of the two pictures."""
    return np.minimum(quality[first], quality[second]).astype(np.float64)


def area_under_discard(curve: DiscardCurve, *, upto: float = 0.2) -> float:
    """Mean error of the staircase over discarded shares from 0 to ``upto``; lower is better.

    It is the area divided by ``upto``, so a quality that says nothing gives about the error
    without discarding.

    Args:
        curve: the curve.
        upto: highest share left out, in (0, 1]; the last step goes on where the curve ends before.
    """
    if not 0 < upto <= 1:
        raise ValueError(f"the highest discarded share must lie in (0, 1], got {upto}")
    edges = np.minimum(np.append(curve.discarded, max(upto, curve.discarded[-1])), upto)
    return float(np.sum(np.diff(edges) * curve.error) / upto)


def _kept_error(errors: BoolArray, quality: Numbers, levels: Float64Array) -> Float64Array:
    """(T,) error rate among the comparisons of at least each quality."""
    order = np.argsort(quality, kind="stable")
    wrong = np.concatenate([[0], np.cumsum(errors[order])])
    below = np.searchsorted(quality[order], levels, side="left")
    return np.asarray((wrong[-1] - wrong[below]) / (len(errors) - below), dtype=np.float64)


def _checked(quality: Numbers, count: int) -> Float64Array:
    if quality.shape != (count,) or not count or np.isnan(quality).any():
        raise ValueError(
            f"quality must be ({count},) numbers for as many comparisons or pictures, at least "
            f"one, got shape {quality.shape}"
        )
    return quality.astype(np.float64)


def _errors(scores: Numbers, what: str) -> Numbers:
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(f"{what} scores must be (N,) finite, got shape {scores.shape}")
    return scores
