"""The protocol identify: the split, the report, what theory says of plain embedders."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import ConstantEmbedder, MeanEmbedder, NoiseFaces, RandomEmbedder

from crossface.core.errors import DataError
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.protocols.identification import (
    evaluate_identification,
    split_searches,
)
from crossface.evaluation.report import report_table, to_json

PEOPLE = 80
SOURCE = NoiseFaces((4,) * PEOPLE)
TARGETS = (0.2, 1e-2)


@pytest.fixture(scope="module")
def embedded():
    models = {"mean": MeanEmbedder(), "random": RandomEmbedder(), "constant": ConstantEmbedder()}
    return {n: embed_faces(m, SOURCE, flip=False, progress=False) for n, m in models.items()}


def split(faces, **options):
    chosen = {"gallery_share": 0.5, "templates_per_person": 1, "seed": 0} | options
    return split_searches(faces, **chosen)


def test_people_are_dealt_into_gallery_mated_and_non_mated_searches(embedded):
    faces = embedded["mean"]
    found = split(faces, gallery_share=0.25, templates_per_person=3)
    enrolled = np.unique(found.identity[found.gallery])
    assert len(enrolled) == PEOPLE // 4
    assert sorted([*found.gallery, *found.probes]) == list(range(4 * PEOPLE))
    for person in enrolled:
        own = sorted(k for k, i in zip(faces.keys, found.identity, strict=True) if i == person)
        in_gallery = [faces.keys[i] for i in found.gallery if found.identity[i] == person]
        assert sorted(in_gallery) == own[:3]


def test_the_split_follows_the_seed_and_not_the_order_of_the_pictures(embedded):
    faces = embedded["mean"]
    order = np.random.default_rng(1).permutation(len(faces.keys))
    mixed = replace(
        faces,
        embeddings=faces.embeddings[order],
        keys=tuple(faces.keys[i] for i in order),
        identities=tuple(faces.identities[i] for i in order),
    )
    one, two, other = split(faces), split(mixed), split(faces, seed=1)

    def enrolled(found, faces):
        return {faces.keys[i] for i in found.gallery}

    assert enrolled(one, faces) == enrolled(two, mixed) != enrolled(other, faces)


def test_the_report_says_what_was_searched_and_what_cannot_be_said(embedded, tmp_path):
    report = evaluate_identification(embedded["mean"], fpir_targets=TARGETS)
    assert report["protocol"] == "identify"
    assert (report["n_enrolled"], report["n_templates"]) == (40, 40)
    assert (report["n_mated_searches"], report["n_non_mated_searches"]) == (120, 160)
    assert report["n_pairs"] == 40 * 280
    assert set(report["rank"]) == {"1", "5", "10"}
    assert set(report["fnir_at_fpir"]) == {"2e-1", "1e-2"}
    entry = report["fnir_at_fpir"]["2e-1"]
    assert entry["n_false_positives_expected"] == 32
    assert entry["fpir"] <= 0.2
    assert report["fnir_at_fpir"]["1e-2"]["value"] is None
    assert "at least 30" in report["fnir_at_fpir"]["1e-2"]["reason"]
    assert "bootstrap" in report["interval"]
    to_json(report, tmp_path / "r.json")
    text = report_table(report)
    assert "FNIR at FPIR 2e-1" in text
    assert "rank 1 " in text
    again = evaluate_identification(embedded["mean"], fpir_targets=TARGETS)
    assert {**report, "seconds": 0} == {**again, "seconds": 0}


def test_a_perfect_embedder_finds_everybody(embedded):
    report = evaluate_identification(embedded["mean"], fpir_targets=TARGETS)
    assert report["rank"]["1"]["value"] == 1.0
    assert report["fnir_at_fpir"]["2e-1"]["value"] == 0.0
    # no error among 40 independent people: Clopper and Pearson for 40 trials
    assert report["fnir_at_fpir"]["2e-1"]["high"] == pytest.approx(1 - 0.025 ** (1 / 40))


def test_a_random_embedder_finds_one_in_n(embedded):
    report = evaluate_identification(embedded["random"], fpir_targets=TARGETS)
    for rank in (1, 5, 10):
        entry = report["rank"][str(rank)]
        assert entry["low"] <= rank / 40 <= entry["high"]
    # a mate passes where the highest of 40 passes in one search of five
    assert report["fnir_at_fpir"]["2e-1"]["value"] == pytest.approx(1 - 0.2 / 40, abs=0.02)


def test_a_constant_embedder_finds_nobody(embedded):
    report = evaluate_identification(embedded["constant"], fpir_targets=TARGETS)
    assert report["rank"]["10"]["value"] == 0.0
    assert report["fnir_at_fpir"]["2e-1"]["value"] == 1.0


def test_a_rank_beyond_the_gallery_is_not_given(embedded):
    report = evaluate_identification(embedded["random"], gallery_share=0.1)
    assert report["rank"]["5"]["value"] is not None
    assert report["rank"]["10"] == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "only 8 people are enrolled",
    }
    assert "8" in report["rank"]["1"]["reason"]  # too few people for an interval


def test_sets_without_searches_are_refused(embedded):
    single = embed_faces(MeanEmbedder(), NoiseFaces((1,) * 6), progress=False)
    with pytest.raises(DataError, match="got 0 and 3 with 3 of 6 identities"):
        evaluate_identification(single)
    blank = replace(embedded["mean"], identities=(None,) * len(embedded["mean"].keys))
    with pytest.raises(DataError, match="320 of 320 have none"):
        evaluate_identification(blank)
    with pytest.raises(ValueError, match=r"got 1\.0 and 1"):
        evaluate_identification(embedded["mean"], gallery_share=1.0)
