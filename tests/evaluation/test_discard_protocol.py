"""The protocol ``discard``, against a loop that leaves out pictures one by one."""

import dataclasses
import itertools

import numpy as np
import pytest

from crossface.core.errors import DataError, UsageError
from crossface.core.vectors import unit
from crossface.evaluation import metrics
from crossface.evaluation.discard import area_under_discard, error_against_picture_discard
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.html import render_html
from crossface.evaluation.protocol_tables import protocol_table
from crossface.evaluation.protocols.discard import cut_at, evaluate_discard
from crossface.evaluation.quality import Quality, measure_quality, norm_quality, read_quality
from evaluation.fakes import MeanEmbedder, NoiseFaces, Pair, PairList
from page_checks import whole

SIZES = (3, 4, 2, 5) * 6
FMR = 5e-2


def blurred(sizes):
    """Directions of people with a noise of its own strength in each picture, and that strength."""
    plain = embed_faces(MeanEmbedder(2), NoiseFaces(sizes), progress=False)
    rng = np.random.default_rng(7)
    people = np.repeat(rng.normal(size=(len(sizes), 12)), sizes, axis=0)
    blur = rng.uniform(0.1, 1.6, (len(people), 1))
    moved = unit(people + blur * rng.normal(size=people.shape))
    return dataclasses.replace(plain, embeddings=moved), blur[:, 0]


@pytest.fixture(scope="module")
def faces():
    return blurred(SIZES)[0]


def coarse(faces, levels=9, seed=0):
    """Qualities with ties, of which the lowest belong to noise."""
    drawn = np.random.default_rng(seed).integers(0, levels, len(faces.keys))
    return Quality("made", dict(zip(faces.keys, drawn.astype(float).tolist(), strict=True)))


def loop(faces, quality, share):
    """FNMR, pictures and errors from the definition: the threshold of all, pictures left out."""
    scores = {True: [], False: []}
    for i, j in itertools.combinations(range(len(faces.keys)), 2):
        same = faces.identities[i] == faces.identities[j]
        scores[same].append((float(faces.embeddings[i] @ faces.embeddings[j]), i, j))
    impostor = np.array([s for s, _, _ in scores[False]], dtype=np.float32)
    threshold = metrics.threshold_at_fmr(impostor, FMR)
    levels = [quality.of[key] for key in faces.keys]
    out = set()
    for level in sorted(set(levels)):
        more = {k for k, value in enumerate(levels) if value <= level}
        if len(more) > share * len(levels) + 1e-9:
            break
        out = more
    kept = [s < threshold for s, i, j in scores[True] if i not in out and j not in out]
    return np.mean(kept), len(out), sum(kept)


@pytest.mark.parametrize("seed", range(3))
def test_every_cut_is_the_loop_over_pictures_and_comparisons(faces, seed):
    quality = coarse(faces, seed=seed)
    shares = (0.0, 0.07, 0.2, 0.35, 0.6)
    report = evaluate_discard(faces, quality=quality, fmr_targets=(FMR,), shares=shares)
    found = {row["n_images"]: row for row in report["discard"]["5e-2"]["cuts"]}
    for share in shares:
        rate, gone, errors = loop(faces, quality, share)
        row = found[len(faces.keys) - gone]
        assert row["fnmr"]["value"] == pytest.approx(rate)
        assert row["discarded"] == pytest.approx(gone / len(faces.keys))
        assert row["n_false_non_matches"] == errors
        assert row["change"]["value"] == pytest.approx(rate - loop(faces, quality, 0)[0])
        assert row["fnmr"]["low"] <= rate <= row["fnmr"]["high"]


def test_the_area_is_that_of_the_staircase(faces):
    quality = coarse(faces, levels=10_000)
    found = evaluate_discard(faces, quality=quality, fmr_targets=(FMR,))["discard"]["5e-2"]
    pairs = list(itertools.combinations(range(len(faces.keys)), 2))
    genuine = [(i, j) for i, j in pairs if faces.identities[i] == faces.identities[j]]
    first, second = np.array(genuine).T
    scores = np.einsum("nd,nd->n", faces.embeddings[first], faces.embeddings[second])
    levels = np.array([quality.of[key] for key in faces.keys])
    curve = error_against_picture_discard(scores < found["threshold"], first, second, levels)
    assert found["area"]["value"] == pytest.approx(area_under_discard(curve, upto=0.2), abs=0.01)
    change = found["area_change"]["value"]
    assert change == pytest.approx(found["area"]["value"] - curve.error[0], abs=1e-9)


def test_a_quality_that_knows_what_goes_wrong_is_told_from_one_that_knows_nothing():
    faces, blur = blurred((3, 4, 2, 5) * 15)
    sharp = Quality("sharp", dict(zip(faces.keys, (-blur).tolist(), strict=True)))
    knows = evaluate_discard(faces, quality=sharp, fmr_targets=(FMR,))
    change = knows["discard"]["5e-2"]["area_change"]
    assert change["high"] < 0
    flat = Quality("flat", dict.fromkeys(faces.keys, 1.0))
    nothing = evaluate_discard(faces, quality=flat, fmr_targets=(FMR,))["discard"]["5e-2"]
    assert len(nothing["cuts"]) == 1  # equal quality is left out together, so nothing ever is
    assert nothing["area_change"]["value"] == pytest.approx(0, abs=1e-12)


