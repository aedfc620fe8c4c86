"""Influences of a model's error rates in a small file, so that models can be compared later.

A paired interval needs, of each model, how much every identity and every pair of identities moves
its error rate, and nothing else: neither the weights nor the embeddings. For a set of LFW's size
(13,000 pictures, 90 million impostor comparisons) FNMR at FMR 1e-3 and 1e-4 take about 150 kB.

What makes it small: the pairs of identities with false matches are sorted, so their gaps are kept;
the values of those pairs are few (a slope times a count), so each is kept once; two statistics at
one threshold share the pairs. All of that is exact; the (G,) vectors are rounded to float32.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.files import atomic_path
from crossface.evaluation.influence import Influence

Int64Array = npt.NDArray[np.int64]
Arrays = dict[str, npt.NDArray[Any]]

_VERSION = 1


def save_influences(
    path: str | Path, parts: dict[str, Influence | str], sizes: Int64Array, keys: tuple[str, ...]
) -> None:
    """Write influences, whole or not at all.

    Args:
        path: an ``.npz`` file.
        parts: statistics by name; a text in place of one says why there is none.
        sizes: (G,) pictures of each identity.
        keys: names of the pictures compared; only their digest is kept.
    """
    arrays: Arrays = {
        "version": np.array(_VERSION),
        "names": np.array(list(parts)),
        "sizes": _narrow(sizes),
        "pictures": np.array(hashlib.sha256("\n".join(keys).encode()).hexdigest()),
    }
    shared: dict[bytes, int] = {}
    for number, part in enumerate(parts.values()):
        if isinstance(part, str):
            arrays[f"reason_{number}"] = np.array(part)
            continue
        first = shared.setdefault(part.dyads.tobytes(), number)
        if first == number:
            arrays[f"gaps_{number}"] = _narrow(np.diff(part.dyads, prepend=0))
        levels, of_pair = np.unique(part.dyad, return_inverse=True)
        arrays[f"level_{number}"] = _narrow(of_pair.astype(np.int64))
        arrays[f"levels_{number}"] = levels
        arrays[f"node_{number}"] = part.node.astype(np.float32)
        arrays[f"numbers_{number}"] = np.array([part.value, part.dyad_base, first])
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # numpy's stub


def load_influences(path: str | Path) -> tuple[dict[str, Influence | str], Int64Array, str]:
    """What ``save_influences`` wrote: the statistics by name, the sizes, the pictures' digest.

    Raises:
        DataError: if the file cannot be read or is no such file.
    """
    place = Path(path)
    try:
        # numpy leaves a file open that it finds broken, so it is opened here
        with place.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays: Arrays = {name: stored[name] for name in stored.files}
        if int(arrays["version"]) != _VERSION:
            raise ValueError(f"version {arrays['version']}, expected {_VERSION}")
        names = [str(name) for name in arrays["names"]]
        parts = {name: _part(arrays, number) for number, name in enumerate(names)}
        return parts, arrays["sizes"].astype(np.int64), str(arrays["pictures"])
    except (OSError, EOFError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{place.name}: expected a file of influences: {error}") from None


def _part(arrays: Arrays, number: int) -> Influence | str:
    if f"reason_{number}" in arrays:
        return str(arrays[f"reason_{number}"])
    value, base, first = arrays[f"numbers_{number}"].tolist()
    return Influence(
        value=value,
        node=arrays[f"node_{number}"].astype(np.float64),
        dyads=np.cumsum(arrays[f"gaps_{int(first)}"].astype(np.int64)),
        dyad=arrays[f"levels_{number}"][arrays[f"level_{number}"]],
        dyad_base=base,
    )


def _narrow(whole: Int64Array) -> npt.NDArray[np.unsignedinteger[Any]]:
    """The same numbers (>= 0) in the narrowest unsigned type."""
    highest = int(whole.max(initial=0))
    narrowest = next(t for t in (np.uint8, np.uint16, np.uint32, np.uint64)
                     if highest <= np.iinfo(t).max)  # fmt: skip
    return whole.astype(narrowest)
