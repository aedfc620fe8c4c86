"""From a finished run to a packaged model: ONNX with its threshold card, and the card of the model.

python benchmarks/package_model.py RUN --name default --teacher-licence "Apache-2.0" \
    --lfw lfw112.zip --lfw-pairs lfw_pairs.txt --fairface fairface_val112.zip \
    --fairface-pairs fairface_val_impostor_pairs.csv --out src/crossface/assets

Writes NAME.onnx and NAME.json and prints the row for ``core/weights.toml``; with --quantize-on
NAME_int8 too, where the gate lets it through. Thresholds are chosen on one half of LFW's people and
checked on the other; LFW and FairFace's validation set are looked at here and nowhere before.
Everything is measured without the mirror image, as the runtime embeds; LFW's ten folds also with
it, as the field does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from crossface.api import embed, export, load_model, quantize
from crossface.audit.groups import read_impostor_pairs
from crossface.audit.report import audit_faces, common_threshold
from crossface.core.files import sha256_file, write_json
from crossface.data.formats.pair_list import read_pairs
from crossface.evaluation.card import make_card
from crossface.evaluation.card_check import check_card
from crossface.evaluation.halves import disjoint_halves
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
from crossface.evaluation.protocols.pairs import evaluate_pairs
from crossface.exporting.threshold_card import write_threshold_card
from crossface.nets.checkpoint import load_model as load_network
from crossface.training.run import environment

CAVEAT = (
    "The pictures that the teacher itself was trained on were collected from the web; their people "
    "were not asked."
)
FAIRFACE = {
    "name": "FairFace, training crops aligned to 112x112, without labels",
    "licence": "CC BY 4.0",
    "source": "https://github.com/joojs/fairface",
}
FMR = 1e-2
HALVES_SEED = 0
_PATHS = (("data", "path"), ("teacher", "path"), ("teacher", "features"), ("student", "weights"))
KEPT = ("accuracy", "auc", "eer", "tar_at_fmr", "fnmr_at_fmr", "fnmr_at_fmr_by_identity")
COUNTS = ("n_pairs", "n_identities", "n_images", "flip", "data_digest")


def figures(report: dict) -> dict:
    """What a reader asks for, without what a checker asks for."""
    return {key: report[key] for key in (*COUNTS, *KEPT) if key in report}


def groups(model: str | Path, options: argparse.Namespace) -> dict:
    """False matches of FairFace's groups at the threshold of one FMR over all of them."""
    faces = embed(model, options.fairface, flip=False, threads=options.threads)
    lists = read_impostor_pairs(options.fairface_pairs)
    threshold, source = common_threshold(faces, None, fmr=FMR, lists=lists)
    report = audit_faces(faces, threshold=threshold, threshold_source=source, lists=lists)
    column = report["columns"]["listed pairs"]
    rows = {name: row["fmr"] for name, row in column["groups"].items()}
    return {
        "overall_fmr": FMR,
        "threshold": threshold,
        "worst_to_best": column["fmr_gap"]["ratio"],
        "fmr": rows,
    }


def of_run(run: Path) -> dict:
    """How it was made, from the run's own files."""
    config, made, summary = (
        json.loads((run / name).read_text(encoding="utf-8"))
        for name in ("config.json", "environment.json", "summary.json")
    )
    for table, key in _PATHS:
        if config.get(table, {}).get(key):
            config[table][key] = Path(config[table][key]).name
    return {"config": config, "summary": summary, "environment": made}


def write(plain: Path, name: str, options: argparse.Namespace, told: dict) -> dict:
    """Measure an export, give it its threshold card, and write it and its card."""
    target = options.out / f"{name}.onnx"
    embedder = load_model(plain, threads=options.threads)
    faces = embed(embedder, options.lfw, flip=False)
    chosen, others = disjoint_halves(faces, HALVES_SEED)
    card = make_card(chosen)
    note = (
        f"chosen on one half of LFW's people (seed {HALVES_SEED}), checked on the other, "
        "which took no part"
    )
    card = card.model_copy(update={"notes": (*card.notes, note)})
    write_threshold_card(
        plain, card, target, contract=embedder.contract, input_spec=embedder.input_spec
    )
    mirrored = embed(target, options.lfw, threads=options.threads)
    pairs = read_pairs(options.lfw_pairs)
    list_name = Path(options.lfw_pairs).name
    document = {
        "name": name,
        "sha256": sha256_file(target),
        "bytes": target.stat().st_size,
        "contract": embedder.contract.model_dump(mode="json"),
        "input_spec": embedder.input_spec.model_dump(mode="json"),
        "teacher_licence": options.teacher_licence,
        "data": [FAIRFACE],
        "caveat": CAVEAT,
        "lfw": figures(evaluate_pairs(faces, pairs, list_name=list_name)),
        "lfw_with_mirror_image": figures(evaluate_pairs(mirrored, pairs, list_name=list_name)),
        "lfw_all_pairs": figures(evaluate_all_pairs(faces)),
        "fairface_validation": groups(target, options),
        "thresholds": card.model_dump(mode="json"),
        "thresholds_checked": check_card(card, others),
        **told,
        "measured": environment(),
    }
    write_json(target.with_suffix(".json"), document)
    print(f"[{name}]\npackaged = {target.name!r}\nsha256 = {document['sha256']!r}")
    return document


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--teacher-licence", required=True)
    for name in ("lfw", "lfw-pairs", "fairface", "fairface-pairs"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--quantize-on", help="training crops: also NAME_int8, if the gate lets it")
    parser.add_argument("--int8-only", action="store_true", help="NAME itself is there already")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.int8_only and options.quantize_on is None:
        parser.error("--int8-only needs --quantize-on")

    network = load_network(options.run / "student.safetensors")
    made = of_run(options.run)
    told = {
        "parameters": sum(p.numel() for p in network.net.parameters()),
        "method": made["config"]["distiller"]["name"],
        "teacher": made["config"]["teacher"]["path"],
        "made": made,
    }
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / f"{options.name}.onnx"
        parity = asdict(export(options.run, plain).parity)
        if not options.int8_only:
            write(plain, options.name, options, told | {"parity": parity})
        if options.quantize_on is None:
            return
        small = Path(scratch) / f"{options.name}_int8.onnx"
        gate = quantize(
            plain,
            small,
            calibrate=options.quantize_on,
            data=options.lfw,
            pairs=options.lfw_pairs,
        )
        write_json(
            options.out / f"{options.name}_int8_gate.json", gate | {"measured": environment()}
        )
        if not gate["accepted"]:
            print(f"{options.name}_int8 is not kept: {'; '.join(gate['reasons'])}")
            return
        write(small, f"{options.name}_int8", options, told | {"gate": gate})


if __name__ == "__main__":
    main()
