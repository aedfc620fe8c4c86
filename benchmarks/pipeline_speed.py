"""Photographs to embeddings: wall time against the two networks alone and against insightface.

python benchmarks/pipeline_speed.py DETECTOR.onnx MODEL.onnx --pictures lfw_raw.zip --out R.json

Every round runs, in turn: the two networks on the very tensors that the pipeline gave them (one
picture and one face at a time, all threads; in the pipeline's own sessions and in plain ones of
onnxruntime), the pipeline's `get_many` and `get`, and
`insightface.app.FaceAnalysis.get` on the same two files, where that package is installed. They
take turns part by part (--part pictures), and of each part the fastest round counts: what else
runs on the machine slows a part, hardly the same part in every round. Included: decoding the JPEG,
for all but the networks alone. Excluded: opening the files, one warm-up. Quality is off: the peer
measures none.

`--batches` times `get_many` at other numbers of faces embedded at once too.

`--pin` ties the main thread to the first core and the others to the other cores, for every
contestant: beside other work a scheduler may leave two threads together on one core.

`--slope N` measures memory and no speed: N pictures (the same over and over) go through `get_many`,
and a line is fitted to the resident memory over the last three quarters of them.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossface.core.files import write_json
from crossface.pipeline import flow
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.detectors import DetectorOptions
from crossface.pipeline.networks import NetworkOptions
from crossface.training.run import environment

STARTUP = r"""
import re, sys, time, zipfile
from pathlib import Path
start = time.perf_counter()
from crossface.pipeline.analysis import FaceAnalysis
detector, model, pictures, name, threads = sys.argv[1:]
with zipfile.ZipFile(pictures) as archive:
    data = archive.read(name)
faces = FaceAnalysis(model, detector, quality=False, threads=int(threads)).get(data)
seconds = time.perf_counter() - start
# getrusage would count the parent's memory at the fork
peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
print(seconds, int(peak[1]) / 1024, len(faces))
"""


@dataclass(frozen=True)
class Part:
    """Encoded pictures, and the tensors that the detector and the recogniser get for them."""

    pictures: list[bytes]
    tensors: tuple[list, list]


def read_pictures(path: Path, count: int) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.lower().endswith((".jpg", ".jpeg", ".png"))]
        return [(name, archive.read(name)) for name in names[:count]]


def record(analysis: FaceAnalysis, pictures: list[bytes]) -> tuple[list, list]:
    """The tensors that both networks are given for these pictures."""
    tensors: tuple[list, list] = ([], [])
    sessions = (analysis._one.detector._session, analysis._one.embedder._session)
    for session, kept in zip(sessions, tensors, strict=True):
        inner = session._run

        def run(values, inner=inner, kept=kept):
            kept.append(values.copy())
            return inner(values)

        session._run = run
    for picture in pictures:
        analysis.get(picture)
    for session in sessions:
        session._run = session._run.__defaults__[0]
    faces = [row[None] for values in tensors[1] for row in values]
    return tensors[0], faces


def pipeline_runs(analysis: FaceAnalysis) -> list:
    """The two networks in the pipeline's own sessions, as functions of a tensor."""
    return [analysis._one.detector._session._run, analysis._one.embedder._session._run]


