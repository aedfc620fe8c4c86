"""How long `crossface --help` and other short commands take, each in a process of its own.

The commands take turns with a bare interpreter. Of every command the least and the median are
given, of the clock and of the processor (user and system): on a shared machine the clock counts
others' work too. Prints one JSON line.

    python benchmarks/start_up.py [--times 20] [--json RESULT.json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

MAIN = "import sys; from crossface.app.cli import main; sys.exit(main({}))"
COMMANDS = {
    "python": "pass",
    "--help": MAIN.format(["--help"]),
    "identify --help": MAIN.format(["identify", "--help"]),
    "train --help": MAIN.format(["train", "--help"]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for turn in range(options.times + 1):
        for name, code in COMMANDS.items():
            once = seconds(code)
            if turn:  # the first reads the files from the disk and may compile them
                took[name].append(once)
    result = {
        "benchmark": "start_up",
        "times": options.times,
        "load_average": round(os.getloadavg()[0], 2),
        "commands": {name: summary(rows) for name, rows in took.items()},
    }
    print(json.dumps(result))
    if options.json is not None:
        from crossface.core.files import write_json
        from crossface.training.run import environment

        write_json(options.json, {**result, **environment()})


def seconds(code: str) -> tuple[float, float]:
    """Seconds of the clock and of the processor that one process took."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    busy = after.children_user + after.children_system
    return wall, busy - before.children_user - before.children_system


def summary(rows: list[tuple[float, float]]) -> dict[str, float]:
    """Least and median of both."""
    wall, busy = zip(*rows, strict=True)
    return {
        "wall_s_least": round(min(wall), 4),
        "wall_s_median": round(statistics.median(wall), 4),
        "cpu_s_least": round(min(busy), 4),
        "cpu_s_median": round(statistics.median(busy), 4),
    }


if __name__ == "__main__":
    main()
