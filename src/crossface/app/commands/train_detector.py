"""``crossface train-detector``: crossface's own face detector, from permissive parts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossface.app.options import JsonOut, Out, Resume, Seed, Set, Steps

if TYPE_CHECKING:
    from crossface.training.detector.train import TrainedDetector


def command(  # noqa: PLR0913, PLR0917  # a command's options
    context: typer.Context,
    config: Annotated[Path | None, typer.Argument(help="TOML configuration.")] = None,
    crops: Annotated[
        str | None, typer.Option(help="Aligned crops: directory, zip, .rec. Without: drawn only.")
    ] = None,
    detectors: Annotated[
        list[Path] | None, typer.Option("--detector", help="ONNX that labels crops; repeat.")
    ] = None,
    pose: Annotated[
        list[Path] | None, typer.Option(help="FSA-Net file: head pose of crops; repeat.")
    ] = None,
    steps: Steps = None,
    seed: Seed = None,
    assignments: Set = None,
    out: Out = None,
    resume: Resume = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="With --resume: export what there is, train no more.")
    ] = False,
    onnx: Annotated[
        Path | None, typer.Option(help="The ONNX file, with a card .json beside it [in the run].")
    ] = None,
    json_out: JsonOut = None,
) -> None:
    """Train a small face detector on composed scenes and export it.

    Crops are labelled once by permissive detectors and pasted, with drawn people, over procedural
    grounds. The ONNX file tells five landmarks and the head pose of every face; a second one beside
    it looks again at each.
    """
    from crossface.api import default_run_folder
    from crossface.app.output import show_json
    from crossface.core.errors import UsageError
    from crossface.training.config import (
        assign,
        config_json,
        merge_tables,
        parse_as,
        read_toml,
    )
    from crossface.training.detector.config import DetectorConfig
    from crossface.training.detector.train import config_of, train_detector

    base: dict[str, Any] = {
        name: value for name, value in (("steps", steps), ("seed", seed)) if value is not None
    }
    told = {
        "path": crops,
        "detectors": [str(path) for path in detectors or ()],
        "pose": [str(path) for path in pose or ()],
    }
    told = {name: value for name, value in told.items() if value}
    if told:
        base["crops"] = told
    if finish and resume is None:
        raise UsageError("--finish belongs to --resume")
    if onnx is not None and onnx.suffix != ".onnx":
        raise UsageError(f"--onnx: expected a file named *.onnx, got {onnx.name}")
    if resume is not None:
        given = config is not None or assignments or out is not None or set(base) - {"steps"}
        if given:
            raise UsageError(
                "--resume goes on with the run's own configuration; only --steps may be another"
            )
        document = config_json(config_of(resume)) | base
        folder, settings = resume, parse_as(DetectorConfig, document, source="the command line")
    else:
        document = {} if config is None else read_toml(config)
        merge_tables(document, base)
        for assignment in assignments or []:
            assign(document, assignment)
        name = "the command line" if config is None else config.name
        settings = parse_as(DetectorConfig, document, source=name)
        folder = out or default_run_folder("detector")
    trained = train_detector(
        settings,
        folder,
        resume=resume is not None,
        finish=finish,
        show_progress=not context.obj["quiet"],
    )
    result = _export(trained, folder, onnx or folder / "detector.onnx")
    if json_out is not None:
        show_json(result, json_out)
        return
    for key, value in result.items():
        print(f"{key:24} {value}")


def _export(trained: TrainedDetector, folder: Path, file: Path) -> dict[str, Any]:
    """Write the ONNX file and the card beside it; what to tell the user."""
    from crossface.core.files import sha256_file, write_json
    from crossface.exporting.detector import export_detector, export_landmarks
    from crossface.pipeline.detectors.own import LandmarksFile
    from crossface.training.detector.card import training_card

    card = training_card(trained)
    second: LandmarksFile | None = None
    parity: dict[str, Any] = {}
    size = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".detector-", dir=file.parent) as scratch:
        whole = Path(scratch) / file.name
        if trained.second is not None:
            beside = whole.with_name(f"{file.stem}_landmarks.onnx")
            made = export_landmarks(trained.second, beside, training=card)
            second = LandmarksFile(file=beside.name, sha256=sha256_file(beside))
            parity, size = {"landmarks": made.max_difference}, made.size_bytes
        export = export_detector(
            trained.net,
            whole,
            min_score=trained.figures.min_score,
            scene_px=trained.config.scenes.side_px,
            training=card,
            second=second,
        )
        for made_file in sorted(Path(scratch).iterdir(), reverse=True):  # the second look first
            made_file.replace(file.with_name(made_file.name))
    result: dict[str, Any] = {
        "run": str(folder),
        "model": str(file),
        "size_bytes": export.size_bytes + size,
        "sha256": sha256_file(file),
        **card["validation"],
    }
    written = {
        "file": file.name,
        "sha256": result["sha256"],
        "landmarks": None if second is None else second.model_dump(),
        "size_bytes": result["size_bytes"],
        "opset": export.opset,
        "parity": export.max_difference | parity,
    }
    write_json(file.with_suffix(".json"), written | card)
    return result
