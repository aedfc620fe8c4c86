"""Several models on LFW (both protocols) and on FairFace's groups: one JSON and one table.

python benchmarks/embedders.py MODEL... --lfw lfw112.zip --lfw-pairs lfw_pairs.txt
    --fairface fairface_val112.zip --fairface-pairs fairface_val_impostor_pairs.csv
    --work FOLDER --out embedders.json --table embedders.md

Each model's part is kept in --work under the digests of the model and the script, so a run that
was stopped goes on with the next model. FairFace is measured without the mirror image at the
cosine 0.25, and at each model's own threshold of FMR 1e-2 over all its pairs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from crossface.api import embed, load_model
from crossface.audit.groups import read_impostor_pairs
from crossface.audit.report import audit_faces, common_threshold
from crossface.core.files import sha256_file, write_json
from crossface.data.formats.pair_list import read_pairs
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
from crossface.evaluation.protocols.pairs import evaluate_pairs
from crossface.training.run import environment

FIXED, OWN_FMR = 0.25, 1e-2
COUNTS = ("n_pairs", "n_identities", "n_images", "n_genuine", "n_impostor", "fta", "data_digest")
LOOKS = (
    "LFW was looked at once for each model of this file; nothing was trained, chosen or changed "
    "by what it said. Results README: how often before."
)


def chosen(report: dict, *keys: str) -> dict:
    return {key: report[key] for key in (*COUNTS, *keys) if key in report}


def groups_at(faces, lists, threshold: float, source: str) -> dict:
    """False matches by group at one threshold, the figures only."""
    report = audit_faces(faces, threshold=threshold, threshold_source=source, lists=lists)
    column = report["columns"]["listed pairs"]
    kept = ("n_images", "n_impostor", "n_false_matches", "fmr", "flag", "marked")
    rows = {
        name: {key: row[key] for key in kept if row.get(key) is not None}
        for name, row in column["groups"].items()
    }
    head = {"threshold": threshold, "threshold_source": source, "flip": faces.flip}
    return {**head, "groups": rows, "fmr_gap": column["fmr_gap"]}


def part_of(model: str, options: argparse.Namespace) -> dict:
    embedder = load_model(model, threads=options.threads)
    faces = embed(embedder, options.lfw)
    pairs = read_pairs(options.lfw_pairs)
    view2 = evaluate_pairs(faces, pairs, list_name=Path(options.lfw_pairs).name)
    every = evaluate_all_pairs(faces)
    plain = embed(embedder, options.fairface, flip=False)
    lists = read_impostor_pairs(options.fairface_pairs)
    own, source = common_threshold(plain, None, fmr=OWN_FMR, lists=lists)
    return {
        "model": embedder.contract.model_id,
        "contract_id": embedder.contract.contract_id,
        "sha256": sha256_file(model),
        "lfw_view_2": chosen(view2, "accuracy", "auc", "eer", "tar_at_fmr", "flip"),
        "lfw_all_pairs": chosen(
            every, "auc", "eer", "fnmr_at_fmr", "fnmr_at_fmr_by_identity", "flip"
        ),
        "fairface_at_0.25": groups_at(plain, lists, FIXED, "given"),
        "fairface_at_own_fmr_1e-2": groups_at(plain, lists, own, source),
        **environment(),
    }


def rate(entry: dict, digits: int = 2) -> str:
    if entry["value"] is None:
        return "–"
    value, low, high = (f"{100 * entry[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} % [{low}, {high}]"


def factor(entry: dict) -> str:
    if entry["value"] is None:
        return "–"
    low, high = ("–" if entry[key] is None else f"{entry[key]:.1f}" for key in ("low", "high"))
    return f"{entry['value']:.1f} [{low}, {high}]"


def lfw_lines(parts: list[dict]) -> list[str]:
    lines = [
        "## LFW",
        "",
        "| model | view 2, 10 folds | view 2, AUC | all pairs, EER | FNMR at FMR 1e-3, by identity "
        "| FNMR at FMR 1e-4, by identity |",
        "|---|---|---|---|---|---|",
    ]
    for part in parts:
        two, every = part["lfw_view_2"], part["lfw_all_pairs"]
        missed = every["fnmr_at_fmr_by_identity"]
        cells = [
            rate(two["accuracy"]), rate(two["auc"]), rate(every["eer"]),
            rate(missed["1e-3"]), rate(missed["1e-4"]),
        ]  # fmt: skip
        lines.append(f"| {part['model']} | {' | '.join(cells)} |")
    return lines


def fairface_lines(parts: list[dict], key: str, title: str) -> list[str]:
    """Groups as rows, models as columns."""
    names = sorted(parts[0][key]["groups"])
    lines = [f"## {title}", "", f"| group | {' | '.join(p['model'] for p in parts)} |"]
    lines.append("|---" * (len(parts) + 1) + "|")
    for name in names:
        rows = [part[key]["groups"][name] for part in parts]
        cells = [f"{row['n_false_matches']:,}: {rate(row['fmr'])}" for row in rows]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    cells = [factor(part[key]["fmr_gap"]["ratio"]) for part in parts]
    lines.append(f"| **worst to best** | {' | '.join(cells)} |")
    cells = [f"{part[key]['threshold']:.4f}" for part in parts]
    return [*lines, f"| threshold | {' | '.join(cells)} |"]


def table(parts: list[dict], command: str) -> str:
    some = parts[0]["fairface_at_0.25"]["groups"]
    pairs = next(iter(some.values()))["n_impostor"]
    lines = [
        "# Embedders on LFW and FairFace validation",
        "",
        f"Made by `{command}`; all figures in the JSON beside it. Intervals are 95 %, identities "
        "as units; on FairFace, where nobody's identity is known, pictures.",
        "",
        LOOKS,
        "",
        *lfw_lines(parts),
        "",
        f"FairFace: {len(some)} groups of {pairs:,} impostor pairs each, without the mirror image; "
        "a cell is false matches: FMR. The pairs lie inside groups, and no identity is known, so "
        "nothing here says whom a model turns away.",
        "",
        *fairface_lines(parts, "fairface_at_0.25", "FairFace at the cosine 0.25"),
        "",
        "One cosine is not one operating point: the models' similarities are spread differently.",
        "",
        *fairface_lines(
            parts, "fairface_at_own_fmr_1e-2", "FairFace at each model's own FMR of 1e-2"
        ),
        "",
        "These thresholds were chosen on the same pairs, so the overall FMR is 1e-2 by "
        "construction; only the differences between groups are findings.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="ONNX files, safetensors models or run folders")
    for name in ("lfw", "lfw-pairs", "fairface", "fairface-pairs"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--work", type=Path, required=True, help="where finished parts are kept")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    own = sha256_file(__file__)[:8]
    parts = []
    for model in options.models:
        kept = options.work / f"{Path(model).stem}-{sha256_file(model)[:12]}-{own}.json"
        if not kept.is_file():
            write_json(kept, part_of(model, options))
        parts.append(json.loads(kept.read_text(encoding="utf-8")))
    files = ("lfw", "lfw_pairs", "fairface", "fairface_pairs")
    said = [f"--{f.replace('_', '-')} {Path(getattr(options, f)).name}" for f in files]
    names = [Path(model).name for model in options.models]
    command = " ".join(["python benchmarks/embedders.py", *names, *said])
    if options.out is not None:
        write_json(options.out, {"command": command, "lfw_looks": LOOKS, "models": parts})
    if options.table is not None:
        options.table.write_text(table(parts, command), encoding="utf-8")
    print(json.dumps({part["model"]: part["lfw_view_2"]["accuracy"]["value"] for part in parts}))


if __name__ == "__main__":
    main()
