"""The process that measures: a job as JSON on stdin, its answer as JSON on stdout."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from crossface.audit.timing import keep_to_one_core
from crossface.core.errors import CrossfaceError


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """What the job found, or {error, error_kind}."""
    kind = job.pop("kind")
    try:
        if kind == "embedder":
            from crossface.audit.speed import measure_embedder

            return measure_embedder(**job)
        kept = keep_to_one_core()  # before the networks are opened: some count the cores then
        from crossface.audit.fruits import FruitsJob, measure_fruits

        return measure_fruits(FruitsJob(**job), one_core=kept)
    except CrossfaceError as error:
        return {"error": str(error), "error_kind": type(error).__name__}


def main() -> None:
    """Answer one job; whatever else is printed goes to stderr."""
    job = json.load(sys.stdin)
    stdout = os.dup(1)
    os.dup2(2, 1)  # a library that prints must not spoil the answer
    text = json.dumps(answer(job), allow_nan=False)
    with os.fdopen(stdout, "w", encoding="utf-8") as stream:
        stream.write(text)


if __name__ == "__main__":
    main()
