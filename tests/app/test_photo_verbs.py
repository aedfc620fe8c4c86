"""enroll, identify, cluster and the gallery verb on photographs: a user's way from end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from crossface.pipeline.analysis import FaceAnalysis
from crossface.search.gallery import Gallery
from face_files import encode
from photo_people import MIN_QUALITY, networks, photo, photos, recogniser
from pipeline.onnx_files import constants, one_face, random_outputs

BAR = ["--threshold", "0.7"]


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    photos(folder / "people", {"ann": 2, "bob": 2, "cy": 1})
    for number in (5, 6):
        (folder / f"ann{number}.png").write_bytes(encode(photo("ann", 1)))
    (folder / "cy.png").write_bytes(encode(photo("cy", 1)))
    (folder / "bad.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def files(room):
    return networks(room)


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSFACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("CROSSFACE_GALLERY_KEY", "07" * 32)
    for name in ("CROSSFACE_MODEL", "CROSSFACE_DETECTOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def gallery(room, files, tmp_path, call):
    """A gallery of everybody, enrolled by the command line."""
    path = tmp_path / "g.db"
    code, out, err = call(
        "enroll", path, "--people", room / "people", *files, "--min-quality", MIN_QUALITY
    )
    assert code == 0, err
    assert out.splitlines() == [
        "ann\t2 faces enrolled",
        "bob\t2 faces enrolled",
        "cy\t1 face enrolled",
        "3 people enrolled, 0 pictures not used",
    ]
    return path


def test_enroll_takes_pictures_of_a_person_and_keeps_consent_and_names(room, files, tmp_path, call):
    path = tmp_path / "g.db"
    code, out, _ = call(
        "enroll", path, "Ann Lee", room / "people" / "ann", room / "ann5.png", *files,
        "--min-quality", MIN_QUALITY, "--consent", "form 7", "--retain-until", "2031-01-02",
        "--json", "-",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out) == {
        "gallery": "g.db",
        "enrolled": [
            {
                "person": "Ann Lee",
                "templates": [1, 2, 3],
                "pictures": ["0.png", "1.png", "ann5.png"],
            }
        ],
        "not_used": [],
    }
    with Gallery.open(path) as opened:
        person = opened.show("Ann Lee")
        assert (person.consent, str(person.retain_until)) == ("form 7", "2031-01-02")
        assert [t.note for t in person.templates] == ["0.png", "1.png", "ann5.png"]
        assert all(0.05 < t.quality < 0.4 for t in person.templates)


def test_pictures_that_do_not_serve_are_told_and_passed_over(room, files, tmp_path, call):
    path = tmp_path / "g.db"
    pictures = [room / "bad.png", room / "ann5.png"]
    code, out, err = call("enroll", path, "ann", *pictures, *files, "--min-quality", MIN_QUALITY)
    assert code == 4
    assert out.splitlines()[0] == "ann\t1 face enrolled"
    assert "ann: bad.png: expected an image" in err
    code, _, err = call("enroll", path, "eve", room / "ann5.png", *files)
    assert code == 3
    assert "eve: ann5.png: its face has quality 0.16, at least 0.40 is asked for" in err
    with Gallery.open(path) as opened:
        assert [p.name for p in opened.list()] == ["ann"]


def test_no_gallery_is_made_where_nobody_can_be_enrolled(room, files, tmp_path, call):
    assert call("enroll", tmp_path / "g.db", "ann", room / "ann5.png", *files)[0] == 3
    assert not (tmp_path / "g.db").exists()


def test_a_picture_of_two_people_in_front_is_refused_unless_the_largest_is_asked_for(
    room, files, tmp_path, call
):
    one_face(room / "two.onnx", faces=2)
    two = ["--model", room / "m.onnx", "--detector", room / "two.onnx"]
    words = ["enroll", tmp_path / "g.db", "ann", room / "ann5.png", *two, "--min-quality", 0]
    code, _, err = call(*words)
    assert code == 3
    assert "ann5.png: expected one person, 2 faces are in front" in err
    assert call(*words, "--largest")[0] == 0


def test_identify_names_the_person_and_says_unknown_to_a_stranger(gallery, room, files, call):
    code, out, _ = call("identify", gallery, room / "ann5.png", *files, *BAR, "--top", 2)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "ann5.png  face 1  ann  threshold 0.7000"
    assert lines[1] == "  1. 1.0000  ann  accepted"
    assert len(lines) == 3
    call("gallery", "remove", gallery, "cy")
    code, out, _ = call("identify", gallery, room / "cy.png", *files, *BAR, "--json", "-")
    assert code == 1
    (picture,) = json.loads(out)
    (face,) = picture["faces"]
    assert (face["person"], face["unknown"], face["threshold"]) == (None, True, 0.7)
    assert {m["person"] for m in face["matches"]} == {"ann", "bob"}
    assert face["bbox_xyxy_px"] == [20, 20, 52, 52]


def test_identify_by_exit_code(gallery, room, files, tmp_path, call):
    code, out, err = call("identify", gallery, room / "ann5.png", *files)
    assert code == 2
    assert out.startswith("ann5.png  face 1  no verdict\n  1. 1.0000  ann\n")
    assert "m carries no threshold card for a gallery of this size; give --threshold" in err
    nothing = random_outputs("retinaface", (64, 64))
    nothing["conf"][..., 1] = 0
    constants(tmp_path / "nobody.onnx", nothing, shape=(1, 3, 64, 64))
    blind = ["--model", room / "m.onnx", "--detector", tmp_path / "nobody.onnx"]
    assert call("identify", gallery, room / "ann5.png", *blind)[0] == 3
    assert call("identify", gallery, room / "bad.png", *files)[0] == 4
    assert call("identify", tmp_path / "none.db", room / "ann5.png", *files)[0] == 4
    assert call("identify", gallery, room / "ann5.png", *files, "--fpir", 2)[0] == 2
    other = recogniser(tmp_path / "other.onnx", bias=0.1)
    code, out, err = call(
        "identify", gallery, room / "ann5.png", "--model", other, *files[2:], *BAR
    )
    assert (code, out) == (5, "")
    assert "g.db was enrolled with m " in err
    assert "gallery migrate g.db --to MODEL" in err


def test_identify_draws_the_name_over_the_face(gallery, room, files, tmp_path, call):
    drawn = tmp_path / "drawn"
    assert call("identify", gallery, room / "ann5.png", *files, *BAR, "--draw", drawn)[0] == 0
    picture = np.asarray(Image.open(drawn / "0001_ann5.png"))
    plain = photo("ann", 1)
    green = (picture == (0, 200, 0)).all(axis=2)
    assert green[20, 30]  # the box
    assert green[8:19, 22:46].sum() > 100  # the label, above it
    label = picture[8:19, 22:46]
    assert ((label[..., 0] > 120) & (label[..., 1] >= 200)).any()  # its letters
    np.testing.assert_array_equal(picture[56:], plain[56:])


def test_model_and_detector_come_from_the_environment(gallery, room, files, monkeypatch, call):
    code, _, err = call("identify", gallery, room / "ann5.png", *BAR)
    assert code == 2
    assert "enrols with m, whose file is not in the model store: give --model" in err
    monkeypatch.setenv("CROSSFACE_MODEL", files[1])
    monkeypatch.setenv("CROSSFACE_DETECTOR", "absent.onnx")
    code, _, err = call("identify", gallery, room / "ann5.png", *BAR)
    assert code == 4
    assert "absent.onnx" in err
    monkeypatch.setenv("CROSSFACE_DETECTOR", files[3])
    assert call("identify", gallery, room / "ann5.png", *BAR)[0] == 0


def test_the_model_of_a_pack_is_found_by_the_gallerys_contract(room, tmp_path, call):
    pack = tmp_path / "user" / ".insightface" / "models" / "buffalo_t"
    pack.mkdir(parents=True)
    recogniser(pack / "w600k_t.onnx")
    one_face(pack / "det_t.onnx")
    words = ["enroll", tmp_path / "g.db", "ann", room / "ann5.png", "--min-quality", 0]
    assert call(*words, "--model", "buffalo_t")[0] == 0
    assert call("identify", tmp_path / "g.db", room / "ann6.png", *BAR)[0] == 0


def test_re_enroll_replaces_and_migrate_moves_on(gallery, room, files, tmp_path, call):
    code, out, _ = call("gallery", "re-enroll", gallery, "ann", room / "ann5.png", *files)
    assert code == 0
    assert out.splitlines()[0] == "ann: 1 new for all old templates"
    assert call("gallery", "re-enroll", gallery, "ann", room / "bad.png", *files)[0] == 4
    assert call("gallery", "re-enroll", gallery, "ann", *files)[0] == 2
    new = ["--model", recogniser(tmp_path / "new.onnx", bias=0.1), *files[2:]]
    code, out, err = call("gallery", "migrate", gallery, "--to", new[1])
    assert code == 0
    assert out.splitlines()[:2] == [
        "0 people are enrolled with new",
        "3 wait to be seen again (crossface gallery re-enroll):",
    ]
    code, _, err = call("enroll", gallery, "dan", room / "ann5.png", *files, "--min-quality", 0)
    assert code == 5
    assert "g.db enrols with new" in err
    code, _, err = call("identify", gallery, room / "ann5.png", *new, *BAR)
    assert code == 1
    assert "3 of 3 people are not searched" in err
    for name in ("ann", "bob", "cy"):
        assert call("gallery", "re-enroll", gallery, name, room / "people" / name, *new)[0] == 0
    assert call("gallery", "migrate", gallery)[1] == "3 people are enrolled with new\n"
    assert call("identify", gallery, room / "ann5.png", *new, *BAR)[0] == 0
    assert call("gallery", "verify-log", gallery)[0] == 0


def test_cluster_sorts_people_and_measures_itself(room, files, tmp_path, call):
    code, out, _ = call(
        "cluster", room / "people", *files, *BAR, "--named", "--min-quality", 0,
        "--html", tmp_path / "sheet.html", "-o", tmp_path / "clusters.json",
    )  # fmt: skip
    assert code == 0
    assert out.splitlines() == [
        "person 1\t2\tann/0.png, ann/1.png",
        "person 2\t2\tbob/0.png, bob/1.png",
        "5 faces of 5 pictures: 2 people seen more than once, 1 once (threshold 0.700)",
        "pairwise\tprecision 1.0000\trecall 1.0000\tF 1.0000",
        "B-cubed\tprecision 1.0000\trecall 1.0000\tF 1.0000",
    ]
    document = json.loads((tmp_path / "clusters.json").read_text())
    assert [[f["image"] for f in p["faces"]] for p in document["people"]] == [
        ["ann/0.png", "ann/1.png"],
        ["bob/0.png", "bob/1.png"],
        ["cy/0.png"],
    ]
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/jpeg;base64,') == 5
    assert "Person 1: 2 faces" in page
    assert "Seen once: 1 faces" in page
    assert "http" not in page


def test_cluster_gives_the_f_of_the_folders_by_hand(room, files, call):
    """At a threshold that joins everybody: 4 pairs of the 10 joined are right, none is missed."""
    code, out, _ = call(
        "cluster", room / "people", *files, "--threshold", "-0.9", "--named",
        "--min-quality", 0, "--json", "-",
    )  # fmt: skip
    assert code == 0
    fit = json.loads(out)["agreement"]
    assert (fit["faces"], fit["people"], fit["groups"]) == (5, 3, 1)
    assert fit["pairwise"]["precision"] == pytest.approx(2 / 10)
    assert fit["b_cubed"]["precision"] == pytest.approx((2 * 2 / 5 + 2 * 2 / 5 + 1 / 5) / 5)
    assert fit["pairwise"]["recall"] == fit["b_cubed"]["recall"] == 1


def test_two_faces_of_one_photo_are_two_people(room, tmp_path, call):
    two = networks(tmp_path, faces=2)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.png").write_bytes(encode(photo("ann")))
    words = ["cluster", tmp_path / "one", *two, "--min-quality", 0, "--json", "-"]
    code, out, _ = call(*words, "--threshold", "-0.9")
    assert code == 0
    assert len(json.loads(out)["people"]) == 2


def test_cluster_refuses_in_one_sentence(room, files, tmp_path, call):
    code, _, err = call("cluster", room / "people", *files)
    assert code == 2
    assert "m has no threshold card with an FMR of 0.0001 or less: give --threshold" in err
    assert call("cluster", tmp_path / "none", *files, *BAR)[0] == 4
    (tmp_path / "empty").mkdir()
    code, _, err = call("cluster", tmp_path / "empty", *files, *BAR)
    assert code == 4
    assert "empty: no picture in this folder" in err
    code, out, _ = call("cluster", room / "people", *files, *BAR)  # all of too low quality
    assert code == 3
    assert "5 faces passed over: quality below 0.40" in out


def test_a_person_is_as_similar_as_the_best_or_as_the_mean_of_the_best(gallery, room, files, call):
    words = ["identify", gallery, room / "ann5.png", *files, *BAR, "--top", 1, "--json", "-"]
    found = {}
    for group in ("max", "mean-top-k"):
        found[group] = json.loads(call(*words, "--group", group)[1])[0]["faces"][0]["matches"][0]
    assert found["max"]["similarity"] == pytest.approx(1, abs=1e-5)
    rows = [photo("ann", 0), photo("ann", 1)]
    vectors = [FaceAnalysis(files[1], files[3], threads=1).get(row)[0].embedding for row in rows]
    mean = (1 + float(vectors[0] @ vectors[1])) / 2
    assert found["mean-top-k"]["similarity"] == pytest.approx(mean, abs=1e-5)
