"""Detectors side by side on photographs that none of ours was trained or chosen on.

python benchmarks/detector.py crossface=detector.onnx retinaface=retinaface_mobilenet025.onnx
    yunet_n=yunet_n.onnx yunet_s=yunet_s.onnx scrfd=scrfd_2.5g_bnkps.onnx
    --lfw lfw_raw.zip --london london_cc_by.zip --rivals retinaface yunet_n scrfd --out RESULT.json

Each detector works at its own threshold, on pictures of at most --side pixels.

LFW's photographs (250 px) have the person they are named after in the middle.
central: a box holds the middle of the picture, is 56 to 226 px high (the face that LFW was cut by
    is about 113 px high) and its landmarks' mean is within 40 px of the middle. No other detector
    is asked.
agreed: the mean distance of the five landmarks to those of a consensus is at most a quarter of the
    distance of the eyes. The consensus is the mean of the central faces of the rivals, without the
    detector that is judged; pictures count where at least two of them have one and those differ by
    at most a quarter too.
unconfirmed: other faces a picture that no other detector has at a score of 0.3 or more (boxes with
    an intersection over union of 0.3): mostly wrong ones.
curve: the same by threshold; a threshold is not chosen here.
London (600 px): the largest face's eyes against the manual pupils, over their distance; recall on
    neutral and smiling pictures is a face that holds the point between the pupils, or the middle of
    the picture where no points are given.
milliseconds: one thread, a 320x320 picture, whole detection and network alone, over rounds in which
    all take turns; where others use the machine too, the least is nearer the truth than the median.
Intervals are Clopper-Pearson at 95 % for shares, bootstrap over pictures for the median error.
"""

from __future__ import annotations

import argparse
import json
import time
import zipfile
from pathlib import Path

import numpy as np

from crossface.core.files import sha256_file, write_json
from crossface.core.images import decode_image
from crossface.evaluation.exact import clopper_pearson
from crossface.pipeline.detectors import Detections, DetectorOptions, open_detector
from crossface.training.detector.measure import overlaps
from crossface.training.run import environment

LOW = 0.1
SURE = 0.3
NEAR = 0.25
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PICTURES = (".jpg", ".jpeg", ".png", ".webp")


def read(path: Path, prefix: str = "", count: int | None = None) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith(prefix))
        names = [n for n in names if n.lower().endswith(PICTURES)][:count]
        return {n.removeprefix(prefix): decode_image(archive.read(n)) for n in names}


def open_at(path: Path, score: float | None, side: int, threads: int = 1):
    options = DetectorOptions(min_score=score, max_side_px=side)
    return open_detector(path, options=options, threads=threads)


def share(hits: int, total: int) -> dict:
    low, high = clopper_pearson(hits, total) if total else (0.0, 1.0)
    return {
        "value": hits / total if total else None,
        "low": low,
        "high": high,
        "hits": hits,
        "of": total,
    }


def central(found: Detections, image: np.ndarray) -> int | None:
    """The best face in the middle of one of LFW's photographs, as the module says."""
    middle = np.array(image.shape[1::-1]) / 2
    for row in range(len(found)):
        x1, y1, x2, y2 = found.boxes[row]
        off = np.linalg.norm(found.landmarks[row].mean(axis=0) - middle)
        if x1 < middle[0] < x2 and y1 < middle[1] < y2 and 56 <= y2 - y1 <= 226 and off <= 40:
            return row
    return None


def apart(points: np.ndarray, others: np.ndarray) -> float:
    """Mean distance of landmarks over the distance of the other's eyes."""
    eyes = max(float(np.linalg.norm(others[1] - others[0])), 1e-6)
    return float(np.linalg.norm(points - others, axis=1).mean()) / eyes


def consensus(points: list[np.ndarray | None]) -> np.ndarray | None:
    known = [p for p in points if p is not None]
    if len(known) < 2:
        return None
    mean = np.mean(known, axis=0)
    return mean if max(apart(p, mean) for p in known) <= NEAR else None


def at(found: Detections, score: float) -> Detections:
    return found.take(found.scores >= score)


def lfw(all_found: dict, images: list, own: dict, rivals: list[str]) -> dict:
    """Everything about LFW for each detector, at its own threshold and along the curve."""
    rows = {}
    for name, found in all_found.items():
        judges = [r for r in rivals if r != name]
        truth = [
            consensus(
                [
                    None if (row := central(at(all_found[j][n], own[j]), image)) is None
                    else at(all_found[j][n], own[j]).landmarks[row]
                    for j in judges
                ]
            )
            for n, image in enumerate(images)
        ]  # fmt: skip
        others = [
            np.concatenate([at(all_found[o][n], SURE).boxes for o in all_found if o != name])
            for n in range(len(images))
        ]
        curve = [
            one_point(found, images, truth, others, score)
            for score in sorted({*THRESHOLDS, round(own[name], 4)})
        ]
        here = next(p for p in curve if p["min_score"] == round(own[name], 4))
        rows[name] = {"judges": judges, "at_own_threshold": here, "curve": curve}
    return rows


def one_point(found: list, images: list, truth: list, others: list, score: float) -> dict:
    hits = agreed = known = strays = 0
    errors = []
    for faces, image, wanted, boxes in zip(found, images, truth, others, strict=True):
        kept = at(faces, score)
        row = central(kept, image)
        hits += row is not None
        if wanted is not None:
            known += 1
            distance = min((apart(p, wanted) for p in kept.landmarks), default=np.inf)
            agreed += distance <= NEAR
            if distance <= NEAR:
                errors.append(distance)
        if len(kept):
            best = overlaps(kept.boxes, boxes).max(axis=1, initial=0)
            strays += int(((best < SURE) & (np.arange(len(kept)) != row)).sum())
    return {
        "min_score": score,
        "central": share(hits, len(images)),
        "agreed": share(agreed, known),
        "unconfirmed_per_picture": strays / len(images),
        "distance_to_consensus": float(np.median(errors)) if errors else None,
    }