def plain_runs(options: argparse.Namespace) -> list:
    """The same in sessions as onnxruntime makes them, with the threads said."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    runs = []
    for path in (options.detector, options.model):
        session = onnxruntime.InferenceSession(
            str(path), settings, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        runs.append(lambda values, s=session, n=name: s.run(None, {n: values}))
    return runs


def pin_threads(cores: list[int]) -> None:
    """The main thread to the first core, the others to the rest in turn; worker pools likewise."""
    others = itertools.cycle(cores[1:])
    for thread in map(int, os.listdir("/proc/self/task")):
        os.sched_setaffinity(thread, {cores[0] if thread == os.getpid() else next(others)})

    class Pinned(ThreadPoolExecutor):
        def __init__(self, workers: int, **settings) -> None:
            turns = itertools.cycle(cores)
            settings["initializer"] = lambda: os.sched_setaffinity(0, {next(turns)})
            super().__init__(workers, **settings)

    flow.ThreadPoolExecutor = Pinned


def networks_alone(runs: list, tensors: tuple[list, list]) -> int:
    """Runs both; how many faces were embedded."""
    for run, inputs in zip(runs, tensors, strict=True):
        for values in inputs:
            run(values)
    return len(tensors[1])


def open_peers(options: argparse.Namespace, folder: Path) -> dict:
    """insightface on the same two files and the same detector size, if it is installed.

    Once as onnxruntime's threads are by default, and once told not to spin while they wait, as
    the pipeline tells its own: two networks in turn take the cores from each other otherwise.
    """
    try:
        import onnxruntime
        from insightface.app import FaceAnalysis as Peer
    except ImportError as error:
        print(f"insightface is left out: {error}", file=sys.stderr)
        return {}
    for source, name in ((options.detector, "det.onnx"), (options.model, "rec.onnx")):
        (folder / name).symlink_to(source.resolve())
    peers = {}
    for name, spinning in (("insightface", "1"), ("insightface_no_spinning", "0")):
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = options.threads
        session.add_session_config_entry("session.intra_op.allow_spinning", spinning)
        peers[name] = Peer(str(folder), providers=["CPUExecutionProvider"], sess_options=session)
        peers[name].prepare(ctx_id=-1, det_size=(options.side, options.side))
    return peers


def peer_get(peer, data: bytes) -> int:
    import cv2

    return len(peer.get(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)))


def timed(work, part: Part) -> float:
    gc.collect()
    start = time.perf_counter()
    work(part)
    return time.perf_counter() - start


def memory(analysis: FaceAnalysis, pictures: list[bytes], count: int) -> dict:
    """Resident memory on the way, and its growth a picture."""
    page = os.sysconf("SC_PAGE_SIZE") / 1024
    seen, kib = [], []
    stream = itertools.islice(itertools.cycle(pictures), count)
    for number, _ in enumerate(analysis.get_many(stream), start=1):
        if number % 50 == 0:
            seen.append(number)
            kib.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)
    late = len(seen) // 4
    marks = [round(len(seen) * part / 8) - 1 for part in range(1, 9)]
    return {
        "pictures": count,
        "threads": analysis.threads,
        "resident_mb_after": {seen[at]: round(kib[at] / 1024, 1) for at in marks},
        "memory_kib_per_picture": round(float(np.polyfit(seen[late:], kib[late:], 1)[0]), 4),
    }


def startup(options: argparse.Namespace, name: str) -> dict[str, float]:
    arguments = [options.detector, options.model, options.pictures, name, options.threads]
    done = subprocess.run(
        [sys.executable, "-c", STARTUP, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, peak, _ = done.stdout.split()
    return {"first_answer_s": round(float(seconds), 3), "peak_memory_mb": round(float(peak), 1)}


def opened(options: argparse.Namespace, **settings) -> FaceAnalysis:
    detector = DetectorOptions(max_side_px=options.side)
    return FaceAnalysis(
        options.model,
        options.detector,
        quality=False,
        threads=options.threads,
        options=NetworkOptions(detector_options=detector),
        **settings,
    )


def speed(analysis: FaceAnalysis, pictures: list[bytes], options: argparse.Namespace) -> dict:
    own, plain = pipeline_runs(analysis), plain_runs(options)
    works = {
        "networks": lambda part: networks_alone(own, part.tensors),
        "networks_plain": lambda part: networks_alone(plain, part.tensors),
        "get_many": lambda part: sum(len(faces) for faces in analysis.get_many(part.pictures)),
        "get": lambda part: sum(len(analysis.get(data)) for data in part.pictures),
    }
    parts = [
        Part(pictures[at : at + options.part], record(analysis, pictures[at : at + options.part]))
        for at in range(0, len(pictures), options.part)
    ]
    for size in options.batches:
        other = opened(options, batch_size=size)
        works[f"get_many_batch_{size}"] = lambda part, a=other: sum(
            len(faces) for faces in a.get_many(part.pictures)
        )
    with tempfile.TemporaryDirectory() as folder:
        peers = open_peers(options, Path(folder))
        for name, peer in peers.items():
            works[name] = lambda part, p=peer: sum(peer_get(p, data) for data in part.pictures)
        if options.pin:
            pin_threads(sorted(os.sched_getaffinity(0)))
        faces = {name: sum(work(part) for part in parts) for name, work in works.items()}
        seconds = {name: np.zeros((options.rounds, len(parts))) for name in works}
        for turn in range(options.rounds):
            for number, part in enumerate(parts):
                for name, work in works.items():
                    seconds[name][turn, number] = timed(work, part)
    best = {name: float(times.min(axis=0).sum()) for name, times in seconds.items()}
    result = {
        "pictures": len(pictures),
        "faces": faces,
        "threads": options.threads,
        "detector_side_px": options.side,
        "pinned": options.pin,
        "parts": len(parts),
        "whole_rounds_s": {n: t.sum(axis=1).round(3).tolist() for n, t in seconds.items()},
        "fastest_parts_s": {name: round(value, 3) for name, value in best.items()},
        "wall_over_networks": round(best["get_many"] / best["networks"], 3),
        "wall_over_networks_plain": round(best["get_many"] / best["networks_plain"], 3),
        "single_over_networks_plain": round(best["get"] / best["networks_plain"], 3),
        "single_picture_ms": round(1000 * best["get"] / len(pictures), 2),
        "pictures_per_s": round(len(pictures) / best["get_many"], 1),
    }
    for name in peers:
        result[f"throughput_over_{name}"] = round(best[name] / best["get_many"], 3)
        result[f"latency_over_{name}"] = round(best["get"] / best[name], 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detector", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pictures", type=Path, required=True, help="zip of photographs")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=256, help="largest side given to detectors")
    parser.add_argument("--part", type=int, default=25, help="pictures timed at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="*", default=[])
    parser.add_argument("--pin", action="store_true", help="threads tied to cores")
    parser.add_argument("--slope", type=int, default=0, help="pictures for the memory slope")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    named, cores = read_pictures(options.pictures, options.count), os.sched_getaffinity(0)
    analysis, pictures = opened(options), [data for _, data in named]
    if options.slope:
        if options.pin:
            pin_threads(sorted(cores))
        measured = memory(analysis, pictures, options.slope)
    else:
        measured = speed(analysis, pictures, options)
    os.sched_setaffinity(0, cores)
    result = {
        "benchmark": "pipeline_speed",
        "files": [options.detector.name, options.model.name],
        **measured,
        **startup(options, named[0][0]),
        **environment(),
    }
    print(json.dumps(result))
    if options.out is not None:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
