"""Seconds as a median and a 95th percentile, and a process of its own to measure them in.

A process of its own has threads that nobody else set, and its peak of memory is the model's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossface.core import errors
from crossface.core.errors import CrossfaceError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PASSED_ON = {
    kind.__name__: kind
    for kind in (
        errors.ContractMismatch,
        errors.DataError,
        errors.ImageError,
        errors.NoFaceFound,
        errors.UsageError,
        errors.WeightsError,
    )
}


def timing(seconds: Sequence[float] | npt.NDArray[np.float64]) -> dict[str, float | int]:
    """Median and 95th percentile: of n sorted runs the ceil(n / 2)-th and the ceil(0.95 n)-th.

    Args:
        seconds: of each run, at least one.

    Returns:
        {median_ms, p95_ms, runs}.

    Raises:
        ValueError: without a run.
    """
    if not len(seconds):
        raise ValueError("no run was timed")
    ordered = np.sort(np.asarray(seconds, dtype=np.float64))
    median, p95 = (float(ordered[-(-len(ordered) * n // 100) - 1]) for n in (50, 95))
    return {
        "median_ms": round(1000 * median, 4),
        "p95_ms": round(1000 * p95, 4),
        "runs": len(ordered),
    }


def peak_memory_mib() -> float | None:
    """Most memory this process has ever held, in MiB; None where the system does not say."""
    return _status("VmHWM")


def memory_mib() -> float | None:
    """Memory this process holds, in MiB; None where the system does not say."""
    return _status("VmRSS")


def keep_to_one_core() -> bool:
    """Keep this process on one core; False where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return True


def run_apart(job: Mapping[str, Any], *, threads: int) -> dict[str, Any]:
    """Do a job of ``bench_child`` in a process of its own.

    Args:
        job: JSON values; "kind" says which job.
        threads: what numeric libraries are told to use.

    Raises:
        CrossfaceError: what went wrong there.
    """
    done = subprocess.run(
        [sys.executable, "-m", "crossface.audit.bench_child"],
        input=json.dumps(job),
        env=os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0 or not done.stdout:
        raise CrossfaceError(f"the process that measures ended with code {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    if "error" in answer:
        raise _PASSED_ON.get(answer["error_kind"], CrossfaceError)(answer["error"])
    return answer


def _status(field: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kib = [int(line.split()[1]) for line in lines if line.startswith(f"{field}:")]
    return round(kib[0] / 1024, 1) if kib else None
