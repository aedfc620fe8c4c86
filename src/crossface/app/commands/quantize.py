"""``crossface quantize``: a recogniser in 8-bit integers, refused unless it is worth it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossface.app.options import Crops, JsonOut


def command(  # noqa: PLR0917  # a command's options
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="ONNX recogniser in float32.")],
    out: Annotated[Path, typer.Argument(help="The new file; written only if it is accepted.")],
    calibrate: Annotated[
        str, typer.Option(help="Aligned crops to calibrate on, of nobody in --data.")
    ],
    data: Crops,
    pairs: Annotated[Path, typer.Option(help="LFW pairs.txt or CSV with fold,a,b,same.")],
    speedup: Annotated[
        float, typer.Option(min=0.1, help="How many times as fast it must be at least.")
    ] = 1.3,
    loss: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Accuracy it may lose at most, as a share.")
    ] = 0.003,
    cosine: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least mean cosine to the original.")
    ] = 0.99,
    json_out: JsonOut = None,
) -> None:
    """Quantise layers to 8 bits where they bear it; keep the file only if it may replace MODEL."""
    from crossface import api
    from crossface.app.output import show_json
    from crossface.audit.replacement import ReplacementRules
    from crossface.core.errors import ParityError

    report = api.quantize(
        model,
        out,
        calibrate=calibrate,
        data=data,
        pairs=pairs,
        rules=ReplacementRules(speedup, loss, cosine),
        progress=not context.obj["quiet"],
    )
    if json_out is not None:
        show_json(report, json_out)
    if str(json_out) != "-":
        for line in lines(report):
            print(line)
    if not report["accepted"]:
        raise ParityError(f"{out.name}: not kept: {'; '.join(report['reasons'])}")


def lines(report: dict[str, object]) -> list[str]:
    """The report for a terminal."""
    made, cosine, accuracy, speed = (
        report[key] for key in ("quantization", "cosine", "accuracy", "speed")
    )
    kept = ", ".join(made["kept"]) or "none"  # type: ignore[index]
    told = [
        f"layers in float32         {kept} (of {made['layers']})",  # type: ignore[index]
        f"bytes                     {made['size_bytes']}",  # type: ignore[index]
        f"mean cosine               {cosine['mean']:.4f} (least {cosine['least']:.4f})",  # type: ignore[index]
        f"accuracy, new minus old   {_points(accuracy)} points",  # type: ignore[arg-type]
    ]
    for runtime, found in speed.items():  # type: ignore[attr-defined]
        if "reason" in found:
            told.append(f"{runtime:25} {found['reason']}")
            continue
        ratio, times = found["speedup"], found["milliseconds"]
        told.append(
            f"{runtime:25} {ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}] times as "
            f"fast: {times['new']['median']:.2f} ms instead of {times['old']['median']:.2f}"
        )
    return told


def _points(entry: dict[str, float | None]) -> str:
    if entry["value"] is None or entry["low"] is None or entry["high"] is None:
        return "unknown"
    value, low, high = (100 * entry[key] for key in ("value", "low", "high"))  # type: ignore[operator]
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"
