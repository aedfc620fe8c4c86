"""How fast an embedder is and how much memory it takes, for crops that are ready."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from crossface.audit.timing import memory_mib, peak_memory_mib, run_apart, timing
from crossface.core.errors import UsageError
from crossface.core.progress import Progress
from crossface.core.protocols import Embedder
from crossface.core.seeds import generator
from crossface.pipeline.runtimes.opening import open_embedder
from crossface.pipeline.runtimes.sessions import available_cores

WARM_UP, LEAST_RUNS = 3, 10
MAX_BATCH = 4096

Report = dict[str, Any]


def bench_embedder(
    model: str,
    *,
    threads: Sequence[int] = (1,),
    batches: Sequence[int] = (1, 8),
    seconds: float = 2.0,
    input_spec: str | None = None,
    progress: bool = True,
) -> Report:
    """Latency, throughput and memory of an embedder, each number of threads in its own process.

    Timed: normalising (N, H, W, 3) uint8 crops of noise and the network. Not timed: opening the
    file, decoding, detection, alignment, and the first three runs of each cell.

    Args:
        model: ONNX file, safetensors model or run folder.
        threads: numbers of threads.
        batches: crops per call.
        seconds: spent on each cell, at least ten runs.
        input_spec: see ``open_embedder``.
        progress: show progress on stderr.

    Returns:
        The report: ``cells``, a row for each number of threads and batch size.

    Raises:
        UsageError: a number below 1, or a batch above 4096.
        WeightsError: a model that cannot be opened.
    """
    for name, values, most in (("threads", threads, 1024), ("batch", batches, MAX_BATCH)):
        if not values or min(values) < 1 or max(values) > most:
            raise UsageError(f"--{name}: expected numbers from 1 to {most}, got {list(values)}")
    contract = open_embedder(model, input_spec=input_spec, threads=1).contract  # errors come here
    report: Report = {
        "model": contract.model_id,
        "contract_id": contract.contract_id,
        "protocol": "embedder speed",
        "timed": "normalising uint8 crops and the network",
        "not_timed": f"opening, decoding, detection, alignment, the first {WARM_UP} runs",
        "warnings": _too_many(threads),
        "cells": [],
        "opening": [],
    }
    with Progress("bench", len(set(threads)), enabled=progress) as shown:
        for count in sorted(set(threads)):
            job: Report = {"kind": "embedder", "model": str(model), "input_spec": input_spec}
            job |= {"threads": count, "batches": sorted(set(batches)), "seconds": seconds}
            found = run_apart(job, threads=count)
            report["cells"] += found["cells"]
            report["opening"].append({"threads": count, **found["opening"]})
            shown.advance()
    return report


def measure_embedder(
    model: str, *, threads: int, batches: Sequence[int], seconds: float, input_spec: str | None
) -> Report:
    """The cells of one number of threads, measured in this process.

    Returns:
        {opening: {seconds, memory before and after in MiB}, cells}.
    """
    before, start = memory_mib(), time.perf_counter()
    embedder = open_embedder(model, input_spec=input_spec, threads=threads)
    opening = {
        "seconds": round(time.perf_counter() - start, 3),
        "memory_before_mib": before,
        "memory_mib": memory_mib(),
    }
    return {
        "opening": opening,
        "cells": measure_cells(embedder, threads=threads, batches=batches, seconds=seconds),
    }


def measure_cells(
    embedder: Embedder, *, threads: int, batches: Sequence[int], seconds: float
) -> list[Report]:
    """A row for each batch size, in the order given.

    Args:
        embedder: opened with so many threads.
        threads: for the row.
        batches: crops per call, rising, so that the peak of memory belongs to the row.
        seconds: least time for each row.
    """
    height, width = embedder.input_spec.size_hw
    rows = []
    for batch in batches:
        rng = generator("bench crops", batch)
        crops = rng.integers(0, 256, (batch, height, width, 3)).astype(np.uint8)
        for _ in range(WARM_UP):
            embedder.embed(crops)
        taken: list[float] = []
        end = time.perf_counter() + seconds
        while len(taken) < LEAST_RUNS or time.perf_counter() < end:
            start = time.perf_counter()
            embedder.embed(crops)
            taken.append(time.perf_counter() - start)
        found = timing(taken)
        name = f"{threads} thread{'s' if threads > 1 else ''}, batch {batch}"
        rows.append(
            {
                "name": name,
                "threads": threads,
                "batch": batch,
                **found,
                "crops_per_s": round(1000 * batch / found["median_ms"], 1),
                "peak_memory_mib": peak_memory_mib(),
            }
        )
    return rows


def _too_many(threads: Sequence[int]) -> list[str]:
    cores = available_cores()
    above = sorted({count for count in threads if count > cores})
    if not above:
        return []
    said = ", ".join(map(str, above))
    return [f"{said} threads were asked for, this process may use {cores} cores"]