def test_a_list_of_all_pairs_gives_the_figures_of_all_pairs(faces):
    quality = coarse(faces)
    keys = enumerate(zip(faces.keys, faces.identities, strict=True))
    rows = [
        Pair(0, a, b, ia == ib) for (_, (a, ia)), (_, (b, ib)) in itertools.combinations(keys, 2)
    ]
    listed = evaluate_discard(
        faces, PairList(tuple(rows)), list_name="all", quality=quality, fmr_targets=(FMR,)
    )
    every = evaluate_discard(faces, quality=quality, fmr_targets=(FMR,))
    assert listed["pair_list"] == "all"
    cuts = [report["discard"]["5e-2"]["cuts"] for report in (listed, every)]
    for one, two in zip(*cuts, strict=True):
        assert one["fnmr"] == pytest.approx(two["fnmr"], rel=1e-5)
        assert one["change"] == pytest.approx(two["change"], rel=1e-5, abs=1e-12)


def test_a_picture_of_many_comparisons_of_a_list_counts_once(faces):
    rows = [Pair(0, faces.keys[0], key, key[:4] == "p000") for key in faces.keys[1:60]]
    report = evaluate_discard(
        faces, PairList(tuple(rows)), quality=coarse(faces), fmr_targets=(0.6,)
    )
    (first, *_) = report["discard"]["6e-1"]["cuts"]
    assert (first["n_images"], first["n_genuine"]) == (60, 2)
    assert "an interval needs 10 identities" in first["fnmr"]["reason"]


def test_too_few_false_matches_give_a_reason_and_no_curve(faces):
    found = evaluate_discard(faces, fmr_targets=(1e-3,))
    assert found["discard"]["1e-3"]["cuts"] == []
    assert "at least 30 are needed" in found["discard"]["1e-3"]["area"]["reason"]
    assert "at least 30" in protocol_table(found)
    whole(render_html(found))


def test_the_page_and_the_table_hold_the_curve(faces):
    report = evaluate_discard(faces, quality=coarse(faces), fmr_targets=(FMR,))
    text = protocol_table(report)
    assert "quality: made" in text
    assert "mean to 20 %" in text
    page = render_html(report)
    whole(page)
    assert "FNMR against the share of pictures left out" in page


def test_a_cut_never_leaves_out_more_than_the_share():
    quality = np.array([1.0, 1.0, 2.0, 3.0, 3.0, 4.0])
    cuts = [cut_at(quality, share) for share in (0.0, 0.2, 1 / 3, 0.5, 0.8)]
    assert cuts == [1.0, 1.0, 2.0, 3.0, 3.0]


def test_norms_are_the_default_quality(faces):
    report = evaluate_discard(faces, fmr_targets=(FMR,))
    assert report["quality"] == "embedding length"
    given = evaluate_discard(faces, quality=norm_quality(faces), fmr_targets=(FMR,))
    assert report["discard"] == given["discard"]


def test_a_table_of_qualities_is_read_and_what_is_wrong_is_named(tmp_path, faces):
    path = tmp_path / "q.csv"
    path.write_text("file,quality\np000/00000.jpg,0.5\np000/00001,2\n")
    assert read_quality(path).of == {"p000/00000": 0.5, "p000/00001": 2.0}
    with pytest.raises(DataError, match=r"q.csv: 'p000/00002' of noise has no quality, 82 of 84"):
        evaluate_discard(faces, quality=read_quality(path))
    for text, said in (
        ("file,score\na,1\n", "one named quality, got 'file,score'"),
        ("file,quality\na,good\n", "line 2: quality: expected a number, got 'good'"),
        ("file,quality\na,nan\n", "line 2: quality: expected a finite number, got nan"),
        ("file,quality\na,1\na.png,2\n", "line 3: expected a picture, got 'a' again"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            read_quality(path)


def test_a_measure_is_asked_of_every_picture_that_can_be_read():
    source = NoiseFaces((2,) * 3, broken=(4,))
    found = measure_quality(source, "mean", lambda crop: float(crop.mean()), progress=False)
    assert set(found.of) == {source.key(i) for i in range(6)} - {source.key(4)}
    assert found.of[source.key(1)] == source.read(1).mean()
    with pytest.raises(DataError, match=r"bad of p000/00000: expected a finite number, got inf"):
        measure_quality(source, "bad", lambda _: float("inf"), progress=False)


@pytest.mark.parametrize("shares", [(), (0.1, 0.2), (0.0, 0.3, 0.2), (0.0, 1.0)])
def test_shares_that_cannot_be_meant_are_refused(faces, shares):
    with pytest.raises(UsageError, match="rise from 0"):
        evaluate_discard(faces, shares=shares)
