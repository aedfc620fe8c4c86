"""A protocol by name, from embedder and data to the report."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
LIST_IF_GIVEN = {ROBUSTNESS, "discard"}
"""Protocols that take a list where there is one, and a labelled set where there is none."""


@dataclass(frozen=True, slots=True)
class ProtocolData:
    """What a protocol measures on.

    Attributes:
        source: the faces.
        pairs: the list of pairs, where the protocol takes one.
        list_name: its name.
    """

    source: FaceSource
    pairs: PairListLike | None = None
    list_name: str = "pair list"


def open_protocol_data(
    protocol: str, data: str | Path | FaceSource, pairs: str | Path | None = None
) -> ProtocolData:
    """The faces of a protocol, by the reader of its layout where it has one, and its list.

    Args:
        protocol: one of ``PROTOCOLS``.
        data: a face set, or the folder of a benchmark.
        pairs: LFW's ``pairs.txt`` or a CSV; a ``.bin`` holds its own list.

    Raises:
        UnknownName: no such protocol. UsageError: no pair list.
        DataError: if there is nothing there, or it does not have the layout.
    """
    PROTOCOLS.resolve(protocol)
    source = _open(protocol, data)
    if protocol != "pairs" and protocol not in LIST_IF_GIVEN:
        return ProtocolData(source)
    if protocol in LIST_IF_GIVEN and pairs is None and not hasattr(source, "pairs"):
        return ProtocolData(source)
    return ProtocolData(source, *pair_list_of(source, pairs))


def run_protocol(
    embedder: Embedder,
    protocol: str,
    data: ProtocolData,
    *,
    flip: bool = True,
    ladders: Sequence[str] = (),
    figures: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> Report:
    """Embed the faces and measure.

    Args:
        embedder: any embedder.
        protocol: one of ``PROTOCOLS``.
        data: from ``open_protocol_data``.
        flip: add the mirror image's embedding before normalising.
        ladders: kinds of degradation for ``robustness``; all by default.
        figures: add ``report["figures"]``, what charts need (pairs and all-pairs).
        options: of this protocol alone: ``by_norm``, ``by_detector``, ``conservative``,
            ``quality``.
        progress: show progress on stderr.

    Raises:
        UnknownName: no such protocol. UsageError: what cannot be meant.
        DataError: what does not fit.
    """
    run = PROTOCOLS.resolve(protocol)
    source = data.source
    report: Report
    own = _own_options(run, protocol, options or {})
    if protocol == ROBUSTNESS:
        own |= {"kinds": tuple(ladders)} if ladders else {}
        own |= {"pairs": data.pairs, "list_name": data.list_name}
        report = run(embedder, source, flip=flip, progress=progress, **own)
        return report
    if ladders:
        raise UsageError(f"ladders belong to the protocol {ROBUSTNESS}, not to {protocol}")
    faces = embed_faces(embedder, source, flip=flip, progress=progress)
    if faces.failures and not faces.keys:
        raise DataError(
            f"{faces.source_name}: none of its {len(faces.failures)} pictures can be used, the "
            f"first: {faces.failures[0].reason}"
        )
    if data.pairs is not None:
        report = run(faces, data.pairs, list_name=data.list_name, **own)
    else:
        report = run(faces, source, **own) if protocol in READERS else run(faces, **own)
    if figures and protocol in {"pairs", "all-pairs"}:
        report |= {"figures": _figures(faces, data)}
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


def _own_options(
    run: Callable[..., Report], protocol: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options, if the protocol takes them all."""
    known = inspect.signature(run).parameters
    for name in options:
        if name not in known:
            raise UsageError(f"the protocol {protocol} has no {name.replace('_', ' ')}")
    return dict(options)


def _open(protocol: str, data: str | Path | FaceSource) -> FaceSource:
    if not isinstance(data, str | Path):
        return data
    if protocol not in READERS:
        return open_faces(data)
    if not Path(data).is_dir():
        raise DataError(f"{data}: protocol {protocol} needs the folder of the benchmark")
    return cast(FaceSource, READERS.resolve(protocol)(data))


def _figures(faces: EmbeddedFaces, data: ProtocolData) -> dict[str, Any]:
    from crossface.evaluation.figures import all_pairs_figures_of, pair_figures_of

    if data.pairs is not None:
        return pair_figures_of(faces, data.pairs, list_name=data.list_name)
    return all_pairs_figures_of(faces)
