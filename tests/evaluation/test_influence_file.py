"""Influences kept in a file give the comparison that the embeddings give."""

from __future__ import annotations

import numpy as np
import pytest

from crossface.core.errors import DataError
from crossface.evaluation.compare import (
    all_pairs_influences,
    compare_all_pairs,
    compare_influences,
    mean_rates,
)
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.influence import Influence
from crossface.evaluation.influence_file import load_influences, save_influences
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
from crossface.evaluation.scores import score_all_pairs
from evaluation.fakes import MeanEmbedder, NoiseFaces
from evaluation.test_protocols import noisy

TARGETS = (1e-2, 1e-6)


@pytest.fixture(scope="module")
def models():
    faces = embed_faces(MeanEmbedder(), NoiseFaces((3,) * 40), progress=False)
    return [noisy(faces, seed, amount) for seed, amount in enumerate((0.05, 0.06, 0.14))]


def stored(folder, faces):
    table = score_all_pairs(faces)
    save_influences(folder, all_pairs_influences(table, TARGETS), table.sizes, faces.keys)
    return load_influences(folder)


def test_a_comparison_from_files_is_that_from_embeddings(models, tmp_path):
    (first, sizes, pictures), (second, _, _), (poor, _, others) = [
        stored(tmp_path / f"{n}.npz", faces) for n, faces in enumerate(models)
    ]
    assert pictures == others
    found = compare_influences([first, second], [poor], sizes)
    expected = compare_all_pairs(models[:2], models[2:], fmr_targets=TARGETS)["differences"]
    assert found.keys() == expected.keys()
    assert found["FNMR at FMR 1e-6"]["reason"] == expected["FNMR at FMR 1e-6"]["reason"]
    for name, entry in expected.items():
        for key, value in entry.items():
            if isinstance(value, float):
                assert found[name][key] == pytest.approx(value, rel=1e-6, abs=1e-9), (name, key)
    assert found["FNMR at FMR 1e-2 by identity"]["high"] < 0


def test_the_rate_of_one_model_is_its_report_and_of_two_their_mean(models, tmp_path):
    parts = []
    for number, faces in enumerate(models[1:]):
        table = score_all_pairs(faces)
        parts.append(stored(tmp_path / f"{number}.npz", faces)[0])
        report = evaluate_all_pairs(faces, fmr_targets=TARGETS)
        errors = report["fnmr_at_fmr"]["1e-2"]["n_false_non_matches"]
        counted = dict.fromkeys(parts[-1], errors)
        found = mean_rates(parts[-1:], table.sizes, errors=counted)
        for suffix, key in (("", "fnmr_at_fmr"), (" by identity", "fnmr_at_fmr_by_identity")):
            entry = found[f"FNMR at FMR 1e-2{suffix}"]
            for limit in ("value", "low", "high"):
                assert entry[limit] == pytest.approx(report[key]["1e-2"][limit], rel=1e-5)
    both = mean_rates(parts, table.sizes)["FNMR at FMR 1e-2"]
    singles = [part["FNMR at FMR 1e-2"].value for part in parts]
    assert both["value"] == pytest.approx(np.mean(singles))
    assert both["low"] < both["value"] < both["high"]
    assert mean_rates(parts, table.sizes)["FNMR at FMR 1e-6"]["value"] is None


def test_everything_but_the_vectors_is_exact(tmp_path):
    rng = np.random.default_rng(0)
    dyads = np.unique(rng.integers(0, 900, 40))
    counts = rng.integers(1, 4, len(dyads))
    one = Influence(0.25, rng.normal(size=30), dyads, -0.3 * counts, 0.011)
    two = Influence(0.5, rng.normal(size=30), dyads, 0.7 * counts, -0.02)
    none = Influence(0.75, rng.normal(size=30), dyads[:0], np.empty(0), 0.0)
    given = {"one": one, "two": two, "none": none, "absent": "too few"}
    save_influences(tmp_path / "x.npz", given, np.full(30, 300), ("a", "b"))
    found, sizes, _ = load_influences(tmp_path / "x.npz")
    assert found["absent"] == "too few"
    np.testing.assert_array_equal(sizes, 300)
    for name in ("one", "two", "none"):
        assert found[name].value == given[name].value
        assert found[name].dyad_base == given[name].dyad_base
        np.testing.assert_array_equal(found[name].dyads, given[name].dyads)
        np.testing.assert_array_equal(found[name].dyad, given[name].dyad)
        np.testing.assert_allclose(found[name].node, given[name].node, rtol=1e-7)


def test_what_is_no_such_file_is_named(tmp_path):
    bad = tmp_path / "cell.npz"
    with pytest.raises(DataError, match=r"cell\.npz: expected a file of influences"):
        load_influences(bad)
    bad.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(DataError, match=r"cell\.npz: expected a file of influences"):
        load_influences(bad)
    np.savez(tmp_path / "object.npz", version=np.array(1), names=np.array([{}], dtype=object))
    (tmp_path / "object.npz").replace(bad)
    with pytest.raises(DataError, match=r"cell\.npz: expected a file of influences"):
        load_influences(bad)
