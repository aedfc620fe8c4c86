"""Pictures per second of caching a teacher's embeddings, against the bare runtime on ready tensors.

The bare runtime embeds one constant normalised batch, both flips counted: what is left between it
and the cache is reading, decoding, normalising and writing. Prints one JSON line.

    python benchmarks/caching_speed.py --data faces.zip --teacher teacher.onnx --pictures 4096
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from crossface.core.geometry import retarget_crops
from crossface.data import open_faces
from crossface.data.dataset import Subset
from crossface.pipeline.runtimes.opening import open_embedder
from crossface.training.cache import cached_embeddings
from crossface.training.run import environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--pictures", type=int, default=4096)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    teacher = open_embedder(options.teacher, threads=options.threads)
    whole = open_faces(options.data, labels="none")
    source = Subset(whole, range(min(options.pictures, len(whole))))
    crops = retarget_crops(np.stack([source.read(i) for i in range(64)]), teacher.input_spec)
    teacher.embed(crops)
    start = time.perf_counter()
    rounds = max(1, 2 * len(source) // len(crops))
    for _ in range(rounds):
        teacher.embed(crops)
    bare = rounds * len(crops) / 2 / (time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        cached_embeddings(teacher, source, folder=Path(folder), progress=False)
        fresh = time.perf_counter() - start
        start = time.perf_counter()
        cached_embeddings(teacher, source, folder=Path(folder), progress=False)
        again = time.perf_counter() - start
    print(
        json.dumps(
            {
                "benchmark": "caching_speed",
                "pictures": len(source),
                "pictures_per_s": round(len(source) / fresh, 1),
                "pictures_per_s_bare_runtime": round(bare, 1),
                "ratio": round(len(source) / fresh / bare, 4),
                "seconds_when_cached": round(again, 4),
                **environment(),
            }
        )
    )


if __name__ == "__main__":
    main()