def largest(found: Detections) -> int:
    size = found.boxes[:, 2:] - found.boxes[:, :2]
    return int(size.prod(axis=1).argmax())


def london(detector, images: dict[str, np.ndarray], points: dict[str, list]) -> dict:
    errors, missed, strays, poses = [], [], 0, []
    for name, image in images.items():
        (found,) = detector.detect([image])
        given = np.array(points[name][:2]) if name in points else None
        middle = np.array(image.shape[1::-1]) / 2 if given is None else given.mean(axis=0)
        strays += max(len(found) - 1, 0)
        row = largest(found) if len(found) else None
        box = None if row is None else found.boxes[row]
        if box is None or not ((box[:2] < middle) & (middle < box[2:])).all():
            missed.append(name)
            continue
        if found.poses is not None:
            poses.append(np.abs(found.poses[row]))
        if given is not None:
            off = np.linalg.norm(found.landmarks[row][:2] - given, axis=1).mean()
            errors.append(off / np.linalg.norm(given[1] - given[0]))
    rng = np.random.default_rng(0)
    picks = rng.integers(len(errors), size=(2000, len(errors))) if errors else None
    medians = None if picks is None else np.median(np.array(errors)[picks], axis=1)
    return {
        "recall": share(len(images) - len(missed), len(images)),
        "missed": missed[:20],
        "further_faces": strays,
        "eye_error": None if medians is None else {
            "median": float(np.median(errors)),
            "low": float(np.quantile(medians, 0.025)),
            "high": float(np.quantile(medians, 0.975)),
            "p90": float(np.quantile(errors, 0.9)),
            "pictures": len(errors),
        },
        "mean_absolute_pose_deg": np.mean(poses, axis=0).round(2).tolist() if poses else None,
    }  # fmt: skip


def speed(paths: dict[str, Path], image: np.ndarray, rounds: int) -> dict:
    detectors = {name: open_at(path, None, 320) for name, path in paths.items()}
    tensors = {name: detector._tensor(image) for name, detector in detectors.items()}
    times: dict = {name: {"detect": [], "network": []} for name in paths}
    for turn in range(rounds + 3):
        for name, detector in detectors.items():
            start = time.perf_counter()
            detector.detect([image])
            middle = time.perf_counter()
            detector._session.run(tensors[name])
            end = time.perf_counter()
            if turn >= 3:
                times[name]["detect"].append((middle - start) * 1000)
                times[name]["network"].append((end - middle) * 1000)
    return {
        name: {
            part: {"median": round(float(np.median(v)), 3), "least": round(min(v), 3)}
            for part, v in row.items()
        }
        for name, row in times.items()
    }


def judge(options: argparse.Namespace, paths: dict[str, Path], raw: dict) -> dict:
    images = list(raw.values())
    side = options.side
    found = {n: open_at(p, LOW, side).detect(images) for n, p in paths.items()}
    own = {n: open_at(p, None, side).min_score for n, p in paths.items()}
    photos = read(options.london, "london/img/", options.count)
    with zipfile.ZipFile(options.london) as archive:
        points = json.loads(archive.read("london/points189.json"))
    return {
        "environment": environment(),
        "side_px": side,
        "rivals": options.rivals,
        "files": {
            n: {"file": p.name, "sha256": sha256_file(p), "bytes": p.stat().st_size}
            for n, p in paths.items()
        },
        "own_threshold": own,
        "lfw": lfw(found, images, own, options.rivals),
        "london": {n: london(open_at(p, None, side), photos, points) for n, p in paths.items()},
    }


def tell_card(path: Path, name: str, result: dict, out: Path) -> None:
    """Put the figures of one detector into its card; refused for another file's card."""
    card = json.loads(path.read_text())
    if card["sha256"] != result["files"][name]["sha256"]:
        raise SystemExit(f"{path.name}: is the card of another file than {name}")
    card["judged"] = {
        "file": f"benchmarks/results/{out.name}",
        "lfw": result["lfw"][name]["at_own_threshold"],
        "london": result["london"][name],
        "milliseconds_320": result["milliseconds_320"][name],
    }
    write_json(path, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("detectors", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--london", type=Path, required=True)
    parser.add_argument("--rivals", nargs="+", required=True, help="who makes the consensus")
    parser.add_argument("--side", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--count", type=int, help="pictures of each set, for a trial")
    parser.add_argument("--speed", action="store_true", help="only milliseconds, into an old --out")
    parser.add_argument("--card", type=Path, help="card of the first detector, to be told of this")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    paths = {n: Path(p) for n, p in (entry.split("=", 1) for entry in options.detectors)}
    raw = read(options.lfw, count=options.count)
    result = json.loads(options.out.read_text()) if options.speed else judge(options, paths, raw)
    image = np.zeros((320, 320, 3), np.uint8)
    first = next(iter(raw.values()))
    image[: min(320, first.shape[0]), : min(320, first.shape[1])] = first[:320, :320]
    result["milliseconds_320"] = speed(paths, image, options.rounds)
    write_json(options.out, result)
    if options.card is not None:
        tell_card(options.card, next(iter(paths)), result, options.out)
    print(json.dumps(result["milliseconds_320"]))


if __name__ == "__main__":
    main()
