"""A verification list from a labelled set: identity-disjoint folds, written as CSV or ``.bin``.

A list is only as comparable as its pictures: one set aligned in two ways gives accuracies that
are points apart under the same name. So a record is written beside it with the template's digest
and a hash over the very pixels.
"""

from __future__ import annotations

import csv
import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossface.core.contract import InputSpec
from crossface.core.errors import DataError, UsageError
from crossface.core.files import atomic_path, write_json
from crossface.core.progress import track
from crossface.core.protocols import FaceSource
from crossface.core.seeds import derive_seed, generator
from crossface.core.types import UInt8Image
from crossface.data.dataset import identities_of
from crossface.data.formats.pair_list import CSV_COLUMNS, Pair, PairList

BIN_FOLDS = 10
_TRIES_PER_PAIR = 200


def build_pairs(
    source: FaceSource, *, pairs_per_fold: int = 300, folds: int = 10, seed: int = 0
) -> PairList:
    """Genuine and impostor pairs, ``pairs_per_fold`` of each per fold, as LFW's view 2.

    Identities are dealt to folds so that nobody stands in two. Genuine pairs go round the
    identities, so that one person with many pictures does not fill a fold; no pair stands twice.

    Args:
        source: a labelled set; pictures without identity take no part.
        pairs_per_fold: genuine pairs in a fold, and impostor pairs.
        folds: at least 1.
        seed: another seed, another list.

    Raises:
        UsageError: if a number is not positive.
        DataError: if the set cannot give so many pairs, saying how many it can.
    """
    if pairs_per_fold < 1 or folds < 1:
        raise UsageError(
            f"a list needs at least one fold and one pair, got {folds} and {pairs_per_fold}"
        )
    pictures: dict[str, list[str]] = {}
    for index, identity in enumerate(identities_of(source)):
        if identity is not None:
            pictures.setdefault(identity, []).append(source.key(index))
    pairs: list[Pair] = []
    for fold, people in enumerate(_deal(pictures, folds, seed)):
        own = {person: pictures[person] for person in people}
        place = f"{source.name}: fold {fold} of {folds}"
        pairs += _genuine(own, fold, pairs_per_fold, seed, place)
        pairs += _impostor(own, fold, pairs_per_fold, seed, place)
    return PairList(name=f"{source.name}, seed {seed}", pairs=tuple(pairs))


def write_list(
    source: FaceSource, pairs: PairList, out: str | Path, *, progress: bool = True
) -> dict[str, Any]:
    """Write a list as ``.csv`` or ``.bin``, and its record as JSON beside it.

    Args:
        source: where the pictures are.
        pairs: the list.
        out: the file; the record is ``out`` with ``.json`` appended.
        progress: show progress on stderr.

    Returns:
        The record: {list, data, data_digest, folds, n_pairs, n_pictures, n_identities, alignment}.

    Raises:
        UsageError: another suffix, or a ``.bin`` of other than ten equal folds.
        ImageError: naming a picture that is not an aligned 112x112 crop.
    """
    path = Path(out)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".bin"):
        raise UsageError(f"{path.name}: a list of pairs is written as .csv or .bin")
    if suffix == ".bin" and [f for f, _ in _bin_order(pairs)] != [p.fold for p in pairs.pairs]:
        raise UsageError(
            f"{path.name}: a .bin has ten folds of one size by its layout; write a .csv for "
            f"{len(pairs.folds)} folds"
        )
    place = {source.key(index): index for index in range(len(source))}
    keys = sorted({key for pair in pairs.pairs for key in (pair.a, pair.b)})
    crops = {
        key: hashlib.sha256(source.read(place[key]).tobytes()).hexdigest()
        for key in track(keys, f"reading {source.name}", enabled=progress)
    }
    if suffix == ".csv":
        _write_csv(path, pairs)
    else:
        pictures = (_encoded(source, place[k]) for p in pairs.pairs for k in (p.a, p.b))
        write_bin(path, pictures, [pair.same for pair in pairs.pairs])
    record = {
        "list": path.name,
        "data": source.name,
        "data_digest": source.digest(),
        "folds": len(pairs.folds),
        "n_pairs": len(pairs),
        "n_pictures": len(keys),
        "n_identities": len({source.identity(place[key]) for key in keys}),
        "alignment": {"template": InputSpec().digest, "crops": alignment_hash(crops)},
    }
    write_json(path.with_name(path.name + ".json"), record)
    return record


def alignment_hash(crop_digests: dict[str, str]) -> str:
    """Hex sha256 over a set's aligned pixels: the same set aligned otherwise has another hash.

    Args:
        crop_digests: hex sha256 of each crop's (112, 112, 3) RGB bytes, by key.
    """
    digest = hashlib.sha256(InputSpec().digest.encode())
    for key in sorted(crop_digests):
        digest.update(f"{key}\x1f{crop_digests[key]}\x1e".encode())
    return digest.hexdigest()


