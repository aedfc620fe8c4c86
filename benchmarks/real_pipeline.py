"""Does the whole pipeline find the right face, and does it decide as aligned crops do?

python benchmarks/real_pipeline.py DETECTOR.onnx MODEL.onnx --london london_cc_by.zip
    --raw lfw_raw.zip --crops lfw112.zip --pairs lfw_pairs.txt --out RESULT.json

London: the two eye landmarks against the manual pupils (points 0 and 1), over the distance
between the pupils. LFW: is the face in the centre found, whose name the photograph bears? Of the
official pairs whose two photographs are in --raw, how many decisions differ between the whole
pipeline (its largest face, as `crossface verify` takes it) and the aligned crops, at one
threshold; it is chosen on the crops of all *other* official pairs (most right decisions) unless
--threshold says it.
Embeddings are of the picture alone, without its mirror image.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from pathlib import Path

import numpy as np

from crossface.core.files import write_json
from crossface.core.images import decode_image
from crossface.core.types import Failure
from crossface.data.formats.pair_list import read_pairs
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.runtimes.onnx_runtime import crops_for
from crossface.training.run import environment

PICTURES = (".jpg", ".jpeg", ".png", ".webp")


def members(archive: zipfile.ZipFile) -> dict[str, str]:
    """Key without suffix to member."""
    names = [n for n in archive.namelist() if n.lower().endswith(PICTURES)]
    return {str(Path(name).with_suffix("")): name for name in names}


def largest(faces):
    return max(faces, key=lambda face: face.prominence)


def holds(box, x: float, y: float) -> bool:
    return box.x1 < x < box.x2 and box.y1 < y < box.y2


def london(analysis: FaceAnalysis, path: Path, count: int | None) -> dict:
    with zipfile.ZipFile(path) as archive:
        points = json.loads(archive.read("london/points189.json"))
        names = sorted(points)[:count]
        pictures = [archive.read(f"london/img/{name}") for name in names]
    errors, wrong, several = [], [], []
    for name, faces in zip(names, analysis.get_many(pictures), strict=True):
        pupils = np.array(points[name][:2])
        if isinstance(faces, Failure) or not faces:
            wrong.append(name)
            continue
        face = largest(faces)
        if not holds(face.bbox, *pupils.mean(axis=0)):
            wrong.append(name)
            continue
        if len(faces) > 1:
            several.append(name)
        distances = np.linalg.norm(face.kps_px[:2] - pupils, axis=1)
        errors.append(distances.mean() / np.linalg.norm(pupils[1] - pupils[0]))
    quantiles = np.quantile(errors, [0.5, 0.9, 1.0]).round(5).tolist()
    return {
        "pictures": len(names),
        "right_face": len(errors),
        "wrong_or_none": wrong,
        "several_faces": several,
        "eye_error_over_eye_distance": dict(zip(("median", "p90", "max"), quantiles, strict=True)),
    }


def crop_vectors(analysis: FaceAnalysis, path: Path, keys: set[str]) -> dict[str, np.ndarray]:
    """Unit embeddings of aligned crops, by key."""
    vectors = {}
    with zipfile.ZipFile(path) as archive:
        table = members(archive)
        wanted = sorted(keys & set(table))
        for start in range(0, len(wanted), 64):
            part = wanted[start : start + 64]
            crops = np.stack([decode_image(archive.read(table[key])) for key in part])
            raw = crops_for(analysis.embedder, crops)
            for key, row in zip(part, raw, strict=True):
                vectors[key] = row / np.linalg.norm(row)
    return vectors


def best_threshold(pairs, vectors) -> tuple[float, int]:
    """The threshold with most right decisions, between two neighbouring similarities."""
    known = [p for p in pairs if p.a in vectors and p.b in vectors]
    scores = np.array([float(vectors[p.a] @ vectors[p.b]) for p in known])
    same = np.array([p.same for p in known])
    order = np.argsort(scores)
    scores, same = scores[order], same[order]
    right = np.concatenate([[0], np.cumsum(~same)]) + np.concatenate(
        [np.cumsum(same[::-1])[::-1], [0]]
    )
    cut = int(np.argmax(right))
    edges = np.concatenate(
        [[scores[0] - 1e-3], (scores[1:] + scores[:-1]) / 2, [scores[-1] + 1e-3]]
    )
    return float(edges[cut]), len(known)


def lfw(analysis: FaceAnalysis, options: argparse.Namespace) -> dict:
    pairs = read_pairs(options.pairs).pairs
    with zipfile.ZipFile(options.raw) as archive:
        table = members(archive)
        chosen = [p for p in pairs if p.a in table and p.b in table][: options.count]
        keys = sorted({key for pair in chosen for key in (pair.a, pair.b)})
        pictures = [archive.read(table[key]) for key in keys]
    whole, missed, not_largest = {}, [], []
    for key, picture, faces in zip(keys, pictures, analysis.get_many(pictures), strict=True):
        if isinstance(faces, Failure) or not faces or largest(faces).embedding is None:
            missed.append(key)
            continue
        height, width = decode_image(picture).shape[:2]
        central = [holds(face.bbox, width / 2, height / 2) for face in faces]
        if not any(central):
            missed.append(key)
        elif not holds(largest(faces).bbox, width / 2, height / 2):
            not_largest.append(key)
        whole[key] = largest(faces).embedding
    others = set() if options.threshold is not None else {k for p in pairs for k in (p.a, p.b)}
    crops = crop_vectors(analysis, options.crops, set(keys) | others)
    taken = {(p.a, p.b) for p in chosen}
    threshold, known = options.threshold, None
    if threshold is None:
        rest = [p for p in pairs if (p.a, p.b) not in taken]
        threshold, known = best_threshold(rest, crops)
    rows = [
        (p, float(whole[p.a] @ whole[p.b]), float(crops[p.a] @ crops[p.b]))
        for p in chosen
        if all(key in whole and key in crops for key in (p.a, p.b))
    ]
    a, b = (np.array([row[column] for row in rows]) for column in (1, 2))
    same = np.array([row[0].same for row in rows])
    differ = (a >= threshold) != (b >= threshold)
    return {
        "pairs": len(rows),
        "pictures": len(keys),
        "centre_face_found": len(keys) - len(missed),
        "centre_face_missed": missed,
        "centre_face_not_the_largest": not_largest,
        "threshold": round(threshold, 5),
        "threshold_chosen_on_pairs": known,
        "decisions_that_differ": int(differ.sum()),
        "differing": [[rows[i][0].a, rows[i][0].b] for i in np.flatnonzero(differ)],
        "right_whole": int(((a >= threshold) == same).sum()),
        "right_crops": int(((b >= threshold) == same).sum()),
        "median_change": round(float(np.median(a - b)), 5),
        "median_absolute_change": round(float(np.median(np.abs(a - b))), 5),
        "median_change_genuine": round(float(np.median((a - b)[same])), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("detector", type=Path)
    parser.add_argument("model", type=Path)
    for name in ("london", "raw", "crops", "pairs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--count", type=int, help="of pictures and pairs, for a try")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    analysis = FaceAnalysis(options.model, options.detector, quality=False, threads=options.threads)
    result = {
        "benchmark": "real_pipeline",
        "files": [options.detector.name, options.model.name],
        "london": london(analysis, options.london, options.count),
        "lfw": lfw(analysis, options),
        **environment(),
    }
    print(json.dumps(result))
    if options.out is not None:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
