"""1:N search over synthetic 512-d faces: prefilter and rescore against its own bound and FAISS.

Vectors are built as a population with the moments that real embeddings show: impostor cosines of
mean 0 and deviation 0.054 (a spectrum that falls off over the dimensions, rotated at random),
mated probes at a cosine of 0.61 +- 0.09 from their template, non-mated probes of people who are
not enrolled. The first part holds the vectors in memory and times the index alone; the
second (``--record``) makes an encrypted gallery and times opening, enrolling and identifying from
it, rescoring reads included. Prints one JSON line a size.

    python benchmarks/search_speed.py --templates 10000 100000 --threads 1
    python benchmarks/search_speed.py --templates 1000000 --threads 1 --faiss --json RESULT.json
    python benchmarks/search_speed.py --templates 10000 100000 1000000 --grouped --record ...

At 10 M nothing is run: memory and time of the pass are computed from the largest size measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

DIM = 512
IMPOSTOR_DEVIATION = 0.054
GENUINE_MEAN, GENUINE_DEVIATION = 0.61, 0.09
PER_PERSON = 4
COMPUTED = 10_000_000
REFINED = (200, 1000, 11_000)  # rows refined; the codes read 1,000 (mated) to 11,000 at 1 M


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--templates", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--probes", type=int, default=1000, help="of each kind")
    parser.add_argument("--timed", type=int, default=50, help="queries that are timed one by one")
    parser.add_argument(
        "--candidates", type=int, nargs="+", default=[0], help="0: the backend's own rule"
    )
    parser.add_argument("--grouped", action="store_true", help="four templates a person")
    parser.add_argument("--faiss", action="store_true", help="FAISS in the same run")
    parser.add_argument("--record", action="store_true", help="an encrypted gallery too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # Before numpy is imported: its libraries read it once.
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)
    result, results = {}, []
    for size in options.templates:
        result = {
            "benchmark": "search_speed",
            "templates": size,
            "dim": DIM,
            "threads": options.threads,
            "per_person": PER_PERSON if options.grouped else 1,
            **measured(size, options),
            **machine(),
        }
        results.append(result)
        print(json.dumps(result), flush=True)
    results.append(computed(result))
    print(json.dumps(results[-1]))
    if options.json is not None:
        from crossface.core.files import write_json
        from crossface.training.run import environment

        write_json(options.json, {"results": results, **environment()})


def measured(size, options):
    import numpy as np

    from crossface.search.backends.codes import CodesBackend

    rng = np.random.default_rng(options.seed)
    draw = population(rng)
    gallery = draw(size) if not options.grouped else people(rng, draw, size)
    wanted = rng.integers(0, size, options.probes)
    mated, strangers = at_genuine_cosine(rng, draw, gallery[wanted]), draw(options.probes)
    ids = np.arange(1, size + 1, dtype=np.int64)
    reader = Reader(gallery)
    index = CodesBackend(DIM, reader)
    for start in range(0, size, 65536):
        index.add(ids[start : start + 65536], gallery[start : start + 65536])
    out = {
        "impostor_cosine_std": round(float((gallery[:2000] @ strangers.T).std()), 4),
        "genuine_cosine_mean": round(float((mated * gallery[wanted]).sum(1).mean()), 4),
        "index_bytes_per_template": round(index_bytes(index, ids, options) / size, 1),
        "copy_gb_per_s": round(copy_bandwidth() / 1e9, 2),
        "scan_ms": round(1e3 * scan_seconds(index, strangers[: options.timed]), 3),
    }
    out["one_pass_at_copy_bandwidth_ms"] = round(
        1e3 * sum(b.nbytes for b in index._blocks) / (out["copy_gb_per_s"] * 1e9), 3
    )
    exact = {
        "mated": exact_answers(gallery, mated, options),
        "non_mated": exact_answers(gallery, strangers, options),
    }
    out["candidates"] = [
        at_candidates(
            index, reader, count, {"mated": mated, "non_mated": strangers}, exact, options
        )
        for count in options.candidates
        if count <= size
    ]
    out["numpy_flat_ms"] = round(
        1e3 * median_seconds(lambda q: gallery @ q, mated[: options.timed]), 3
    )
    if options.faiss:
        out["faiss"] = against_faiss(gallery, mated, strangers, exact, options)
    for row in out["candidates"]:
        for kind in ("mated", "non_mated"):
            bound = 2 * out["one_pass_at_copy_bandwidth_ms"] + row[f"rescoring_reads_ms_{kind}"]
            row[f"over_bound_{kind}"] = round(row[f"query_ms_{kind}"] / bound, 3)
            if options.faiss:
                flat = out["faiss"]["flat"][f"query_ms_{kind}"]
                row[f"over_faiss_flat_{kind}"] = round(row[f"query_ms_{kind}"] / flat, 3)
    if options.record:
        out["record"] = from_the_record(gallery, mated, strangers, options)
    out["peak_memory_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    gc.collect()
    return out


def population(rng):
    """Draws (n, DIM) unit rows whose cosines have the impostors' deviation.

    A random direction with variances s_i along orthogonal axes has cosines of variance
    sum(s_i^2) / sum(s_i)^2; the fall-off of the spectrum is solved for the one wanted.
    """
    import numpy as np

    axis = np.arange(DIM)
    low, high = 0.0, 0.1
    for _ in range(60):
        rate = (low + high) / 2
        spectrum = np.exp(-rate * axis)
        deviation = np.sqrt((spectrum**2).sum()) / spectrum.sum()
        low, high = (rate, high) if deviation < IMPOSTOR_DEVIATION else (low, rate)
    rotation = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32)
    shape = (np.sqrt(spectrum)[:, None] * rotation).astype(np.float32)

    def draw(count):
        rows = np.empty((count, DIM), dtype=np.float32)
        for start in range(0, count, 65536):
            part = rng.standard_normal((min(65536, count - start), DIM), dtype=np.float32) @ shape
            rows[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
        return rows

    return draw


def people(rng, draw, size):
    """Four templates a person, each at the genuine cosine from the first."""
    import numpy as np

    first = draw(-(-size // PER_PERSON))
    parts = [first, *(at_genuine_cosine(rng, draw, first) for _ in range(PER_PERSON - 1))]
    return np.stack(parts, axis=1).reshape(-1, DIM)[:size]


def at_genuine_cosine(rng, draw, rows):
    """A vector for each row at a cosine drawn from the genuine distribution."""
    import numpy as np

    cosine = rng.normal(GENUINE_MEAN, GENUINE_DEVIATION, len(rows)).clip(0, 0.99)[:, None]
    other = draw(len(rows))
    other -= (other * rows).sum(1, keepdims=True) * rows
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return (cosine * rows + np.sqrt(1 - cosine**2) * other).astype(np.float32)


def index_bytes(index, ids, options):
    """Codes and numbers, and the grouping into people: 8 + 4 bytes, 4 more for means."""
    return index.memory_bytes + ids.nbytes + (8 if options.grouped else 4) * len(ids)


def copy_bandwidth():
    """Bytes a second of copying 256 MiB, counted once: the best of several."""
    import numpy as np

    source, target = np.ones(1 << 25), np.zeros(1 << 25)
    return source.nbytes / min(seconds(lambda: np.copyto(target, source)) for _ in range(5))


def scan_seconds(index, queries):
    return median_seconds(lambda q: index.nearest_codes(q, 1000), queries)


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_seconds(call, queries):
    import numpy as np

    call(queries[0])
    return float(np.median([seconds(lambda q=query: call(q)) for query in queries]))


def exact_answers(gallery, probes, options):
    """(numbers of the best template, and of the best person by max and by mean of three)."""
    each = PER_PERSON if options.grouped else 1
    best, by_max, by_mean, score = [], [], [], []
    for start in range(0, len(probes), 16):
        block = probes[start : start + 16] @ gallery.T
        best += (block.argmax(1) + 1).tolist()
        score += block.max(1).tolist()
        whole = block[:, : block.shape[1] // each * each].reshape(len(block), -1, each)
        by_max += whole.max(2).argmax(1).tolist()
        mean = whole.sum(2) - whole.min(2) if options.grouped else whole[:, :, 0]
        by_mean += mean.argmax(1).tolist()  # the best three of four
    return {"best": best, "max": by_max, "mean-top-k": by_mean, "score": score}


class Reader:
    """Rows by number, from memory; counts what is read."""

    def __init__(self, gallery):
        self.gallery, self.calls, self.rows = gallery, 0, 0

    def __call__(self, numbers):
        self.calls, self.rows = self.calls + 1, self.rows + len(numbers)
        return self.gallery[numbers - 1]


def at_candidates(index, reader, count, probes, exact, options):
    """Agreement with exact search and time of one query at a number of rescored candidates."""
    import numpy as np

    from crossface.search.index import PersonIndex

    each = PER_PERSON if options.grouped else 1
    index._candidates = count or None
    row = {"candidates": count or "by the backend's rule"}
    grouping = PersonIndex("codes", DIM, index._rows)
    grouping.backend = index
    grouping._ids = index._ids
    grouping._persons = ((index._ids - 1) // each).astype(np.int32)
    for kind, queries in probes.items():
        reader.rows = 0
        found = index.search(queries, 1).ids[:, 0]
        read = reader.rows // len(queries)
        row[f"rows_read_{kind}"] = read
        row[f"top1_agreement_{kind}"] = float(np.mean(found == exact[kind]["best"]))
        if options.grouped:
            for group in ("max", "mean-top-k"):
                answers = [grouping.nearest(q[None], 1, group)[0][0].person for q in queries]
                row[f"person_agreement_{kind}_{group}"] = float(
                    np.mean(np.array(answers) == exact[kind][group])
                )
                row[f"person_ms_{kind}_{group}"] = round(
                    1e3
                    * median_seconds(
                        lambda q, g=group: grouping.nearest(q[None], 1, g), queries[: options.timed]
                    ),
                    3,
                )
        timed = queries[: options.timed]
        one = median_seconds(lambda q: index.search(q[None], 1), timed)
        row[f"query_ms_{kind}"] = round(1e3 * one, 3)
        row[f"rescoring_reads_ms_{kind}"] = round(1e3 * gallery_reads(index, timed, read), 3)
    return row


def gallery_reads(index, queries, count):
    """Median seconds of the rescoring alone: as many rows, at other places each time."""
    import numpy as np

    rng = np.random.default_rng(0)
    work = [(q, np.sort(rng.integers(1, len(index) + 1, count))) for q in queries]
    return median_seconds(lambda item: index._rows(item[1]) @ item[0], work)


def against_faiss(gallery, mated, strangers, exact, options):
    """FAISS flat in float32 and float16, and RaBitQ (fast scan) with refinement."""
    import faiss
    import numpy as np

    faiss.omp_set_num_threads(options.threads)
    out = {"version": faiss.__version__}
    probes = {"mated": mated, "non_mated": strangers}
    for name, factory in {"flat": "Flat", "fp16": "SQfp16", "rabitq": "RaBitQfs,RFlat"}.items():
        index = faiss.index_factory(DIM, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(gallery[:65536])
        index.add(gallery)
        for rows in REFINED if name == "rabitq" else (None,):
            if rows is not None:
                index.k_factor = rows
            row = {}
            for kind, queries in probes.items():
                one = median_seconds(
                    lambda q, i=index: i.search(q[None], 1), queries[: options.timed]
                )
                found = index.search(queries, 1)[1][:, 0] + 1
                row[f"query_ms_{kind}"] = round(1e3 * one, 3)
                row[f"top1_agreement_{kind}"] = float(np.mean(found == exact[kind]["best"]))
            out[name if rows is None else f"{name}_refine_{rows}"] = row
        del index
        gc.collect()
    return out


def from_the_record(gallery, mated, strangers, options):
    """An encrypted gallery: enrolling, opening, and identifying with rescoring reads from it."""

    from crossface.core.contract import EmbeddingContract
    from crossface.search.door import Enrolling
    from crossface.search.gallery import Gallery

    contract = EmbeddingContract(
        model_id="synthetic", digest="0" * 16, dim=DIM, space_id="synthetic", input_digest="0" * 16
    )
    each = PER_PERSON if options.grouped else 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.db"
        start = time.perf_counter()
        with Gallery.open(path, contract=contract, key=bytes(32)) as opened:
            for first in range(0, len(gallery), 20_000):
                rows = gallery[first : first + 20_000]
                opened.enroll_many(
                    Enrolling(f"p{(first + at) // each}", rows[at : at + each])
                    for at in range(0, len(rows), each)
                )
        enrolling = time.perf_counter() - start
        start = time.perf_counter()
        with Gallery.open(path, contract=contract, key=bytes(32), backend="codes") as opened:
            opened.identify(mated[0])
            first_answer = time.perf_counter() - start
            query = median_seconds(opened.identify, mated[: options.timed])
            unknown = median_seconds(opened.identify, strangers[: options.timed])
            start = time.perf_counter()
            opened.remove("p0")
            removing = time.perf_counter() - start
        bytes_each = path.stat().st_size / len(gallery)
    return {
        "enrolled_per_s": round(len(gallery) / enrolling, 1),
        "open_to_first_answer_s": round(first_answer, 3),
        "identify_ms_mated": round(1e3 * query, 3),
        "identify_ms_non_mated": round(1e3 * unknown, 3),
        "remove_s": round(removing, 3),
        "file_bytes_per_template": round(bytes_each, 1),
    }


def computed(last):
    """10 M from the largest size measured: memory and scan grow with the templates."""
    times = COMPUTED / last["templates"]
    return {
        "benchmark": "search_speed",
        "templates": COMPUTED,
        "computed_from": last["templates"],
        "index_gb": round(COMPUTED * last["index_bytes_per_template"] / 1e9, 2),
        "scan_ms": round(last["scan_ms"] * times, 1),
        "one_pass_at_copy_bandwidth_ms": round(last["one_pass_at_copy_bandwidth_ms"] * times, 1),
    }


def machine():
    import numpy as np

    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


if __name__ == "__main__":
    main()
