"""Leakage between sets, label noise, and the experiment on drawn people."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from crossface.audit.drawn import Attribute, ChangedFaces, audit_drawn, drawn_text
from crossface.audit.labels import find_label_noise
from crossface.audit.leakage import (
    HASH_BITS,
    Hashes,
    difference_hash,
    find_leakage,
    hash_faces,
    near_duplicates,
)
from crossface.core.errors import ContractMismatch, DataError
from crossface.data.drawn import DrawnFaces
from evaluation.card_fakes import made
from evaluation.fakes import ConstantEmbedder, MeanEmbedder, NoiseFaces, contract


def part(faces, rows):
    return dataclasses.replace(
        faces,
        embeddings=faces.embeddings[rows],
        keys=tuple(faces.keys[r] for r in rows),
        identities=tuple(faces.identities[r] for r in rows),
    )


def test_leakage_finds_the_people_in_both_sets_by_a_loop():
    faces = made([2] * 60, dim=24, noise=0.2)
    a, b = part(faces, range(0, 120, 2)), part(faces, range(81, 120, 2))
    report = find_leakage(a, b, threshold=0.7)
    gram = a.embeddings @ b.embeddings.T
    assert report["candidates"] == int(np.sum(gram >= 0.7))
    assert report["pictures"] == int(np.sum((gram >= 0.7).any(axis=1))) == 20
    assert report["names_in_both"] == 20
    assert report["most_alike"][0]["value"] == pytest.approx(gram.max())
    assert report["pairs_compared"] == 60 * 20


def test_leakage_refuses_two_models():
    faces = made([2] * 10)
    other = dataclasses.replace(faces, contract=contract(8, "other"))
    with pytest.raises(ContractMismatch, match="not comparable"):
        find_leakage(faces, other)


def test_a_resaved_picture_hashes_alike_and_another_does_not():
    source = DrawnFaces(identities=8, per_identity=1, seed=2)
    hashes = hash_faces(source, progress=False)
    assert hashes.signs.shape == (8, HASH_BITS)
    signs = []
    for index in range(8):
        ok, data = cv2.imencode(".jpg", source.read(index), [cv2.IMWRITE_JPEG_QUALITY, 90])
        assert ok
        brighter = cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32) * 0.8 + 10
        signs.append(difference_hash(brighter.astype(np.uint8)))
    count, found = near_duplicates(hashes, Hashes(hashes.keys, np.stack(signs)))
    assert count == 8
    assert all(pair.a == pair.b for pair in found)
    apart = (HASH_BITS - hashes.signs @ hashes.signs.T) / 2
    assert apart[np.triu_indices(8, 1)].min() > 60
    assert near_duplicates(hashes)[0] == 0


def test_near_duplicates_inside_a_set_are_listed_once():
    source = NoiseFaces((1,) * 5, noise=0.0)
    hashes = hash_faces(source, progress=False)
    twice = Hashes((*hashes.keys, "copy"), np.concatenate([hashes.signs, hashes.signs[:1]]))
    count, found = near_duplicates(twice)
    assert (count, found[0].a, found[0].b, found[0].value) == (1, hashes.keys[0], "copy", 0.0)


def test_a_swapped_label_is_the_first_suspect():
    faces = made([4] * 20, dim=24, noise=0.15)
    wrong = list(faces.identities)
    wrong[3] = "p0007"
    report = find_label_noise(dataclasses.replace(faces, identities=tuple(wrong)))
    assert report["suspects"] == 1
    suspect = report["most_suspect"][0]
    assert (suspect["key"], suspect["identity"], suspect["nearest"]) == (
        faces.keys[3],
        "p0007",
        "p0000",
    )
    rest = faces.embeddings[0:3].sum(axis=0)
    assert suspect["other"] == pytest.approx(faces.embeddings[3] @ rest / np.linalg.norm(rest))


def test_identities_with_one_picture_cannot_be_judged():
    report = find_label_noise(made([1] * 5 + [2] * 5))
    assert (report["judged"], report["not_judged"]) == (10, 5)
    with pytest.raises(DataError, match="needs identities"):
        find_label_noise(made([2] * 5, labelled=False))


def test_only_the_attribute_changes():
    source = DrawnFaces(identities=2, per_identity=2, seed=3, nuisance=0.5)
    tone = Attribute("skin_tone", (0.9,), True)
    same = ChangedFaces(source, tone, source.person(0).skin_tone)
    assert np.array_equal(same.read(0), source.read(0))
    changed = ChangedFaces(source, tone, 0.95)
    assert not np.array_equal(changed.read(0), source.read(0))
    assert changed.key(1) == source.key(1)
    assert changed.identity(3) == source.identity(3)
    assert changed.digest() != same.digest() != source.digest()


def test_the_experiment_is_void_unless_the_model_tells_drawn_people_apart():
    report = audit_drawn(ConstantEmbedder(), people=4, per_person=2, progress=False)
    assert report["void"]
    assert report["attributes"] == {}
    assert "void: the model separates drawn people with AUC 0.500" in drawn_text(report)


def test_a_model_that_sees_colour_matches_more_where_colours_are_made_equal():
    """Block means of the picture: giving everybody one skin removes what told them apart."""
    tone = Attribute("skin_tone", (0.5,), True)
    report = audit_drawn(
        MeanEmbedder(),
        people=14,
        per_person=2,
        nuisance=0.0,
        attributes=(tone,),
        auc_bar=0.5,
        progress=False,
    )
    row = report["attributes"]["skin_tone"]["0.5"]
    assert report["unchanged"]["fmr"]["value"] <= 1e-2
    change = row["fmr"]["value"] - report["unchanged"]["fmr"]["value"]
    assert row["fmr_change"]["value"] == pytest.approx(change)
    assert row["fmr_change"]["low"] <= change <= row["fmr_change"]["high"]
    assert "causal within the generator only" in drawn_text(report)
