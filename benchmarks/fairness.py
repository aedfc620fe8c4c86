"""False matches of one model by group at one threshold, from a list of impostor pairs per group.

python benchmarks/fairness.py MODEL --data fairface_val112.zip --pairs impostor_pairs.csv \
    --threshold 0.25 --no-flip --out result.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from crossface.api import embed
from crossface.audit.groups import read_impostor_pairs
from crossface.audit.report import audit_faces, audit_text, common_threshold
from crossface.core.files import write_json
from crossface.training.run import environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="ONNX file, safetensors model or run folder")
    parser.add_argument("--data", required=True)
    parser.add_argument("--pairs", required=True, help="CSV: a, b, other columns name the group")
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--fmr", type=float, help="in place of --threshold")
    parser.add_argument("--no-flip", action="store_true")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    faces = embed(options.model, options.data, flip=not options.no_flip, threads=options.threads)
    lists = read_impostor_pairs(options.pairs)
    if options.threshold is not None:
        threshold, source = options.threshold, "given"
    else:
        threshold, source = common_threshold(faces, None, fmr=options.fmr, lists=lists)
    report = audit_faces(faces, threshold=threshold, threshold_source=source, lists=lists)
    said = ["--threshold", str(options.threshold)] if options.threshold is not None else []
    said += ["--fmr", str(options.fmr)] if options.fmr is not None else []
    said += ["--no-flip"] if options.no_flip else []
    command = [
        f"python benchmarks/fairness.py {Path(options.model).name}",
        f"--data {Path(options.data).name} --pairs {Path(options.pairs).name}",
        *said,
    ]
    write_json(options.out, {"command": " ".join(command), **report, **environment()})
    print(audit_text(report))


if __name__ == "__main__":
    main()
