"""Template pooling against loops from the definition; the template protocols on tiny sets."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import ConstantEmbedder, MeanEmbedder, NoiseFaces, RandomEmbedder, contract

from crossface.core.errors import DataError
from crossface.core.types import Failure
from crossface.data.formats.ijb import IjbFaces
from crossface.data.formats.rfw import RfwFaces
from crossface.data.formats.video_folder import VideoFaces
from crossface.evaluation.embed import EmbeddedFaces, embed_faces
from crossface.evaluation.protocols.ijb import evaluate_ijb_11, evaluate_ijbb_11, evaluate_ijbc_11
from crossface.evaluation.protocols.ijb_1n import evaluate_ijb_1n
from crossface.evaluation.protocols.rfw import evaluate_rfw
from crossface.evaluation.protocols.ytf import evaluate_ytf
from crossface.evaluation.report import to_json
from crossface.evaluation.template_scores import score_template_pairs
from crossface.evaluation.templates import TemplateSet, pool_templates
from published_sets import write_ijb, write_rfw, write_ytf


def embedded(vectors, failures=()):
    raw = np.asarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(raw, axis=1)
    return EmbeddedFaces(
        embeddings=(raw / norms[:, None]).astype(np.float32),
        keys=tuple(f"k{i}" for i in range(len(raw))),
        identities=(None,) * len(raw),
        failures=tuple(Failure(name, "broken") for name in failures),
        contract=contract(raw.shape[1]),
        input_spec_source=None,
        source_name="made",
        source_digest="0",
        flip=True,
        seconds=0.0,
        norms=norms.astype(np.float32),
    )


def insightface_pooling(raw, templates, media, scores, *, use_norm, use_detector):
    """A loop from ijb_11.py's description: weights, mean per media, sum, length one."""
    pooled = {}
    for name in sorted(set(templates)):
        parts = []
        own = [i for i, t in enumerate(templates) if t == name]
        for number in sorted({media[i] for i in own}):
            rows = []
            for i in own:
                if media[i] == number:
                    v = raw[i] if use_norm else raw[i] / np.linalg.norm(raw[i])
                    rows.append(v * scores[i] if use_detector else v)
            parts.append(np.mean(rows, axis=0))
        total = np.sum(parts, axis=0)
        pooled[name] = total / np.linalg.norm(total)
    return pooled


@pytest.mark.parametrize("by_norm", [True, False])
@pytest.mark.parametrize("by_detector", [True, False])
@pytest.mark.parametrize("block", [1, 3, 1000])
def test_pooling_is_the_mean_of_media_means(by_norm, by_detector, block, monkeypatch):
    from crossface.evaluation import templates as module

    monkeypatch.setattr(module, "_BLOCK_ROWS", block)
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(12, 5)) * rng.uniform(1, 9, size=(12, 1))
    names = list("cabbacacbbac")
    media = np.array([3, 1, 2, 2, 1, 4, 5, 3, 6, 2, 1, 4])
    scores = rng.uniform(0.3, 1, size=12)
    members = TemplateSet([f"k{i}" for i in range(12)], names, media, scores, {"a": "Ann"})
    found = pool_templates(embedded(raw), members, by_norm=by_norm, by_detector=by_detector)
    expected = insightface_pooling(
        raw, names, media, scores, use_norm=by_norm, use_detector=by_detector
    )
    assert found.faces.keys == ("a", "b", "c")
    assert found.faces.identities == ("Ann", None, None)
    for row, name in zip(found.faces.embeddings, "abc", strict=True):
        np.testing.assert_allclose(row, expected[name], atol=1e-6)
    assert found.switches == f"N{by_norm:d}D{by_detector:d}F1"


def test_four_pictures_pooled_by_hand():
    # one video of two frames (1,0), (0,1) and a still (1,0): media means (.5,.5) and (1,0)
    members = TemplateSet(["k0", "k1", "k2"], ["t"] * 3, np.array([7, 7, 8]), None, {})
    found = pool_templates(embedded([[2, 0], [0, 5], [1, 0]]), members, by_norm=False)
    np.testing.assert_allclose(found.faces.embeddings[0], np.array([3, 1]) / np.sqrt(10), rtol=1e-6)
    assert found.switches == "N0D0F1"


def test_pictures_that_failed_are_left_out_and_counted():
    members = TemplateSet(
        ["k0", "gone", "gone", "k1", "k2"],
        ["a", "a", "b", "c", "c"],
        np.arange(5),
        None,
        {},
    )
    found = pool_templates(
        embedded([[1, 0], [1, 0], [-1, 0]], failures=["gone"]), members, by_norm=False
    )
    assert found.faces.keys == ("a",)
    assert [f.name for f in found.faces.failures] == ["b", "c"]  # c's pictures cancel
    assert found.n_partial == 2
    with pytest.raises(DataError, match="'other', not among the faces of made"):
        pool_templates(
            embedded([[1, 0]]), TemplateSet(["other"], ["a"], np.zeros(1, int), None, {})
        )


