"""Ladders: the clean rung repeats the clean figures, bad ones are worse, thresholds as said."""

import zlib

import numpy as np
import pytest
from fakes import ConstantEmbedder, MeanEmbedder, NoiseFaces, contract

from crossface.core.contract import InputSpec
from crossface.core.errors import DataError, UsageError
from crossface.data.build_pairs import build_pairs
from crossface.evaluation import metrics
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.pair_scores import score_pairs
from crossface.evaluation.report import align_columns, to_json
from crossface.evaluation.robustness import evaluate_robustness, own_pairs, robustness_table


class FragileEmbedder:
    """Block means, drowned in noise that depends on the pixels and grows with their roughness."""

    input_spec = InputSpec()
    contract = contract(48, "fragile")

    def embed(self, crops):
        means = MeanEmbedder(4).embed(crops)
        rough = np.abs(np.diff(crops.astype(np.int16), axis=2)).mean(axis=(1, 2, 3)) / 10
        seeds = [zlib.crc32(crop.tobytes()) for crop in crops]
        noise = np.stack([np.random.default_rng(seed).normal(size=48) for seed in seeds])
        size = np.sqrt((means**2).mean(axis=1, keepdims=True))
        return (means + 0.1 * rough[:, None] ** 2 * size * noise).astype(np.float32)


SOURCE = NoiseFaces((3,) * 40, noise=20.0)
PAIRS = build_pairs(SOURCE, pairs_per_fold=40, folds=2)
SETTING = {"pairs": PAIRS, "fmr_target": 0.4, "progress": False}


@pytest.fixture(scope="module")
def report():
    return evaluate_robustness(
        FragileEmbedder(), SOURCE, kinds=("noise", "mask"),
        levels={"noise": (0, 100), "mask": (1.0,)}, **SETTING,
    )  # fmt: skip


def test_the_clean_figures_are_those_of_the_pair_list(report):
    faces = embed_faces(FragileEmbedder(), SOURCE, progress=False)
    scored = score_pairs(faces, PAIRS, list_name="x")
    genuine, impostor = scored.scores[scored.same], scored.scores[~scored.same]
    clean = report["clean"]
    assert clean["tar_at_fmr"]["value"] == metrics.tar_at_fmr(genuine, impostor, 0.4)
    assert clean["fnmr_at_clean_threshold"]["value"] == metrics.fnmr_at_fmr(genuine, impostor, 0.4)
    folds = metrics.kfold_accuracy(scored.scores, scored.same, scored.folds)
    assert clean["accuracy"]["value"] == folds.value
    assert report["clean_threshold"] == metrics.threshold_at_fmr(impostor, 0.4)


def test_a_rung_that_changes_nothing_changes_no_figure(report):
    same = report["ladders"]["noise"]["levels"][0]
    assert same["level"] == 0
    for name, entry in report["clean"].items():
        if isinstance(entry, dict):
            assert same[name]["value"] == pytest.approx(entry["value"])
            assert same[name]["low"] == pytest.approx(entry["low"])
    assert same["fnmr_change"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_bad_picture_misses_more_at_the_clean_threshold(report):
    level = report["ladders"]["noise"]["levels"][1]
    clean = report["clean"]["fnmr_at_clean_threshold"]
    worse = level["fnmr_at_clean_threshold"]
    assert worse["value"] > clean["value"] + 0.1
    assert worse["low"] < worse["value"] < worse["high"]
    change = level["fnmr_change"]
    assert change["value"] == pytest.approx(worse["value"] - clean["value"])
    assert change["low"] > 0


def test_the_report_is_json_and_a_table(report, tmp_path):
    to_json(report, tmp_path / "r.json")
    lines = align_columns(robustness_table(report))
    assert len(lines) == 5
    assert lines[1].startswith("none")
    assert lines[4].startswith("mask")
    assert report["ladders"]["mask"]["unit"].startswith("share")


def test_without_a_list_one_is_made_from_the_labels():
    made, name = own_pairs(NoiseFaces((3,) * 120), seed=0)
    assert len(made.pairs) == 600
    assert name == "10 x 30 + 30 pairs of noise, seed 0"
    with pytest.raises(DataError, match="can give 0 genuine pairs"):
        own_pairs(NoiseFaces((1,) * 120), seed=0)


def test_pairs_of_a_picture_that_failed_are_counted():
    source = NoiseFaces((3,) * 40, noise=20.0, broken=(0,))
    lost = sum(source.key(0) in (p.a, p.b) for p in PAIRS.pairs)
    report = evaluate_robustness(
        ConstantEmbedder(), source, kinds=("blur",), levels={"blur": (2,)}, **SETTING
    )
    level = report["ladders"]["blur"]["levels"][0]
    assert level["n_pairs_lost"] == report["n_pairs_lost"] == lost > 0
    assert level["fnmr_at_clean_threshold"]["value"] == 1


def test_what_cannot_be_measured_is_refused_before_anything_is_embedded():
    with pytest.raises(UsageError, match="no ladder is named 'fog'"):
        evaluate_robustness(None, SOURCE, kinds=("fog",), **SETTING)
    with pytest.raises(UsageError, match="the level of jpeg"):
        evaluate_robustness(None, SOURCE, kinds=("jpeg",), levels={"jpeg": (500,)}, **SETTING)
    with pytest.raises(UsageError, match="at least one ladder"):
        evaluate_robustness(None, SOURCE, kinds=(), **SETTING)
    with pytest.raises(DataError, match=r"no threshold at FMR 0\.001 can be chosen"):
        evaluate_robustness(None, SOURCE, **{**SETTING, "fmr_target": 1e-3})


def test_the_order_of_the_pairs_changes_no_figure(report):
    from dataclasses import replace

    order = np.random.default_rng(0).permutation(len(PAIRS))
    mixed = replace(PAIRS, pairs=tuple(PAIRS.pairs[i] for i in order))
    other = evaluate_robustness(
        FragileEmbedder(), SOURCE, kinds=("mask",), levels={"mask": (1.0,)},
        **{**SETTING, "pairs": mixed},
    )  # fmt: skip
    ours, theirs = (r["ladders"]["mask"]["levels"][0] for r in (report, other))
    for name in ("fnmr_at_clean_threshold", "fmr_at_clean_threshold", "tar_at_fmr", "accuracy"):
        assert ours[name]["value"] == pytest.approx(theirs[name]["value"])