def write_bin(path: Path, pictures: Iterable[bytes], same: Sequence[bool]) -> None:
    """Write InsightFace's ``.bin``: the pickled pair (encoded pictures, same or not).

    The opcodes are those Python 2 wrote, which every reader of such files knows: pictures are
    byte strings (load with ``encoding="bytes"`` in Python 3).

    Args:
        path: the file.
        pictures: two per pair, in order.
        same: one per pair.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(b"\x80\x02](")  # protocol 2, a list, mark
        for picture in pictures:
            stream.write(b"T" + struct.pack("<i", len(picture)) + picture)
        stream.write(b"e](")  # append all; the second list
        stream.write(b"".join(b"\x88" if one else b"\x89" for one in same))
        stream.write(b"e\x86.")  # append all, a pair of the two, end


def _deal(pictures: dict[str, list[str]], folds: int, seed: int) -> Iterator[list[str]]:
    """People of each fold; those with several pictures are dealt first, so that folds are alike."""
    by_hash = sorted(pictures, key=lambda person: derive_seed(seed, "fold", person))
    several = [person for person in by_hash if len(pictures[person]) > 1]
    single = [person for person in by_hash if len(pictures[person]) == 1]
    dealt = several + single
    for fold in range(folds):
        yield sorted(dealt[fold::folds])


def _genuine(
    own: dict[str, list[str]], fold: int, wanted: int, seed: int, place: str
) -> list[Pair]:
    possible = sum(len(keys) * (len(keys) - 1) // 2 for keys in own.values())
    if possible < wanted:
        raise DataError(
            f"{place} can give {possible} genuine pairs of {len(own)} people, {wanted} are asked "
            "for: take fewer folds or pairs per fold"
        )
    rng = generator(seed, "genuine", fold)
    waiting: list[list[tuple[str, str]]] = []
    for keys in own.values():
        first, second = np.triu_indices(len(keys), 1)
        shuffled = rng.permutation(len(first))
        waiting.append([(keys[first[n]], keys[second[n]]) for n in shuffled])
    order = rng.permutation(len(waiting)).tolist()
    chosen: list[Pair] = []
    turn = 0
    while len(chosen) < wanted:
        for person in order:
            if turn < len(waiting[person]) and len(chosen) < wanted:
                a, b = waiting[person][turn]
                chosen.append(Pair(fold, a, b, same=True))
        turn += 1
    return chosen


def _impostor(
    own: dict[str, list[str]], fold: int, wanted: int, seed: int, place: str
) -> list[Pair]:
    people = list(own)
    total = sum(map(len, own.values()))
    possible = (total**2 - sum(len(keys) ** 2 for keys in own.values())) // 2
    if possible < wanted:
        raise DataError(
            f"{place} can give {possible} impostor pairs of {len(people)} people, {wanted} are "
            "asked for: take fewer folds or pairs per fold"
        )
    rng = generator(seed, "impostor", fold)
    chosen: dict[tuple[str, str], None] = {}
    for _ in range(_TRIES_PER_PAIR * wanted):
        if len(chosen) == wanted:
            break
        first, second = rng.choice(len(people), size=2, replace=False).tolist()
        a, b = (own[people[p]][int(rng.integers(len(own[people[p]])))] for p in (first, second))
        chosen.setdefault((min(a, b), max(a, b)))
    if len(chosen) < wanted:
        raise DataError(
            f"{place}: {wanted} different impostor pairs are nearly all there are ({possible}): "
            "take fewer pairs per fold"
        )
    return [Pair(fold, a, b, same=False) for a, b in chosen]


def _bin_order(pairs: PairList) -> list[tuple[int, int]]:
    """(fold, row) as readers of a ``.bin`` cut it: ten consecutive parts."""
    parts = np.array_split(np.arange(len(pairs)), BIN_FOLDS)
    return [(fold, row) for fold, rows in enumerate(parts) for row in rows.tolist()]


def _write_csv(path: Path, pairs: PairList) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        writer.writerows((pair.fold, pair.a, pair.b, int(pair.same)) for pair in pairs.pairs)


def _encoded(source: FaceSource, index: int) -> bytes:
    """The stored bytes where every decoder knows them, else the pixels as PNG, without loss."""
    stored = getattr(source, "encoded", None)
    if stored is not None:
        data = bytes(stored(index))
        if data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
            return data
    return _png(source.read(index))


def _png(crop: UInt8Image) -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(crop).save(stream, "PNG")
    return stream.getvalue()
