"""``crossface bench``: how fast, how much memory, and what is reached in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from crossface.app.options import HtmlOut, InputSpecOption, JsonOut, Model

N = TypeVar("N", int, float)


def command(  # noqa: PLR0913, PLR0917  # a command's options
    context: typer.Context,
    model: Model,
    threads: Annotated[str, typer.Option(help="Numbers of threads, with commas.")] = "1",
    batch: Annotated[str, typer.Option(help="Crops per call, with commas.")] = "1,8",
    seconds: Annotated[float, typer.Option(min=0.01, help="Spent on each cell.")] = 2.0,
    fruits: Annotated[
        bool, typer.Option("--fruits", help="Time the whole pipeline on one thread instead.")
    ] = False,
    detector: Annotated[
        str | None, typer.Option(help="With --fruits: ONNX file or name [crossface's own].")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="With --fruits: folder or zip of photographs.")
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="With --fruits: LFW pairs.txt or CSV with fold,a,b,same, for accuracy."),
    ] = None,
    budgets: Annotated[
        str, typer.Option(help="With --fruits: milliseconds a picture may take, with commas.")
    ] = "100,500,1000",
    passes: Annotated[int, typer.Option(help="With --fruits: times over all pictures.")] = 3,
    max_side: Annotated[
        int, typer.Option(min=32, help="With --fruits: largest side the detector sees, in pixels.")
    ] = 640,
    flip: Annotated[
        bool, typer.Option("--flip", help="With --fruits: embed the mirror image too.")
    ] = False,
    html: HtmlOut = None,
    input_spec: InputSpecOption = None,
    json_out: JsonOut = None,
) -> None:
    """Latency (median, 95th percentile), throughput and memory of an embedder, with the machine.

    With --fruits: decoding, detection, alignment and embedding on one core and one thread, and the
    accuracy reached within the budgets where late pictures count as not recognised.
    """
    from crossface.app.output import show_json
    from crossface.audit.bench_text import bench_text
    from crossface.evaluation.html import write_html
    from crossface.training.run import environment

    _check(fruits, detector, pictures, {"pairs": pairs, "flip": flip})
    progress = not context.obj["quiet"]
    if fruits:
        from crossface.audit.fruits import FruitsJob, bench_fruits
        from crossface.core.weights import DEFAULT_DETECTOR

        job = FruitsJob(
            model,
            str(detector or DEFAULT_DETECTOR),
            str(pictures),
            pairs=None if pairs is None else str(pairs),
            budgets_ms=_numbers("budgets", budgets, float),
            passes=passes,
            max_side_px=max_side,
            flip=flip,
            input_spec=input_spec,
            progress=progress,
        )
        report = bench_fruits(job)
    else:
        from crossface.audit.speed import bench_embedder

        report = bench_embedder(
            model,
            threads=_numbers("threads", threads, int),
            batches=_numbers("batch", batch, int),
            seconds=seconds,
            input_spec=input_spec,
            progress=progress,
        )
    report |= environment()
    if html is not None:
        write_html(report, html)
    if json_out is not None:
        show_json(report, json_out)
    if str(json_out) != "-":
        print(bench_text(report))


def _check(
    fruits: bool, detector: str | None, pictures: Path | None, others: dict[str, Any]
) -> None:
    from crossface.core.errors import UsageError

    if fruits:
        if pictures is None:
            raise UsageError("--fruits times a whole pipeline: --pictures is missing")
        return
    every = {"detector": detector, "pictures": pictures} | others
    given = [name for name, value in every.items() if value]
    if given:
        raise UsageError(f"--{given[0]} belongs to --fruits, which is missing")


def _numbers(name: str, text: str, kind: Callable[[str], N]) -> list[N]:
    from crossface.core.errors import UsageError

    try:
        return [kind(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise UsageError(
            f"--{name}: expected numbers with commas between them, got {text!r}"
        ) from None
