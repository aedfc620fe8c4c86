"""Photographs to embeddings: wall time against the two networks alone and against insightface.

python benchmarks/pipeline_speed.py DETECTOR.onnx MODEL.onnx --pictures lfw_raw.zip --out R.json

Every round runs, in turn: the two networks on the very tensors that the pipeline gave them (one
picture and one face at a time, all threads), the pipeline's `get_many` and `get`, and
`insightface.app.FaceAnalysis.get` on the same two files, where that package is installed. The
fastest of the rounds counts. Included: decoding the JPEG, for all but the networks alone.
Excluded: opening the files, one warm-up round. Quality is off: the peer measures none.

`--slope N` runs N pictures through `get_many` and fits the resident memory against their number.
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
from pathlib import Path

import numpy as np

from crossface.core.files import write_json
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.detectors import DetectorOptions
from crossface.pipeline.networks import NetworkOptions
from crossface.training.run import environment

STARTUP = """
import resource, sys, time, zipfile
start = time.perf_counter()
from crossface.pipeline.analysis import FaceAnalysis
detector, model, pictures, name, threads = sys.argv[1:]
with zipfile.ZipFile(pictures) as archive:
    data = archive.read(name)
faces = FaceAnalysis(model, detector, quality=False, threads=int(threads)).get(data)
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, len(faces))
"""


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


def networks_alone(analysis: FaceAnalysis, tensors: tuple[list, list]) -> float:
    sessions = (analysis._one.detector._session, analysis._one.embedder._session)
    start = time.perf_counter()
    for session, inputs in zip(sessions, tensors, strict=True):
        for values in inputs:
            session._run(values)
    return time.perf_counter() - start


def open_peer(options: argparse.Namespace, folder: Path):
    """insightface on the same two files and the same detector size, or None."""
    try:
        import onnxruntime
        from insightface.app import FaceAnalysis as Peer
    except ImportError as error:
        print(f"insightface is left out: {error}", file=sys.stderr)
        return None
    for source, name in ((options.detector, "det.onnx"), (options.model, "rec.onnx")):
        (folder / name).symlink_to(source.resolve())
    session = onnxruntime.SessionOptions()
    session.intra_op_num_threads = options.threads
    session.inter_op_num_threads = 1
    peer = Peer(str(folder), providers=["CPUExecutionProvider"], sess_options=session)
    peer.prepare(ctx_id=-1, det_size=(options.side, options.side))
    return peer


def peer_get(peer, data: bytes) -> int:
    import cv2

    return len(peer.get(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)))


def timed(work) -> tuple[float, int]:
    gc.collect()
    start = time.perf_counter()
    faces = work()
    return time.perf_counter() - start, faces


def slope(analysis: FaceAnalysis, pictures: list[bytes], count: int) -> float:
    """KiB of resident memory a picture, fitted over the last three quarters of the run."""
    page = os.sysconf("SC_PAGE_SIZE") / 1024
    seen, memory = [], []
    stream = itertools.islice(itertools.cycle(pictures), count)
    for number, _ in enumerate(analysis.get_many(stream), start=1):
        if number % 50 == 0 and number > count // 4:
            seen.append(number)
            memory.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)
    return float(np.polyfit(seen, memory, 1)[0])


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


def measure(options: argparse.Namespace, named: list[tuple[str, bytes]]) -> dict:
    pictures = [data for _, data in named]
    detector = DetectorOptions(max_side_px=options.side)
    analysis = FaceAnalysis(
        options.model,
        options.detector,
        quality=False,
        threads=options.threads,
        options=NetworkOptions(detector_options=detector),
    )
    tensors = record(analysis, pictures)
    works = {
        "get_many": lambda: sum(len(faces) for faces in analysis.get_many(pictures)),
        "get": lambda: sum(len(analysis.get(data)) for data in pictures),
    }
    with tempfile.TemporaryDirectory() as folder:
        peer = open_peer(options, Path(folder))
        if peer is not None:
            works["insightface"] = lambda: sum(peer_get(peer, data) for data in pictures)
        rounds: dict[str, list[float]] = {name: [] for name in ["networks", *works]}
        faces = {name: work() for name, work in works.items()}
        for _ in range(options.rounds):
            rounds["networks"].append(networks_alone(analysis, tensors))
            for name, work in works.items():
                rounds[name].append(timed(work)[0])
    best = {name: min(times) for name, times in rounds.items()}
    result = {
        "pictures": len(pictures),
        "faces": faces,
        "threads": options.threads,
        "detector_side_px": options.side,
        "rounds_s": {name: [round(t, 4) for t in times] for name, times in rounds.items()},
        "wall_over_networks": round(best["get_many"] / best["networks"], 3),
        "single_picture_ms": round(1000 * best["get"] / len(pictures), 2),
        "pictures_per_s": round(len(pictures) / best["get_many"], 1),
    }
    if "insightface" in best:
        result["throughput_over_insightface"] = round(best["insightface"] / best["get_many"], 3)
        result["latency_over_insightface"] = round(best["get"] / best["insightface"], 3)
    if options.slope:
        result["memory_kib_per_picture"] = round(slope(analysis, pictures, options.slope), 3)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detector", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--pictures", type=Path, required=True, help="zip of photographs")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=256, help="largest side given to detectors")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slope", type=int, default=0, help="pictures for the memory slope")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    named = read_pictures(options.pictures, options.count)
    result = {
        "benchmark": "pipeline_speed",
        "files": [options.detector.name, options.model.name],
        **measure(options, named),
        **startup(options, named[0][0]),
        **environment(),
    }
    print(json.dumps(result))
    if options.out is not None:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
