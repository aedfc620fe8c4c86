"""A protocol by name, from embedder and data to the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from crossface.core.errors import DataError, UsageError
from crossface.core.protocols import Embedder, FaceSource
from crossface.core.registry import Registry
from crossface.data import open_faces
from crossface.data.formats.pair_list import read_pairs
from crossface.evaluation.embed import EmbeddedFaces, embed_faces
from crossface.evaluation.pair_scores import PairListLike
from crossface.evaluation.protocols import PROTOCOLS
from crossface.evaluation.report import Report

READERS = Registry(
    "reader of a benchmark",
    {
        "ijb-1n": "crossface.data.formats.ijb:IjbFaces",
        "ijbb-11": "crossface.data.formats.ijb:IjbFaces",
        "ijbc-11": "crossface.data.formats.ijb:IjbFaces",
        "rfw": "crossface.data.formats.rfw:RfwFaces",
        "ytf": "crossface.data.formats.video_folder:VideoFaces",
    },
)
"""Protocols whose data has a published layout of its own; the others open any face set."""

ROBUSTNESS = "robustness"


def open_protocol_data(protocol: str, data: str | Path | FaceSource) -> FaceSource:
    """The faces of a protocol, by the reader of its layout where it has one.

    Raises:
        DataError: if there is nothing there, or it does not have the layout.
    """
    if not isinstance(data, str | Path):
        return data
    if protocol not in READERS:
        return open_faces(data)
    if not Path(data).is_dir():
        raise DataError(f"{data}: protocol {protocol} needs the folder of the benchmark")
    return cast(FaceSource, READERS.resolve(protocol)(data))


def run_protocol(
    embedder: Embedder,
    protocol: str,
    source: FaceSource,
    *,
    pairs: str | Path | None = None,
    flip: bool = True,
    ladders: Sequence[str] = (),
    figures: bool = False,
    progress: bool = True,
) -> Report:
    """Embed a source and measure it.

    Args:
        embedder: any embedder.
        protocol: one of ``PROTOCOLS``.
        source: from ``open_protocol_data``.
        pairs: LFW's ``pairs.txt`` or a CSV; a ``.bin`` holds its own list.
        flip: add the mirror image's embedding before normalising.
        ladders: kinds of degradation for ``robustness``; all by default.
        figures: add ``report["figures"]``, what charts need (pairs and all-pairs).
        progress: show progress on stderr.

    Raises:
        UnknownName: no such protocol. UsageError: no pair list. DataError: what does not fit.
    """
    run = PROTOCOLS.resolve(protocol)
    if ladders and protocol != ROBUSTNESS:
        raise UsageError(f"ladders belong to the protocol {ROBUSTNESS}, not to {protocol}")
    report: Report
    if protocol == ROBUSTNESS:
        options: dict[str, Any] = {"kinds": tuple(ladders)} if ladders else {}
        own = pairs is not None or hasattr(source, "pairs")
        if own:
            options["pairs"], options["list_name"] = pair_list_of(source, pairs)
        report = run(embedder, source, flip=flip, progress=progress, **options)
        return report
    chosen = pair_list_of(source, pairs) if protocol == "pairs" else None
    faces = embed_faces(embedder, source, flip=flip, progress=progress)
    if faces.failures and not faces.keys:
        raise DataError(
            f"{faces.source_name}: none of its {len(faces.failures)} pictures can be used, the "
            f"first: {faces.failures[0].reason}"
        )
    if chosen is not None:
        report = run(faces, chosen[0], list_name=chosen[1])
    else:
        report = run(faces, source) if protocol in READERS else run(faces)
    if figures:
        report |= {"figures": _figures(faces, protocol, chosen)} if _has_figures(protocol) else {}
    return report


def pair_list_of(source: FaceSource, pairs: str | Path | None) -> tuple[PairListLike, str]:
    """The list of a file, or the source's own, and its name.

    Raises:
        UsageError: if there is neither.
    """
    if pairs is not None:
        return read_pairs(pairs), Path(pairs).name
    own = getattr(source, "pairs", None)
    if own is None:
        raise UsageError(
            f"{source.name}: protocol 'pairs' needs a list: --pairs pairs.txt, or a CSV with "
            "fold,a,b,same"
        )
    return own, source.name


def _has_figures(protocol: str) -> bool:
    return protocol in {"pairs", "all-pairs"}


def _figures(
    faces: EmbeddedFaces, protocol: str, chosen: tuple[PairListLike, str] | None
) -> dict[str, Any]:
    from crossface.evaluation.figures import all_pairs_figures_of, pair_figures_of

    if chosen is not None:
        return pair_figures_of(faces, chosen[0], list_name=chosen[1])
    return all_pairs_figures_of(faces)