def test_weighing_by_norm_needs_the_norms():
    faces = replace(embedded([[1, 0]]), norms=None)
    members = TemplateSet(["k0"], ["a"], np.zeros(1, int), None, {})
    with pytest.raises(DataError, match=r"weighing by norm \(N1\) needs the lengths"):
        pool_templates(faces, members)


def test_norms_are_those_of_the_raw_sum_with_the_mirror_image():
    source = NoiseFaces((2,) * 3)
    faces = embed_faces(MeanEmbedder(), source, progress=False)
    crop = source.read(3)[None]
    raw = MeanEmbedder().embed(crop) + MeanEmbedder().embed(crop[:, :, ::-1])
    assert faces.norms[3] == pytest.approx(np.linalg.norm(raw), rel=1e-6)


def test_a_list_of_template_pairs_becomes_its_table():
    rng = np.random.default_rng(0)
    templates = embedded(rng.normal(size=(6, 8)))
    first, second = np.array([0, 2, 0, 1, 0, 4]), np.array([1, 3, 2, 3, -1, 5])
    same = np.array([True, True, False, False, False, False])
    scored = score_template_pairs(templates, first, second, same)
    e = templates.embeddings
    assert sorted(scored.table.genuine) == pytest.approx(sorted([e[0] @ e[1], e[2] @ e[3]]))
    expected = sorted([e[0] @ e[2], e[1] @ e[3], e[4] @ e[5]], reverse=True)
    assert list(scored.table.tail) == pytest.approx(expected)
    assert len(scored.table.identities) == 4  # 0 and 1, 2 and 3, 4, 5
    assert (scored.n_lost, scored.n_contradicted) == (1, 0)


def test_an_impostor_pair_of_one_subject_is_left_out_and_said():
    templates = replace(embedded(np.eye(4)), identities=("a", "a", "b", "c"))
    first, second = np.array([0, 0, 2]), np.array([1, 1, 3])
    scored = score_template_pairs(templates, first, second, np.array([True, False, False]))
    assert (len(scored.table.genuine), scored.table.n_impostor, scored.n_contradicted) == (1, 1, 1)
    with pytest.raises(DataError, match="got 1 and 0 with both templates acquired"):
        score_template_pairs(templates, first[:2], second[:2], np.array([True, False]))


def test_ijb_compares_templates_and_says_its_units(tmp_path):
    data = IjbFaces(write_ijb(tmp_path, people=12))
    faces = embed_faces(MeanEmbedder(), data, progress=False)
    report = evaluate_ijbc_11(faces, data)
    assert report["protocol"] == "ijbc-11"
    assert (report["n_templates"], report["n_genuine"], report["n_impostor"]) == (24, 12, 132)
    assert report["n_identities"] == 12
    assert report["switches"] == "N1D1F1"
    assert report["eer"]["value"] == 0
    assert report["units"].startswith("subjects")
    assert report["tar_at_fmr"]["1e-1"]["value"] is None  # 13 false matches expected
    assert report["warnings"] == []
    rates = evaluate_ijb_11(faces, data, "ijbc", fmr_targets=(0.4,))
    miss, hit = rates["fnmr_at_fmr"]["4e-1"], rates["tar_at_fmr"]["4e-1"]
    assert (hit["value"], hit["low"]) == (1 - miss["value"], 1 - miss["high"])
    to_json(report, tmp_path / "r.json")
    with pytest.raises(DataError, match="expected the meta files of ijbb, got those of ijbc"):
        evaluate_ijbb_11(faces, data)
    for file in (tmp_path / "meta").glob("*.csv"):
        file.unlink()
    assert "too narrow" in evaluate_ijbc_11(faces, IjbFaces(tmp_path))["units"]


def test_ijb_leaves_out_pairs_of_a_template_without_pictures(tmp_path):
    data = IjbFaces(write_ijb(tmp_path, people=12))
    for number in (1, 2, 3, 4):  # all of template 100, one picture of 101
        (tmp_path / f"loose_crop/{number}.png").unlink()
    faces = embed_faces(MeanEmbedder(), data, progress=False)
    report = evaluate_ijbc_11(faces, data)
    assert (report["n_templates_failed"], report["n_templates_partial"]) == (1, 2)
    assert report["templates_failed"] == ["100"]
    assert report["n_pairs_lost"] == 12
    assert report["fta"] == pytest.approx(4 / 72)


