"""The public verbs: wires rooms that may not see each other."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from crossface.audit.replacement import ReplacementRules
    from crossface.core.protocols import Embedder, FaceSource
    from crossface.core.types import UInt8Batch
    from crossface.evaluation.embed import EmbeddedFaces
    from crossface.evaluation.report import Report
    from crossface.exporting.onnx import ExportReport
    from crossface.nets.layers import Backbone
    from crossface.search.compat import CompatRecord
    from crossface.training.launch import FinishedRun

PathLike = str | Path

_PARITY_CROPS = 64
_QUANTIZE_CROPS = 256  # to calibrate on, to choose layers by, and to judge by: so many each


def load_model(
    model: PathLike, *, input_spec: str | None = None, threads: int | None = None
) -> Embedder:
    """An embedder from an ONNX file, a safetensors model or a run folder.

    Args:
        model: the file or folder.
        input_spec: a preset name or JSON file for an ONNX file that does not say what it wants.
        threads: CPU threads; all usable cores by default.

    Raises:
        WeightsError: if it cannot be read or does not say what input it wants.
    """
    from crossface.pipeline.runtimes.opening import open_embedder

    return open_embedder(model, input_spec=input_spec, threads=threads)


def train(
    config: PathLike | None = None,
    *,
    out: PathLike | None = None,
    settings: dict[str, Any] | None = None,
    resume: PathLike | None = None,
    progress: bool = True,
) -> FinishedRun:
    """Train a network from labelled pictures with a margin head.

    Args:
        config: a TOML file, or None where ``settings`` say everything.
        out: the run folder; "runs/STUDENT-DATE-TIME" by default.
        settings: nested tables that win over the file, {"data": {"path": ...}} say.
        resume: a run folder to go on with; nothing else may be given then.
        progress: show progress on stderr.

    Raises:
        CrossfaceError: naming what does not fit, or where the run stopped.
    """
    from crossface.training.config import load_config
    from crossface.training.launch import launch
    from crossface.training.run import RunFolder

    if resume is not None:
        return launch(RunFolder(resume).config(), resume, resume=True, show_progress=progress)
    resolved = load_config(config, [], settings or {})
    folder = Path(out) if out is not None else default_run_folder(resolved.student.name)
    return launch(resolved, folder, show_progress=progress)


def distill(
    *,
    teacher: PathLike,
    data: PathLike,
    student: str | Backbone | None = None,
    distiller: str | None = None,
    features: PathLike | None = None,
    config: PathLike | None = None,
    out: PathLike | None = None,
    settings: dict[str, Any] | None = None,
    progress: bool = True,
) -> FinishedRun:
    """Distil a teacher into a student; labels are optional.

    Args:
        teacher: an ONNX file, a safetensors model of ours, or a run folder.
        data: aligned crops: a directory, a zip, a ``.rec`` or "drawn:ids=..".
        student: a network by name, or one made by ``create_model`` (its architecture is used; the
            weights start afresh from the run's seed); the configuration's, or "mobilefacenet".
        distiller: a method of docs/methods.md; the configuration's, or "sp".
        features: one of our networks whose pixel features are used (cadfr, fitnet).
        config: a TOML file for everything else.
        out: the run folder.
        settings: nested tables that win over the file.
        progress: show progress on stderr.

    Returns:
        The finished run; ``run.best`` is the student's file.

    Raises:
        CrossfaceError: naming what does not fit, or where the run stopped.
    """
    tables: dict[str, Any] = {
        "teacher": {"path": str(teacher)},
        "data": {"path": str(data)},
    }
    if distiller is not None or config is None:
        tables["distiller"] = {} if distiller is None else {"name": distiller}
    if student is not None:
        tables["student"] = {"name": student} if isinstance(student, str) else dict(student.arch)
    if features is not None:
        tables["teacher"]["features"] = str(features)
    for name, table in (settings or {}).items():
        both = isinstance(table, dict) and isinstance(tables.get(name), dict)
        tables[name] = {**tables[name], **table} if both else table
    return train(config, out=out, settings=tables, progress=progress)


def evaluate(
    model: PathLike | Embedder,
    protocol: str = "pairs",
    *,
    data: PathLike | FaceSource,
    pairs: PathLike | None = None,
    flip: bool = True,
    input_spec: str | None = None,
    threads: int | None = None,
    options: dict[str, Any] | None = None,
    progress: bool = True,
) -> Report:
    """Measure a model on aligned crops, every figure with its 95 % interval.

    Args:
        model: an ONNX file, a safetensors model, a run folder, or any ``Embedder``.
        protocol: one of ``list_protocols()``.
        data: labelled crops (all-pairs) or crops named by the list (pairs).
        pairs: LFW's ``pairs.txt`` or a CSV with ``fold,a,b,same``; a ``.bin`` holds its own.
        flip: add the mirror image's embedding before normalising, as the field does.
        input_spec: see ``load_model``.
        threads: CPU threads.
        options: of one protocol: {"by_norm": False}, {"by_detector": False} for templates,
            {"conservative": True} for pairs, {"quality": an ``evaluation.quality.Quality``} for
            discard.
        progress: show progress on stderr.

    Returns:
        The report as JSON values; ``evaluation.report.report_table`` makes it a table.

    Raises:
        UnknownName: no such protocol. UsageError: no pair list. DataError: what does not fit.
    """
    from crossface.evaluation.run import open_protocol_data, run_protocol

    opened = open_protocol_data(protocol, data, pairs)
    embedder = model
    if isinstance(model, str | Path):
        embedder = load_model(model, input_spec=input_spec, threads=threads)
    return run_protocol(
        embedder,  # type: ignore[arg-type]
        protocol,
        opened,
        flip=flip,
        options=options,
        progress=progress,
    )


def compare(
    a: PathLike | Embedder,
    b: PathLike | Embedder,
    protocol: str = "all-pairs",
    *,
    data: PathLike | FaceSource,
    pairs: PathLike | None = None,
    flip: bool = True,
    input_spec: str | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> Report:
    """Is A better than B? Paired differences A - B on the same comparisons, with intervals.

    Arguments are those of ``evaluate``; the report holds ``differences``, each {a, b, value, low,
    high}, every model at its own threshold.

    Raises:
        UnknownName: no such protocol. UsageError: no pair list. DataError: what does not fit.
    """
    from crossface.core.errors import UsageError
    from crossface.evaluation.compare import compare_all_pairs, compare_pairs
    from crossface.evaluation.protocols import PROTOCOLS
    from crossface.evaluation.run import pair_list_of

    PROTOCOLS.resolve(protocol)
    if protocol not in {"pairs", "all-pairs"}:
        raise UsageError(f"compare knows the protocols pairs and all-pairs, not {protocol}")
    source = _open(data)
    chosen = pair_list_of(source, pairs) if protocol == "pairs" else None
    first, second = (
        embed(model, source, flip=flip, input_spec=input_spec, threads=threads, progress=progress)
        for model in (a, b)
    )
    if chosen is None:
        return compare_all_pairs([first], [second])
    return compare_pairs([first], [second], chosen[0], list_name=chosen[1])


def compat(
    a: PathLike | Embedder,
    b: PathLike | Embedder,
    *,
    data: PathLike | FaceSource,
    pairs: PathLike | None = None,
    map_from: PathLike | FaceSource | None = None,
    flip: bool = True,
    input_spec: str | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> Report:
    """May a gallery of A be searched with B? FNMR at fixed FMR for A-A, A-B, B-A and B-B.

    Arguments are those of ``evaluate``; all pairs of the set without a pair list. ``map_from``
    are other crops, labelled or not, on which a linear map from B's space into A's is fitted: for
    models that share no space.

    Raises:
        ContractMismatch: vectors of other dimensions. DataError: what does not fit.
    """
    from crossface.evaluation.compatibility import evaluate_compatibility
    from crossface.evaluation.linear_map import fit_linear_map
    from crossface.evaluation.run import pair_list_of

    def embedded(chosen: FaceSource) -> list[EmbeddedFaces]:
        return [
            embed(m, chosen, flip=flip, input_spec=input_spec, threads=threads, progress=progress)
            for m in (a, b)
        ]

    into = None
    if map_from is not None:
        into = fit_linear_map(*embedded(_open(map_from, labels="none")))
    source = _open(data)
    first, second = embedded(source)
    if pairs is None:
        return evaluate_compatibility(first, second, into=into)
    chosen, name = pair_list_of(source, pairs)
    return evaluate_compatibility(first, second, pairs=chosen, list_name=name, into=into)


def compat_record(report: Report, *, fmr: float = 1e-3) -> CompatRecord:
    """What ``compat`` measured, as the leave that a gallery honours (``Gallery.allow``).

    Args:
        report: of ``compat``; A is the gallery's model, B that of the probes.
        fmr: the false match rate at which the four FNMRs are given.

    Raises:
        ContractMismatch: if the models do not share a space.
        DataError: if the data supports no figure at this FMR.
    """
    from crossface.evaluation.compatibility import fnmr_at
    from crossface.search.compat import make_record

    return make_record(report, fnmr_at(report, fmr), fmr=fmr)


def embed(
    model: PathLike | Embedder,
    data: PathLike | FaceSource,
    *,
    flip: bool = True,
    input_spec: str | None = None,
    threads: int | None = None,
    progress: bool = True,
) -> EmbeddedFaces:
    """Unit embeddings of every picture of a set; see ``evaluate`` for the arguments."""
    from crossface.core.errors import DataError
    from crossface.evaluation.embed import embed_faces

    embedder = model
    if isinstance(model, str | Path):
        embedder = load_model(model, input_spec=input_spec, threads=threads)
    faces = embed_faces(embedder, _open(data), flip=flip, progress=progress)  # type: ignore[arg-type]
    if faces.failures and not faces.keys:
        raise DataError(
            f"{faces.source_name}: none of its {len(faces.failures)} pictures can be used, the "
            f"first: {faces.failures[0].reason}"
        )
    return faces


def export(
    model: PathLike,
    out: PathLike,
    *,
    data: PathLike | FaceSource | None = None,
    atol: float = 1e-4,
) -> ExportReport:
    """Write a model as ONNX and refuse it if it differs from the original.

    Args:
        model: a safetensors model or a run folder.
        out: the ONNX file; it appears only if parity holds.
        data: crops to compare on; drawn faces by default.
        atol: largest allowed difference of a number of an embedding, in lengths of the embedding.

    Raises:
        ParityError: if the export differs; nothing is left behind.
    """
    from crossface.exporting.onnx import export_onnx
    from crossface.pipeline.runtimes.opening import model_file

    return export_onnx(model_file(model), out, samples=_sample_crops(data), atol=atol)


def quantize(
    model: PathLike,
    out: PathLike,
    *,
    calibrate: PathLike | FaceSource,
    data: PathLike | FaceSource,
    pairs: PathLike,
    rules: ReplacementRules | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """An ONNX recogniser in 8-bit integers, kept only if it is faster and no less accurate.

    Args:
        model: the float32 file.
        out: the new file; it appears only if the gate lets it through.
        calibrate: aligned 112x112 crops, none of anybody in ``data``.
        data: labelled crops that judge both files.
        pairs: the verification list over them.
        rules: what is asked (``audit.replacement``).
        progress: on stderr.

    Returns:
        {accepted, reasons, quantization, cosine, speed, accuracy, ...}.

    Raises:
        CrossfaceError: a file that cannot be used, or a model that cannot bear it.
    """
    from crossface.audit.replacement import judge_replacement
    from crossface.core.files import atomic_path
    from crossface.core.geometry import retarget_crops
    from crossface.data.formats.pair_list import read_pairs
    from crossface.data.sampling import mixed_crops
    from crossface.exporting.quantize import quantize_onnx

    spec = load_model(model, threads=1).input_spec
    mixed = mixed_crops(_open(calibrate, labels="none"), 3 * _QUANTIZE_CROPS)
    crops, third = retarget_crops(mixed, spec), max(1, len(mixed) // 3)
    faces, listed = _open(data), read_pairs(pairs)
    with tempfile.TemporaryDirectory() as folder:
        tried = Path(folder) / Path(out).name
        made = quantize_onnx(model, tried, crops=crops[:-third], progress=progress)
        report = judge_replacement(
            tried,
            model,
            crops=crops[-third:],
            faces=faces,
            pairs=listed,
            rules=rules,
            progress=progress,
        )
        if report["accepted"]:
            with atomic_path(out) as temporary:
                temporary.write_bytes(tried.read_bytes())
    return report | {"quantization": made.as_json()}


def list_protocols() -> list[str]:
    """Names of the evaluation protocols."""
    from crossface.evaluation.protocols import PROTOCOLS

    return PROTOCOLS.names()


def default_run_folder(student: str) -> Path:
    """The folder of a run that names none: runs/STUDENT-DATE-TIME."""
    return Path("runs") / f"{student}-{time.strftime('%Y%m%d-%H%M%S')}"


def _open(data: PathLike | FaceSource, labels: Literal["auto", "none"] = "auto") -> FaceSource:
    from crossface.data import open_faces

    return open_faces(data, labels=labels) if isinstance(data, str | Path) else data


def _sample_crops(data: PathLike | FaceSource | None) -> UInt8Batch:
    from crossface.data.sampling import even_crops

    return even_crops(
        _open("drawn:ids=16,per_id=4,seed=1" if data is None else data), _PARITY_CROPS
    )
