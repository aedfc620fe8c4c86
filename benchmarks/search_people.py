"""People by max and by mean of three: what the bar of a search by codes finds, and what it costs.

The gallery and the probes of ``search_speed.py --grouped``. Every probe is asked under two rules in
turns: "best template" stops where no code can hide a better template and reads at most 12 roots of
the gallery (the rule before), "bar" is the index as it is. Agreement is with exact search.

    python benchmarks/search_people.py --templates 1000000 --json RESULT.json
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

FORMER_PER_ROOT = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--templates", type=int, default=100_000)
    parser.add_argument("--probes", type=int, default=1000, help="of each kind")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.grouped = True
    # Before numpy is imported: its libraries read it once.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)
    from search_speed import PER_PERSON, machine

    result = {
        "benchmark": "search_people",
        "templates": options.templates,
        "per_person": PER_PERSON,
        "probes": options.probes,
        **measured(options),
        **machine(),
    }
    print(json.dumps(result))
    if options.json is not None:
        from crossface.core.files import write_json
        from crossface.training.run import environment

        write_json(options.json, {**result, **environment()})


def measured(options):
    """Agreement, rows read and milliseconds of both rules, by kind of probe and grouping."""
    import numpy as np
    from search_speed import DIM, Reader, at_genuine_cosine, exact_answers, people, population

    from crossface.search.index import PersonIndex

    size = options.templates
    rng = np.random.default_rng(options.seed)
    draw = population(rng)
    gallery = people(rng, draw, size)
    wanted = rng.integers(0, size, options.probes)
    probes = {
        "mated": at_genuine_cosine(rng, draw, gallery[wanted]),
        "non_mated": draw(options.probes),
    }
    reader, ids = Reader(gallery), np.arange(1, size + 1, dtype=np.int64)
    index = PersonIndex("codes", DIM, reader)
    for start in range(0, size, 65536):
        part = ids[start : start + 65536]
        index.add(part, (part - 1) // 4, gallery[part - 1])
    out = {"index_bytes_per_template": None}
    for kind, queries in probes.items():
        exact = exact_answers(gallery, queries, options)
        for group in ("max", "mean-top-k"):
            out[f"{kind}_{group}"] = in_turns(index, reader, queries, group, exact[group])
    out["index_bytes_per_template"] = round(index.memory_bytes / size, 1)
    return out


def in_turns(index, reader, queries, group, expected):
    """Both rules on every query, the first to ask changing; reads of codes and rows included."""
    import numpy as np

    barred = index._search
    former = max(1000, math.ceil(FORMER_PER_ROOT * math.sqrt(len(index))))
    rules = {
        "best template": (lambda q, k, _: index.backend.search(q, k), former),
        "bar": (barred, None),
    }
    took, busy = {rule: [] for rule in rules}, {rule: [] for rule in rules}
    right, read = dict.fromkeys(rules, 0), dict.fromkeys(rules, 0)
    for number, query in enumerate(queries):
        for rule in sorted(rules, reverse=bool(number % 2)):
            index._search, index.backend._candidates = rules[rule]
            reader.rows, start, work = 0, time.perf_counter(), time.thread_time()
            found = index.nearest(query[None], 1, group)[0][0].person
            took[rule].append(time.perf_counter() - start)
            busy[rule].append(time.thread_time() - work)
            right[rule] += found == expected[number]
            read[rule] += reader.rows
    index._search, index.backend._candidates = barred, None
    return {
        rule: {
            "agreement": right[rule] / len(queries),
            "missed": len(queries) - right[rule],
            "rows_read": round(read[rule] / len(queries)),
            "cpu_ms_median": round(1e3 * float(np.median(busy[rule])), 3),
            "ms_median": round(1e3 * float(np.median(took[rule])), 3),
            "ms_least_tenth": round(1e3 * float(np.quantile(took[rule], 0.1)), 3),
        }
        for rule in rules
    }


if __name__ == "__main__":
    main()
