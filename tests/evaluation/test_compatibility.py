"""The 2x2 matrix of two models: rotations of one space, noise, other dimensions."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import MeanEmbedder, NoiseFaces, contract

from crossface.core.errors import ContractMismatch, DataError
from crossface.core.vectors import unit
from crossface.data.formats.pair_list import Pair, PairList
from crossface.evaluation import scores
from crossface.evaluation.compatibility import (
    CELLS,
    compatibility_table,
    evaluate_compatibility,
)
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.linear_map import fit_linear_map


@pytest.fixture(scope="module")
def faces():
    return embed_faces(MeanEmbedder(), NoiseFaces((4,) * 40, noise=3000.0), progress=False)


def rotated(faces, seed=0):
    """The same model in another basis: as good alone, useless against the original."""
    rng = np.random.default_rng(seed)
    dim = faces.embeddings.shape[1]
    basis, _ = np.linalg.qr(rng.normal(size=(dim, dim)))
    return replace(
        faces,
        embeddings=(faces.embeddings @ basis).astype(np.float32),
        contract=contract(dim, "rotated"),
    )


def test_a_model_against_itself_has_four_equal_cells(faces):
    report = evaluate_compatibility(faces, faces)
    assert report["same_space"]
    assert len({cell["auc"]["value"] for cell in report["cells"].values()}) == 1


def test_a_rotation_is_as_good_alone_and_useless_across(faces):
    report = evaluate_compatibility(faces, rotated(faces))
    found = {cell: report["cells"][cell]["auc"]["value"] for cell in CELLS}
    assert not report["same_space"]
    assert found["A-A"] == pytest.approx(found["B-B"], abs=1e-4)
    assert found["A-A"] > 0.7
    assert abs(found["A-B"] - 0.5) < 0.1
    assert abs(found["B-A"] - 0.5) < 0.1


def test_a_map_fitted_on_others_makes_a_rotation_as_good_as_itself(faces):
    others = embed_faces(
        MeanEmbedder(), NoiseFaces((4,) * 40, noise=3000.0, seed=5), progress=False
    )
    into = fit_linear_map(others, rotated(others), ridge=0.0)
    report = evaluate_compatibility(faces, rotated(faces), into=into)
    found = {cell: report["cells"][cell]["auc"]["value"] for cell in CELLS}
    assert max(found.values()) - min(found.values()) < 1e-3
    assert not report["same_space"]
    assert report["b"]["model_id"] == "rotated"
    assert "B is mapped into A's space, fitted on " in compatibility_table(report)
    with pytest.raises(DataError, match="measure it on other pictures"):
        evaluate_compatibility(others, rotated(others), into=into)


def test_the_map_is_that_of_ridge_regression_by_scikit_learn(faces):
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(2)
    x = faces.embeddings.astype(float)
    other = replace(faces, embeddings=unit(np.tanh(x @ rng.normal(size=(x.shape[1],) * 2))))
    into = fit_linear_map(other, faces, ridge=0.05)
    alpha = 0.05 * np.trace(x.T @ x) / x.shape[1]
    expected = Ridge(alpha=alpha, fit_intercept=False).fit(x, other.embeddings).coef_
    np.testing.assert_allclose(into.matrix, expected, atol=1e-5)
    few = replace(faces, embeddings=faces.embeddings[:3], keys=faces.keys[:3])
    few = replace(few, identities=faces.identities[:3])
    with pytest.raises(DataError, match="3 pictures cannot fit a map"):
        fit_linear_map(few, few)


def test_the_mixed_table_is_first_picture_by_a_and_second_by_b_in_a_loop(faces, monkeypatch):
    monkeypatch.setattr(scores, "_BLOCK_CELLS", 1)
    rng = np.random.default_rng(1)
    noisy = faces.embeddings + rng.normal(scale=0.05, size=faces.embeddings.shape)
    other = replace(faces, embeddings=unit(noisy))
    table = scores.score_all_pairs(faces, probes=other)
    order = np.argsort(np.array(faces.identities), kind="stable")
    genuine, impostor = [], []
    for place, i in enumerate(order):
        for j in order[place + 1 :]:
            score = float(faces.embeddings[i] @ other.embeddings[j])
            (genuine if faces.identities[i] == faces.identities[j] else impostor).append(score)
    np.testing.assert_allclose(table.genuine, sorted(genuine), atol=1e-5)
    np.testing.assert_allclose(table.tail[::-1], sorted(impostor), atol=1e-5)


def test_a_pair_list_takes_the_enrolled_picture_from_a_and_the_probe_from_b(faces):
    keys = faces.keys
    pairs = [Pair(n % 10, keys[4 * n], keys[4 * n + 1], True) for n in range(40)]
    pairs += [Pair(n % 10, keys[4 * n], keys[(4 * n + 5) % 160], False) for n in range(40)]
    other = rotated(faces)
    report = evaluate_compatibility(faces, other, pairs=PairList("list", tuple(pairs)))
    place = {key: n for n, key in enumerate(keys)}
    mixed = [float(faces.embeddings[place[p.a]] @ other.embeddings[place[p.b]]) for p in pairs]
    genuine, impostor = np.array(mixed[:40]), np.array(mixed[40:])
    above = (genuine[:, None] > impostor).mean() + (genuine[:, None] == impostor).mean() / 2
    assert report["cells"]["A-B"]["auc"]["value"] == pytest.approx(above, abs=1e-6)


def test_the_table_names_both_models_and_every_cell(faces):
    text = compatibility_table(evaluate_compatibility(faces, rotated(faces)))
    assert "do NOT share a space" in text
    assert all(cell in text for cell in CELLS)


def test_other_dimensions_and_other_pictures_are_refused(faces):
    small = embed_faces(MeanEmbedder(4), NoiseFaces((4,) * 40, noise=3000.0), progress=False)
    with pytest.raises(ContractMismatch, match="never be compared"):
        evaluate_compatibility(faces, small)
    other = embed_faces(MeanEmbedder(), NoiseFaces((4,) * 40, seed=5), progress=False)
    with pytest.raises(DataError, match="same faces"):
        evaluate_compatibility(faces, other)
