"""What a permissive licence costs: one small student from several teachers, paired on LFW.

    crossface ladder benchmarks/configs/ladder_licence.toml --only sp --out runs --results results
    python benchmarks/licence_cost.py results --baseline retail/sp --json ...

The ladder compares methods of one teacher; here the finished cells of the same seeds are paired
across teachers, from the influences that the ladder keeps beside every cell, so nothing is trained,
embedded or looked at again. Differences are over people; the spread over seeds stands beside them.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

from crossface.core.errors import CrossfaceError, UsageError
from crossface.core.files import write_json
from crossface.evaluation.compare import compare_influences, mean_rates
from crossface.evaluation.influence_file import load_influences

CELL = re.compile(r"(?P<method>\w+)-(?P<seed>\d+)-images\.npz")
STATED = ("FNMR at FMR 1e-3 by identity", "FNMR at FMR 1e-4 by identity")


def finished(results: Path) -> dict[str, dict[int, Path]]:
    """``teacher/method`` to seed to the kept influences of its cell."""
    arms: dict[str, dict[int, Path]] = {}
    for kept in sorted((results / "ladder-licence").glob("*/*.npz")):
        if found := CELL.fullmatch(kept.name):
            arm = f"{kept.parent.name}/{found['method']}"
            arms.setdefault(arm, {})[int(found["seed"])] = kept
    return arms


def arm_row(seeds: dict[int, Path], plain: dict[int, Path]) -> dict:
    """An arm's rates, and their differences to the baseline over the seeds that both have."""
    shared = sorted(seeds.keys() & plain.keys())
    if not shared:
        raise UsageError("no seed is finished for both the arm and the baseline")
    own, base = ([load_influences(side[seed]) for seed in shared] for side in (seeds, plain))
    if len({pictures for _, _, pictures in [*own, *base]}) > 1:
        raise UsageError("the cells were measured on different pictures")
    parts = [[one for one, _, _ in side] for side in (own, base)]
    sizes = own[0][1]
    cells = [json.loads(seeds[seed].with_suffix(".json").read_text()) for seed in shared]
    return {
        "seeds": shared,
        "commits": sorted({cell["commit"] for cell in cells}),
        "val_rank_correlation": [cell["summary"]["val_rank_correlation"] for cell in cells],
        "val_cosine": [cell["summary"]["val_cosine"] for cell in cells],
        "rates": mean_rates(parts[0], sizes),
        "minus_baseline": compare_influences(parts[0], parts[1], sizes),
        "minus_baseline_by_seed": {
            name: [
                compare_influences([a], [b], sizes)[name]["value"]
                for a, b in zip(*parts, strict=True)
            ]
            for name in STATED
        },
    }


def line(arm: str, row: dict) -> str:
    """One arm in a line a person reads."""
    words = [f"{arm:24} seeds {row['seeds']}"]
    for name in STATED:
        rate, change = row["rates"][name], row["minus_baseline"][name]
        if rate["value"] is None or change["value"] is None:
            words.append(f"{name}: {rate.get('reason') or change.get('reason')}")
            continue
        by_seed = row["minus_baseline_by_seed"][name]
        spread = f", spread {100 * statistics.stdev(by_seed):.1f}" if len(by_seed) > 1 else ""
        words.append(
            f"{name} {100 * rate['value']:.1f} % "
            f"[{100 * rate['low']:.1f}, {100 * rate['high']:.1f}], "
            f"{100 * change['value']:+.1f} [{100 * change['low']:+.1f}, "
            f"{100 * change['high']:+.1f}]{spread}"
        )
    return "  ".join(words)


def main() -> None:
    """Pair the arms and print them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--baseline", default="retail/sp")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    arms = finished(options.results)
    if options.baseline not in arms:
        raise UsageError(f"no cell of {options.baseline!r} is finished: there are {sorted(arms)}")
    rows = {arm: arm_row(seeds, arms[options.baseline]) for arm, seeds in arms.items()}
    for arm, row in rows.items():
        print(line(arm, row))
    if options.json:
        write_json(options.json, {"baseline": options.baseline, "arms": rows})


if __name__ == "__main__":
    try:
        main()
    except CrossfaceError as error:
        sys.exit(f"licence_cost: {error}")
