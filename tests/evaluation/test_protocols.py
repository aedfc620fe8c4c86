"""Protocols, comparisons and tables on noise faces."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import ConstantEmbedder, MeanEmbedder, NoiseFaces, Pair, PairList, RandomEmbedder

from crossface.core.errors import DataError, UnknownName
from crossface.evaluation import scores
from crossface.evaluation.compare import compare_all_pairs, compare_pairs
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.protocols import PROTOCOLS
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
from crossface.evaluation.protocols.pairs import evaluate_pairs
from crossface.evaluation.report import (
    align_columns,
    comparison_table,
    report_table,
    target_name,
    to_json,
)

PEOPLE = 40
SOURCE = NoiseFaces((3,) * PEOPLE)
FIXED = ("model", "contract_id", "protocol", "n_pairs", "n_identities", "fta", "auc", "eer")


def pair_list(folds=4):
    rows = []
    for person in range(PEOPLE):
        fold, other = person % folds, (person + folds) % PEOPLE
        first, second = 3 * person, 3 * person + 1
        rows.append(Pair(fold, SOURCE.key(first), SOURCE.key(second), True))
        rows.append(Pair(fold, SOURCE.key(first), SOURCE.key(3 * other + 2), False))
    return PairList(tuple(rows))


@pytest.fixture(scope="module")
def embedded():
    models = {"mean": MeanEmbedder(), "random": RandomEmbedder(), "constant": ConstantEmbedder()}
    return {n: embed_faces(m, SOURCE, progress=False) for n, m in models.items()}


def test_the_registry_resolves_its_protocols():
    assert {"all-pairs", "pairs", "identify", "rfw", "ytf", "robustness"} <= set(PROTOCOLS.names())
    assert PROTOCOLS.resolve("pairs") is evaluate_pairs
    assert PROTOCOLS.resolve("all-pairs") is evaluate_all_pairs
    with pytest.raises(UnknownName, match="all-pairs"):
        PROTOCOLS.resolve("all_pair")


def test_pairs_reports_the_fixed_keys(embedded, tmp_path):
    report = evaluate_pairs(embedded["mean"], pair_list(), fmr_targets=(0.9, 1e-3))
    for key in (*FIXED, "accuracy", "tar_at_fmr"):
        assert key in report
    assert report["protocol"] == "pairs"
    assert (report["n_pairs"], report["n_identities"]) == (2 * PEOPLE, PEOPLE)
    assert report["accuracy"]["value"] == 1.0
    assert report["accuracy"]["low"] == pytest.approx(0.025 ** (1 / PEOPLE))
    assert set(report["tar_at_fmr"]) == {"9e-1", "1e-3"}
    assert report["tar_at_fmr"]["9e-1"]["value"] == 1.0
    assert report["tar_at_fmr"]["1e-3"]["value"] is None
    assert "at least 30" in report["tar_at_fmr"]["1e-3"]["reason"]
    to_json(report, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["eer"]["value"] == 0.0


def test_all_pairs_reports_the_fixed_keys(embedded, tmp_path):
    report = evaluate_all_pairs(embedded["mean"])
    for key in (*FIXED, "fnmr_at_fmr"):
        assert key in report
    images = 3 * PEOPLE
    assert report["n_pairs"] == images * (images - 1) // 2
    assert report["n_genuine"] == 3 * PEOPLE
    assert list(report["fnmr_at_fmr"]) == ["1e-2", "1e-3", "1e-4", "1e-5", "1e-6"]
    entry = report["fnmr_at_fmr"]["1e-2"]
    assert set(entry) >= {"value", "low", "high", "threshold", "n_false_matches_expected"}
    assert entry["value"] == 0.0
    assert 0 < entry["high"] < 0.2
    assert report["fnmr_at_fmr"]["1e-3"]["value"] is None
    to_json(report, tmp_path / "r.json")


@pytest.mark.parametrize("protocol", ["pairs", "all-pairs"])
def test_a_random_embedder_is_at_chance_and_a_constant_one_is_defined(embedded, protocol):
    for name in ("random", "constant"):
        faces = embedded[name]
        report = (
            evaluate_pairs(faces, pair_list()) if protocol == "pairs" else evaluate_all_pairs(faces)
        )
        assert report["auc"]["value"] == pytest.approx(0.5, abs=0.15)
        assert report["eer"]["value"] == pytest.approx(0.5, abs=0.15)
        assert report["auc"]["low"] <= report["auc"]["value"] <= report["auc"]["high"]
        assert report["eer"]["low"] <= report["eer"]["value"] <= report["eer"]["high"]
    if protocol == "all-pairs":  # one score only: nothing but rejecting all keeps the FMR
        assert report["fnmr_at_fmr"]["1e-2"]["value"] == 1.0


def test_pairs_do_not_depend_on_their_order(embedded):
    rows = pair_list().pairs
    mixed = PairList(tuple(rows[i] for i in np.random.default_rng(0).permutation(len(rows))))
    one = evaluate_pairs(embedded["random"], pair_list())
    two = evaluate_pairs(embedded["random"], mixed)
    for key in ("accuracy", "auc", "eer"):
        assert one[key]["value"] == pytest.approx(two[key]["value"])


def test_a_key_that_is_not_in_the_source_is_named_with_the_list(embedded):
    rows = PairList((*pair_list().pairs, Pair(0, "nobody/1", SOURCE.key(0), False)))
    with pytest.raises(DataError, match=r"my list: 'nobody/1' is not among the faces of noise"):
        evaluate_pairs(embedded["mean"], rows, list_name="my list")


def test_pairs_of_a_picture_that_failed_are_counted_and_left_out():
    source = NoiseFaces((3,) * PEOPLE, broken=(0, 4))
    faces = embed_faces(MeanEmbedder(), source, progress=False)
    report = evaluate_pairs(faces, pair_list())
    lost = sum(bool({p.a, p.b} & {source.key(0), source.key(4)}) for p in pair_list().pairs)
    assert report["n_pairs_lost"] == lost == 3
    assert report["n_pairs"] == 2 * PEOPLE - lost
    assert report["fta"] == pytest.approx(2 / (3 * PEOPLE))
    assert [f["name"] for f in report["failures"]] == [source.key(0), source.key(4)]


def test_an_unlabelled_set_is_grouped_by_its_genuine_pairs(embedded):
    blank = replace(embedded["mean"], identities=(None,) * len(embedded["mean"].keys))
    report = evaluate_pairs(blank, pair_list())
    # every person's first two pictures are joined, the third stands alone
    assert report["n_identities"] == 2 * PEOPLE
    with pytest.raises(DataError, match="needs an identity for every picture"):
        evaluate_all_pairs(blank)


def test_a_list_without_folds_gives_no_accuracy_but_the_rest(embedded):
    rows = PairList(tuple(replace(pair, fold=0) for pair in pair_list().pairs))
    report = evaluate_pairs(embedded["random"], rows)
    assert report["accuracy"]["value"] is None
    assert "at least one other fold" in report["accuracy"]["reason"]
    assert report["auc"]["low"] is not None


def test_a_list_of_one_kind_only_is_refused(embedded):
    rows = PairList(tuple(pair for pair in pair_list().pairs if pair.same))
    with pytest.raises(DataError, match="got 40 and 0"):
        evaluate_pairs(embedded["mean"], rows)


def test_few_identities_give_a_value_and_the_reason_for_no_interval():
    faces = embed_faces(RandomEmbedder(), NoiseFaces((4,) * 5), progress=False)
    report = evaluate_all_pairs(faces)
    assert report["auc"]["low"] is None
    assert "10 identities" in report["auc"]["reason"]
    assert "there are 5" in report_table(report)


def test_a_large_set_says_when_the_eer_lies_beyond_what_is_kept(embedded, monkeypatch):
    monkeypatch.setattr(scores, "KEEP_ALL", 1000)
    report = evaluate_all_pairs(embedded["random"])
    assert report["eer"]["value"] is None
    assert report["auc"]["value"] is not None


def noisy(faces, seed, amount):
    rng = np.random.default_rng(seed)
    moved = faces.embeddings + amount * rng.normal(size=faces.embeddings.shape)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    model = faces.contract.model_copy(update={"model_id": f"noisy{amount}-{seed}"})
    return replace(faces, embeddings=moved.astype(np.float32), contract=model)


def test_a_clearly_better_model_is_found_better_by_both_protocols(embedded):
    good = [noisy(embedded["mean"], seed, 0.05) for seed in (1, 2)]
    poor = [noisy(embedded["mean"], seed, 0.14) for seed in (3, 4, 5)]
    found = compare_all_pairs(good, poor, fmr_targets=(1e-2, 1e-6))
    for name in ("FNMR at FMR 1e-2", "FNMR at FMR 1e-2 by identity", "EER"):
        entry = found["differences"][name]
        assert entry["value"] == pytest.approx(entry["a"] - entry["b"])
        assert entry["low"] < entry["value"] < entry["high"] < 0
    assert found["differences"]["FNMR at FMR 1e-6"]["value"] is None
    single = [evaluate_all_pairs(one)["fnmr_at_fmr"]["1e-2"]["value"] for one in poor]
    assert found["differences"]["FNMR at FMR 1e-2"]["b"] == pytest.approx(np.mean(single))
    pairs = compare_pairs(good, poor, pair_list(), fmr_targets=(0.9, 1e-3))
    assert pairs["differences"]["AUC"]["low"] > 0
    assert pairs["differences"]["TAR at FMR 1e-3"]["value"] is None
    text = comparison_table(pairs)
    assert "noisy0.05-1, noisy0.05-2" in text
    assert "at least 30" in text


def test_a_model_compared_with_itself_differs_by_nothing(embedded):
    one = noisy(embedded["mean"], 1, 0.14)
    for found in (compare_all_pairs([one], [one]), compare_pairs([one], [one], pair_list())):
        for entry in found["differences"].values():
            if entry["value"] is not None:
                assert entry["value"] == 0
                assert entry["low"] == pytest.approx(0, abs=1e-9)


def test_models_are_compared_on_the_pictures_both_could_embed(embedded):
    whole = noisy(embedded["mean"], 1, 0.05)
    broken = NoiseFaces((3,) * PEOPLE, broken=(0, 4))
    less = embed_faces(MeanEmbedder(), broken, progress=False)
    found = compare_all_pairs([whole], [less], fmr_targets=(1e-2,))
    assert found["n_images"] == 3 * PEOPLE - 2
    assert compare_pairs([whole], [less], pair_list())["n_images"] == 3 * PEOPLE - 2


def test_models_on_different_faces_are_not_compared(embedded):
    other = replace(embedded["mean"], source_digest="another")
    with pytest.raises(DataError, match="same faces"):
        compare_all_pairs([embedded["mean"]], [other])
    with pytest.raises(DataError, match="got 1 and 0"):
        compare_all_pairs([embedded["mean"]], [])


def test_tables_are_aligned_and_say_the_interval(embedded):
    text = report_table(evaluate_pairs(noisy(embedded["mean"], 1, 0.14), pair_list()))
    lines = text.splitlines()
    assert "80 pairs, 40 identities, FTA 0.000 %" in lines[0]
    assert any(line.startswith("accuracy") and " .. " in line for line in lines)
    assert align_columns([("a", "1", "x"), ("bcd", "22", "")]) == ["a     1  x", "bcd  22"]


def test_targets_are_named_as_people_write_them():
    assert [target_name(t) for t in (1e-2, 1e-3, 1e-6, 3e-4, 0.5)] == [
        "1e-2",
        "1e-3",
        "1e-6",
        "3e-4",
        "5e-1",
    ]
