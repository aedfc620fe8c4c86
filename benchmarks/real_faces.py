"""Both protocols of a labelled set for one model, from one embedding of the pictures.

python benchmarks/real_faces.py MODEL --data lfw112.zip --pairs lfw_pairs.txt --out result.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from crossface.api import embed
from crossface.core.files import write_json
from crossface.data.formats.pair_list import read_pairs
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
from crossface.evaluation.protocols.pairs import evaluate_pairs
from crossface.evaluation.report import report_table
from crossface.training.run import METRICS, SUMMARY, environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="ONNX file, safetensors model or run folder")
    parser.add_argument("--data", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    faces = embed(options.model, options.data, threads=options.threads)
    pairs = evaluate_pairs(faces, read_pairs(options.pairs), list_name=Path(options.pairs).name)
    all_pairs = evaluate_all_pairs(faces)
    result = {
        "command": f"python benchmarks/real_faces.py {Path(options.model).name} "
        f"--data {Path(options.data).name} --pairs {Path(options.pairs).name}",
        "pairs": pairs,
        "all_pairs": all_pairs,
        **environment(),
    }
    run = Path(options.model)
    if run.is_dir():
        result["summary"] = json.loads((run / SUMMARY).read_text(encoding="utf-8"))
        lines = (run / METRICS).read_text(encoding="utf-8").splitlines()
        result["curve"] = [json.loads(line) for line in lines]
    write_json(options.out, result)
    print(report_table(pairs))
    print(report_table(all_pairs))


if __name__ == "__main__":
    main()