def test_rfw_reports_every_group_and_one_common_threshold(tmp_path):
    data = RfwFaces(write_rfw(tmp_path, noise={"Indian": 250.0}))
    faces = embed_faces(MeanEmbedder(), data, progress=False)
    report = evaluate_rfw(faces, data, common_fmr_target=0.4)
    assert set(report["groups"]) == {"African", "Asian", "Caucasian", "Indian"}
    assert report["groups"]["Asian"]["accuracy"]["value"] == 1
    assert report["groups"]["Indian"]["accuracy"]["value"] < 1
    common = report["at_common_threshold"]
    wrong = {g: row["fmr"]["n_errors"] for g, row in common["groups"].items()}
    assert sum(wrong.values()) <= 0.4 * 80
    assert common["fmr"] == sum(wrong.values()) / 80
    assert report["warnings"] == []
    to_json(report, tmp_path / "r.json")
    assert evaluate_rfw(faces, data)["at_common_threshold"]["threshold"] is None


def test_an_rfw_group_of_one_person_is_a_row_with_the_reason(tmp_path):
    root = write_rfw(tmp_path)
    (root / "txts/Asian/Asian_pairs.txt").write_text("m.As00\t1\t2\n" * 10)
    data = RfwFaces(root)
    faces = embed_faces(ConstantEmbedder(), data, progress=False)
    report = evaluate_rfw(faces, data)
    assert (
        "expected genuine and impostor pairs, got 10 and 0" in report["groups"]["Asian"]["reason"]
    )
    assert "accuracy" not in report["groups"]["Asian"]
    assert report["groups"]["African"]["accuracy"]["value"] == 0.5
    assert report["n_pairs"] == 120


def test_an_rfw_list_that_names_no_picture_is_refused(tmp_path):
    root = write_rfw(tmp_path)
    file = root / "txts/Asian/Asian_pairs.txt"
    file.write_text(file.read_text().replace("m.As00\t1\t2", "m.As00\t1\t9", 1))
    data = RfwFaces(root)
    with pytest.raises(DataError, match=r"Asian_pairs.txt: 'Asian/m.As00/m.As00_0009' is not"):
        evaluate_rfw(embed_faces(ConstantEmbedder(), data, progress=False), data)


def test_videos_are_compared_as_the_mean_of_their_frames(tmp_path):
    data = VideoFaces(write_ytf(tmp_path, frames=2))
    report = evaluate_ytf(embed_faces(MeanEmbedder(), data, progress=False), data)
    assert report["accuracy"]["value"] == 1
    assert (report["n_templates"], report["n_identities"], report["switches"]) == (40, 20, "N0D0F1")
    random = evaluate_ytf(embed_faces(RandomEmbedder(), data, progress=False), data)
    assert random["auc"]["low"] < 0.5 < random["auc"]["high"]


def test_ijb_1n_searches_both_galleries_with_all_probes(tmp_path):
    data = IjbFaces(write_ijb(tmp_path, people=30))
    faces = embed_faces(MeanEmbedder(), data, progress=False)
    report = evaluate_ijb_1n(faces, data, fpir_targets=(0.9, 1e-3))
    assert set(report["galleries"]) == {"G1", "G2"}
    found = report["galleries"]["G1"]
    counts = [found[f"n_{what}"] for what in ("enrolled", "mated_searches", "non_mated_searches")]
    assert counts == [15, 15, 15]
    assert found["rank"]["1"]["value"] == 1
    assert found["fnir_at_fpir"]["1e-3"]["value"] is None
    assert found["fnir_at_false_candidates"]["9e-1"] == 0
    assert report["n_pairs"] == 60
    to_json(report, tmp_path / "r.json")


def test_ijb_1n_counts_probes_and_gallery_templates_that_were_lost(tmp_path):
    data = IjbFaces(write_ijb(tmp_path, people=12))
    for number in range(1, 7):  # templates 100 (gallery G1) and 101 (probe) of subject 0
        (tmp_path / f"loose_crop/{number}.png").unlink()
    report = evaluate_ijb_1n(embed_faces(MeanEmbedder(), data, progress=False), data)
    first, second = report["galleries"].values()
    assert (first["n_gallery_templates_lost"], first["n_probes_lost"]) == (1, 1)
    assert (first["fte"], second["fte"]) == (1 / (first["n_enrolled"] + 1), 0)
    assert (second["n_gallery_templates_lost"], second["n_probes_lost"]) == (0, 1)
    assert first["n_enrolled"] == 5
