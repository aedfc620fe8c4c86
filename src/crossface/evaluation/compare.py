"""Is A better than B? Paired differences on the same comparisons, with their interval.

An arm is one model or several (seeds of one recipe): the mean of its models' statistics is
compared, each model at its own thresholds. Deleting an identity deletes it from all models at
once, so what the models share cancels, which is what makes a paired comparison sharp. The interval
is about the people and pictures; it does not include the spread between seeds beyond those given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.card import Interval
from crossface.core.errors import DataError
from crossface.core.types import Failure
from crossface.evaluation.embed import EmbeddedFaces
from crossface.evaluation.influence import (
    EqualError,
    FnmrAtFmr,
    Influence,
    auc_influence,
    combine,
    spread,
)
from crossface.evaluation.intervals import (
    MIN_IDENTITIES,
    difference_interval,
    group_jackknife,
    rate_interval,
    too_few_false_matches,
)
from crossface.evaluation.pair_scores import PairListLike, PairStatistics, score_pairs
from crossface.evaluation.report import Report, interval_dict, target_name
from crossface.evaluation.scores import ScoreTable, score_all_pairs

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Arm = Sequence[EmbeddedFaces]
Parts = dict[str, Influence | str]

FMR_TARGETS = (1e-2, 1e-3, 1e-4, 1e-5)


def compare_all_pairs(a: Arm, b: Arm, *, fmr_targets: Sequence[float] = FMR_TARGETS) -> Report:
    """Differences A - B of FNMR at fixed FMRs, EER and AUC over all comparisons.

    Args:
        a: the same faces embedded by each model of arm A.
        b: by each model of arm B.
        fmr_targets: FMRs at which FNMR is compared, each model at its own threshold.

    Returns:
        {protocol, data, data_digest, a, b, n_identities, n_images, differences}; a difference is
        {a, b, value, low, high} with value = a - b, or value None with the reason. FNMR is given
        with all genuine comparisons weighing the same and with all identities weighing the same.

    Raises:
        DataError: if the arms saw different faces.
    """
    arms = on_common_pictures(a, b)
    parts: list[Parts] = []
    sizes = np.empty(0, dtype=np.int64)
    for faces in [*arms[0], *arms[1]]:  # one table at a time: they are large
        table = score_all_pairs(faces)
        sizes = table.sizes
        parts.append(all_pairs_influences(table, fmr_targets))
    count = len(arms[0])
    differences = compare_influences(parts[:count], parts[count:], sizes)
    head = _head("all-pairs", arms)
    return head | {"n_identities": len(sizes), "differences": differences}


def compare_influences(a: Sequence[Parts], b: Sequence[Parts], sizes: Int64Array) -> dict[str, Any]:
    """Differences A - B of statistics whose influences are known, embeddings no longer needed.

    Args:
        a: of each model of arm A, its statistics by name (``all_pairs_influences``); a text in
            place of one says why there is none.
        b: of each model of arm B, the same names.
        sizes: (G,) pictures of each identity, the same for all models.

    Returns:
        Name to {a, b, value, low, high}, as in ``compare_all_pairs``.
    """
    weights = _weights(len(a), len(b))
    few = int(np.sum(sizes > 1)) < MIN_IDENTITIES
    everyone = [*a, *b]
    return {
        name: _difference([parts[name] for parts in everyone], weights, sizes, few=few)
        for name in everyone[0]
    }


def mean_rates(
    arm: Sequence[Parts], sizes: Int64Array, *, errors: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Mean over an arm's models of rates over all pairs, each with its interval.

    The interval is about the people and pictures, as that of a comparison.

    Args:
        arm: of each model, its rates by name (``all_pairs_influences``).
        sizes: (G,) pictures of each identity.
        errors: of a rate that counts errors, how many were seen (their mean over the models).

    Returns:
        Name to {value, low, high}; for one model what ``evaluate_all_pairs`` gives.
    """
    units = int(np.sum(sizes > 1))
    trials = int(np.sum(sizes * (sizes - 1) // 2))
    rates: dict[str, Any] = {}
    for name in arm[0]:
        reason = next((parts[name] for parts in arm if isinstance(parts[name], str)), None)
        if isinstance(reason, str):
            rates[name] = interval_dict(Interval(value=None, reason=reason))
            continue
        found = [part for parts in arm if isinstance(part := parts[name], Influence)]
        whole = combine([(1.0 / len(found), part) for part in found])
        if units < MIN_IDENTITIES:
            few = f"an interval needs {MIN_IDENTITIES} identities"
            rates[name] = interval_dict(Interval(value=whole.value, reason=few))
            continue
        error = spread(whole, sizes)
        seen = (errors or {}).get(name)
        rates[name] = interval_dict(
            rate_interval(
                whole.value, error.variance, df=error.df, trials=trials, units=units, errors=seen
            )
        )
    return rates


def compare_pairs(
    a: Arm,
    b: Arm,
    pairs: PairListLike,
    *,
    list_name: str = "pair list",
    fmr_targets: Sequence[float] = (1e-2, 1e-3),
) -> Report:
    """Differences A - B of accuracy, AUC, EER and TAR at fixed FMRs over a pair list.

    Args:
        a: the same faces embedded by each model of arm A.
        b: by each model of arm B.
        pairs: the list; its keys are the source's.
        list_name: what to call the list in errors.
        fmr_targets: FMRs at which the TAR is compared.

    Returns:
        As ``compare_all_pairs``.

    Raises:
        DataError: if the arms saw different faces, or for a key that is not in the source.
    """
    arms = on_common_pictures(a, b)
    scored = [score_pairs(faces, pairs, list_name=list_name) for faces in [*arms[0], *arms[1]]]
    first, weights = scored[0], _weights(len(arms[0]), len(arms[1]))
    n_impostor = int(np.sum(~first.same))
    reasons = {t: too_few_false_matches(t, n_impostor) for t in fmr_targets}
    given = [target for target, reason in reasons.items() if reason is None]
    statistics = [PairStatistics(one, given) for one in scored]
    values = np.array([one.of_all() for one in statistics])
    variances = group_jackknife(_weighted(statistics, weights), first.a, first.b)
    names = ["accuracy", "AUC", "EER", *(f"TAR at FMR {target_name(t)}" for t in given)]
    differences: dict[str, Any] = {}
    for name, column, variance in zip(names, values.T, variances, strict=True):
        limits = difference_interval(float(weights @ column), float(variance))
        differences[name] = _entry(column, weights, limits, few=bool(np.isnan(variance)))
    for target, reason in reasons.items():
        if reason is not None:
            row = interval_dict(Interval(value=None, reason=reason), a=None, b=None)
            differences[f"TAR at FMR {target_name(target)}"] = row
    head = _head("pairs", arms)
    return head | {"n_identities": first.n_identities, "differences": differences}


def all_pairs_influences(table: ScoreTable, fmr_targets: Sequence[float]) -> Parts:
    """The influences of what ``compare_all_pairs`` compares, by the name it has there.

    Args:
        table: all comparisons of one model.
        fmr_targets: FMRs at which FNMR is compared.

    Returns:
        Name to influence, or to the reason why the statistic is not given.
    """
    parts: Parts = {}
    for suffix, by_identity in (("", False), (" by identity", True)):
        for target in fmr_targets:
            reason = too_few_false_matches(target, table.n_impostor)
            parts[f"FNMR at FMR {target_name(target)}{suffix}"] = (
                FnmrAtFmr(table, target, by_identity=by_identity).influence
                if reason is None
                else reason
            )
    crossing = EqualError.of(table)
    short = "the EER of a model lies beyond the impostor comparisons kept"
    parts["EER"] = short if crossing is None else crossing.influence
    parts["AUC"] = auc_influence(table)
    return parts


def _difference(
    found: Sequence[Influence | str],
    weights: Float64Array,
    sizes: Int64Array,
    *,
    few: bool,
) -> dict[str, Any]:
    parts = [one for one in found if isinstance(one, Influence)]
    if len(parts) < len(found):
        reason = next(one for one in found if isinstance(one, str))
        return interval_dict(Interval(value=None, reason=reason), a=None, b=None)
    whole = combine(list(zip(weights.tolist(), parts, strict=True)))
    error = spread(whole, sizes)
    values = np.array([one.value for one in parts])
    limits = difference_interval(whole.value, error.variance, df=error.df)
    return _entry(values, weights, limits, few=few)


def _entry(
    values: Float64Array, weights: Float64Array, limits: Interval, *, few: bool
) -> dict[str, Any]:
    if limits.value is None or np.isnan(values).any():
        reason = "one of the models gives no figure"
        return interval_dict(Interval(value=None, reason=reason), a=None, b=None)
    if few:
        reason = f"an interval needs {MIN_IDENTITIES} identities"
        limits = Interval(value=limits.value, reason=reason)
    means = [float(values[side].mean()) for side in (weights > 0, weights < 0)]
    return interval_dict(limits, a=means[0], b=means[1])


def _weighted(
    statistics: Sequence[PairStatistics], weights: Float64Array
) -> Callable[[BoolArray], Float64Array]:
    def difference(mask: BoolArray) -> Float64Array:
        values = np.array([one(mask) for one in statistics])
        return np.asarray(weights @ values, dtype=np.float64)

    return difference


def _weights(a: int, b: int) -> Float64Array:
    return np.concatenate([np.full(a, 1.0 / a), np.full(b, -1.0 / b)])


def on_common_pictures(a: Arm, b: Arm) -> tuple[Arm, Arm]:
    """Both arms with the pictures that every model could embed, in one order."""
    everyone = [*a, *b]
    if not a or not b:
        raise DataError(f"a comparison needs a model on each side, got {len(a)} and {len(b)}")
    first = everyone[0]
    for faces in everyone:
        if faces.source_digest != first.source_digest or faces.flip != first.flip:
            raise DataError(
                f"models can only be compared on the same faces with the same flip, got "
                f"{first.source_name} (flip {first.flip}) and {faces.source_name} "
                f"(flip {faces.flip})"
            )
    common = set(first.keys).intersection(*(faces.keys for faces in everyone))
    cut = [_only(faces, common) for faces in everyone]
    return cut[: len(a)], cut[len(a) :]


def _only(faces: EmbeddedFaces, common: set[str]) -> EmbeddedFaces:
    if len(common) == len(faces.keys):
        return faces
    keep = [index for index, key in enumerate(faces.keys) if key in common]
    dropped = [key for key in faces.keys if key not in common]
    return replace(
        faces,
        embeddings=faces.embeddings[keep],
        keys=tuple(faces.keys[index] for index in keep),
        identities=tuple(faces.identities[index] for index in keep),
        norms=None if faces.norms is None else faces.norms[keep],
        failures=(
            *faces.failures,
            *(Failure(key, "another model could not embed it") for key in dropped),
        ),
    )


def _head(protocol: str, arms: tuple[Arm, Arm]) -> Report:
    first = arms[0][0]
    return {
        "protocol": protocol,
        "data": first.source_name,
        "data_digest": first.source_digest,
        "flip": first.flip,
        "a": [faces.contract.model_id for faces in arms[0]],
        "b": [faces.contract.model_id for faces in arms[1]],
        "n_images": len(first.keys),
    }
