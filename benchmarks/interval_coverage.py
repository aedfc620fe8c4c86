"""How often 95 % intervals cover a known truth, on simulated people in correlated comparisons.

python benchmarks/interval_coverage.py --out coverage.json

The worlds are those of the slow tests (tests/evaluation/simulate.py, coverage_rows.py). --sets
says how many of each kind, "listed=400,all=1000"; seeds run from 0. The file is written after
every kind, so that a run that is stopped leaves what it has, and --only runs some kinds anew and
keeps the others of the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "evaluation"))

import coverage_rows as room

from crossface.core.files import write_json
from crossface.core.progress import Progress
from crossface.training.run import environment

SETS = {"all": 1000, "chosen": 3000, "discard": 1000, "search": 600, "listed": 200}


def progress_over(name, count, make):
    rows = []
    with Progress(f"coverage, {name}", count) as bar:
        for seed in range(count):
            rows.append(make(seed))
            bar.advance()
    return rows


def listed(count):
    found = progress_over("listed", count, room.listed_pairs)
    values, variances = (np.array(column) for column in zip(*found, strict=True))
    return room.pair_rows(values, variances)


def kinds(count):
    """Name, what it simulates, and how to make its rows."""
    simple = {"all": room.all_pairs, "chosen": room.chosen_pairs, "discard": room.discarded}
    for name, make in simple.items():
        said = make.__doc__.splitlines()[0]
        yield name, said, partial(progress_over, name, count[name], make)
    for world in room.SEARCHES:  # named "search 150" and so on; --only takes them together
        people, mean, own, fpir = world
        said = f"{people} people, mates about {mean:g}, own effect {own:g}, FPIR {fpir:g}"
        make = partial(searching, world)
        yield f"search {people}", said, partial(progress_over, "search", count["search"], make)
    said = "10 folds of 60 genuine and 60 impostor pairs of 40 people each"
    yield "listed", said, partial(listed, count["listed"])


def searching(world, seed):
    return room.searches(seed, *world)


def summary(rows):
    """Coverage of each figure, with the standard error of a share of so many sets."""
    out = {}
    for name in rows[0]:
        sides = np.array([room.side_of(*row[name]) for row in rows])
        share = float(np.mean(sides == 0))
        out[name] = {
            "covered": round(share, 4),
            "standard_error": round(float(np.sqrt(share * (1 - share) / len(sides))), 4),
            "truth_below": round(float(np.mean(sides == -1)), 4),
            "truth_above": round(float(np.mean(sides == 1)), 4),
        }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default="", help="kind=number, with commas")
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    options = parser.parse_args()
    count = dict(SETS)
    for part in filter(None, options.sets.split(",")):
        name, number = part.split("=")
        if name not in count:
            parser.error(f"no kind {name!r}, there are {', '.join(count)}")
        count[name] = int(number)
    command = " ".join(["python benchmarks/interval_coverage.py", *sys.argv[1:]])
    made_by = {"command": command.replace(str(options.out), options.out.name), **environment()}
    result = {"wanted": "95 % intervals cover the truth in 93 to 97 % of the sets", "kinds": {}}
    if options.out.is_file():
        result["kinds"] = json.loads(options.out.read_text(encoding="utf-8"))["kinds"]
    for name, said, make in kinds(count):
        if name.split()[0] not in options.only:
            continue
        start = time.process_time()
        rows = make()
        result["kinds"][name] = {
            "world": said,
            "sets": len(rows),
            "seeds": f"0 to {len(rows) - 1}",
            "cpu_seconds": round(time.process_time() - start, 1),
            "figures": summary(rows),
            "made_by": made_by,
        }
        write_json(options.out, result)


if __name__ == "__main__":
    main()
