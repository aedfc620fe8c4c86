"""The process of one cell: ``python -m crossface.app.ladder.worker``, its task on stdin.

A process of its own, so that its peak of memory is its own, and so that one that is killed for
want of memory is a row of the table and not the end of the ladder. It stops, after saving, when
the ladder that started it is gone.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossface.app.ladder.cell import CellTask, run_cell
from crossface.core.errors import CrossfaceError
from crossface.core.files import write_json

_TURN_STEPS = 3
_STEPS_PER_TIMED_STEP = 300


def main() -> None:
    """Read the task, do it, and say on stdout why it failed, if it did."""
    task = json.loads(sys.stdin.readline())
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    show = task["show_progress"]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("crossface: %(message)s"))
    logger = logging.getLogger("crossface")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO if show else logging.WARNING)
    try:
        run_task(task, show_progress=show)
    except CrossfaceError as error:
        print(json.dumps(str(error)), flush=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def run_task(task: dict[str, Any], *, show_progress: bool) -> None:
    """Run a cell, or time a method beside the baseline."""
    if task["kind"] == "cell":
        run_cell(CellTask.from_json(task), show_progress=show_progress)
        return
    from crossface.training.config import parse_config
    from crossface.training.run import machine
    from crossface.training.timing import time_side_by_side

    configs = {name: parse_config(c, source=name) for name, c in task["configs"].items()}
    # A timing is a small part of what it is made for: one step a turn where cells are short.
    budget = min(config.budget.steps or 1 for config in configs.values())
    turn = max(1, min(_TURN_STEPS, budget // _STEPS_PER_TIMED_STEP))
    costs = time_side_by_side(configs, steps=turn, show_progress=show_progress)
    timing = {name: asdict(cost) for name, cost in costs.items()}
    write_json(Path(task["record"]), {"step_times": timing, "machine": machine()})


def _stop_with_parent() -> None:
    sys.stdin.read()  # ends when the other end of the pipe is closed
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
