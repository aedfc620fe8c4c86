"""The gallery: enrolling, finding, refusing, models, thresholds, doctor, exports."""

from __future__ import annotations

import json
import logging
from datetime import date

import numpy as np
import pytest

from crossface.core.errors import ContractMismatch, GalleryError, UsageError
from crossface.core.types import Box, Face
from crossface.search.door import Enrolling
from crossface.search.gallery import Gallery
from search.galleries import DIM, KEY, card, file_bytes, model, near, opened, record, vectors


def face(embedding, quality=None):
    return Face(
        Box(0, 0, 9, 9), np.zeros((5, 2), np.float32), 0.9, embedding=embedding, quality=quality
    )


@pytest.fixture
def people(tmp_path):
    """Ten people with two templates each, and their vectors."""
    rows = vectors(20)
    gallery = opened(tmp_path / "people.db")
    gallery.enroll_many([Enrolling(f"p{i}", rows[2 * i : 2 * i + 2]) for i in range(10)])
    yield gallery, rows
    gallery.close()


def test_an_enrolled_person_is_found_and_a_stranger_is_unknown(people):
    gallery, rows = people
    found = gallery.identify(near(rows[6], 0.8), threshold=0.6)
    assert found.best.person == "p3"
    assert found.best.similarity == pytest.approx(0.8, abs=1e-5)
    assert found.unknown is False
    assert [m.accepted for m in found] == [True, False, False, False, False]
    stranger = gallery.identify(vectors(1, seed=99)[0], threshold=0.6)
    assert stranger.unknown is True
    assert stranger.best is None


def test_what_was_enrolled_is_found_after_closing_and_opening(tmp_path):
    rows = vectors(2)
    with opened(tmp_path / "g.db") as gallery:
        gallery.enroll("Zoë", rows, quality=[0.4, 0.7], consent="ok", note="passport")
    with opened(tmp_path / "g.db") as gallery:
        (person,) = gallery.list()
        assert (person.name, person.consent) == ("Zoë", "ok")
        assert [t.quality for t in person.templates] == [0.4, 0.7]
        assert person.templates[0].note == "passport"
        assert gallery.show("Zoe\u0308") == person  # the same name, decomposed
        assert gallery.identify(rows[1])[0].similarity == pytest.approx(1, abs=1e-6)


def test_without_a_threshold_there_is_no_verdict(people):
    gallery, rows = people
    found = gallery.identify(rows[0])
    assert found.unknown is None
    assert found.threshold is None
    assert not any(match.accepted for match in found)


def test_the_threshold_is_that_of_the_next_larger_measured_gallery(tmp_path):
    rows = vectors(3)
    path = tmp_path / "g.db"
    with opened(path, card=card(model(), at_1=0.2, at_10=0.3, at_100=0.4)) as gallery:
        gallery.enroll("a", rows[:1])
        assert gallery.identify(rows[0]).threshold == 0.2
        gallery.enroll("b", rows[1:2])
        found = gallery.identify(near(rows[0], 0.3001))
        assert (found.threshold, found.fpir, found.unknown) == (0.3, 0.01, False)
        assert gallery.identify(near(rows[0], 0.2999)).unknown is True
    with opened(path, card=card(model(), at_1=0.2)) as gallery:
        assert gallery.identify(rows[0]).unknown is None  # two people, measured for one
    with (
        opened(path, card=card(model(), at_10=0.3), fpir=0.001) as gallery,
        pytest.raises(UsageError, match=r"no FPIR of 0\.001 or less for .* 2 people; it has 0\.01"),
    ):
        gallery.identify(rows[0])
    with opened(path, card=card(model(), at_10=0.3), fpir=0.5) as gallery:
        assert gallery.identify(rows[0]).threshold == 0.3  # promises more than is asked
    with pytest.raises(ContractMismatch, match="give the card of this model"):
        opened(path, card=card(model("other"), at_1=0.2))


@pytest.mark.parametrize("encrypted", [True, False])
def test_all_rows_are_refused_when_one_may_not_enter(tmp_path, encrypted):
    gallery = opened(tmp_path / "g.db", key=KEY if encrypted else None)
    for bad, sentence in [
        (np.nan, "'x' was not enrolled: embeddings must have unit length, row 1"),
        (0.0, "unit length, row 1 has length 0"),
        (1.0, "unit length, row 1 has length 8"),
    ]:
        rows = vectors(3)
        rows[1] = bad
        with pytest.raises(GalleryError, match=sentence):
            gallery.enroll("x", rows)
    with pytest.raises(GalleryError, match=r"\(N, 64\) float32, got \(1, 32\)"):
        gallery.enroll("x", vectors(1, dim=32))
    with pytest.raises(GalleryError, match=r"float32, got .* float64"):
        gallery.identify(vectors(1)[0].astype(np.float64))
    with pytest.raises(GalleryError, match="no face was given"):
        gallery.enroll("x", vectors(1)[:0])
    with pytest.raises(GalleryError, match="a name has 1 to 200"):
        gallery.enroll("  ", vectors(1))
    with pytest.raises(GalleryError, match="control characters"):
        gallery.enroll("a\x00b", vectors(1))
    good = Enrolling("good", vectors(1))
    with pytest.raises(GalleryError):
        gallery.enroll_many([good, Enrolling("bad", np.zeros((1, DIM), np.float32))])
    assert len(gallery) == 0
    assert gallery.list() == ()
    gallery.close()


def test_a_blurry_face_is_refused_with_its_reason(tmp_path):
    rows = vectors(3)
    with opened(tmp_path / "g.db", min_quality=0.5) as gallery:
        with pytest.raises(GalleryError, match=r"face 2 of 2 has quality 0\.31, below the 0\.5"):
            gallery.enroll("a", [face(rows[0], 0.9), face(rows[1], 0.31)])
        with pytest.raises(GalleryError, match="face 1 of 1 has no quality"):
            gallery.enroll("a", rows[:1])
        with pytest.raises(GalleryError, match="face 1 of 1 has no embedding"):
            gallery.enroll("a", [face(None, 0.9)])
        gallery.enroll("a", [face(rows[0], 0.9)])
        assert gallery.identify(face(rows[0]), threshold=0.5).best.person == "a"


def test_names_of_the_same_person_are_one_person(people):
    gallery, rows = people
    gallery.enroll("p0", near(rows[0], 0.5)[None])
    assert len(gallery) == 10
    assert len(gallery.show("p0").templates) == 3


def test_nobody_of_that_name_is_an_error(people):
    gallery, _ = people
    for action in (gallery.remove, gallery.show):
        with pytest.raises(GalleryError, match=r"nobody named 'who' is enrolled in people\.db"):
            action("who")


def test_removed_people_are_not_found_and_numbers_never_come_again(people):
    gallery, rows = people
    last = gallery.show("p9").templates[-1].id
    removal = gallery.remove("p9")
    assert removal.erased
    assert removal.templates == 2
    assert gallery.identify(rows[18])[0].person != "p9"
    assert gallery.enroll("p9", rows[18:]).template_ids == (last + 1, last + 2)


def test_people_expire_after_their_last_day(tmp_path):
    with opened(tmp_path / "g.db") as gallery:
        for day in (1, 2, 3):
            gallery.enroll(f"d{day}", vectors(1, day), retain_until=date(2026, 5, day))
        gallery.enroll("ever", vectors(1, 9))
        assert gallery.expire(date(2026, 5, 1)).persons == ()
        assert gallery.expire(date(2026, 5, 3)).persons == ("d1", "d2")
        assert [p.name for p in gallery.list()] == ["d3", "ever"]


def test_another_model_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "g.db"
    opened(path).close()
    with pytest.raises(
        ContractMismatch,
        match=r"g\.db was enrolled with teacher .* this model is other .* gallery migrate g\.db",
    ):
        opened(path, model("other", space="elsewhere"))
    with pytest.raises(
        ContractMismatch,
        match="never measured together: run `crossface compat teacher student --data",
    ):
        opened(path, model("student"))


def test_a_measured_student_may_search_but_not_enrol(tmp_path):
    path, rows = tmp_path / "g.db", vectors(2)
    teacher, student = model(), model("student")
    with opened(path) as gallery:
        gallery.enroll("a", rows[:1])
        gallery.allow(record(teacher, student))
    with opened(path, student) as gallery:
        assert gallery.identify(rows[0], threshold=0.5).best.person == "a"
        with pytest.raises(ContractMismatch, match="may only search it"):
            gallery.enroll("b", rows[1:])
    with pytest.raises(ValueError, match="do not share a space"):
        record(teacher, model("stranger", space="elsewhere"))


def test_a_card_promises_nothing_where_two_models_meet(tmp_path):
    """It was measured with the student on both sides; the teacher's templates are another thing."""
    path, rows = tmp_path / "g.db", vectors(2)
    teacher, student = model(), model("student")
    with opened(path) as gallery:
        gallery.enroll("a", rows[:1])
        gallery.allow(record(teacher, student))
        gallery.migrate(student)
    with opened(path, student, card=card(student, at_10=0.4)) as gallery:
        answer = gallery.identify(rows[0])
        assert (answer.threshold, answer.fpir, answer.best.person) == (0.4, None, "a")
        gallery.re_enroll("a", rows[:1])
        assert gallery.identify(rows[0]).fpir == 0.01


def test_migration_moves_people_as_they_are_seen_and_loses_nobody(tmp_path):
    path, rows = tmp_path / "g.db", vectors(6)
    old, new = model(), model("new", space="new")
    with opened(path) as gallery:
        gallery.enroll_many([Enrolling("a", rows[:2]), Enrolling("b", rows[2:3])])
        status = gallery.migrate(new)
        assert (status.done, status.waiting) == (0, ("a", "b"))
        assert gallery.identify(rows[0], threshold=0.5).best.person == "a"
        with pytest.raises(ContractMismatch, match="enrols with new"):
            gallery.enroll("c", rows[3:4])
        with pytest.raises(GalleryError, match="already moving to new"):
            gallery.migrate(model("third"))
    with opened(path, new) as gallery:
        assert len(gallery.identify(rows[0])) == 0  # nothing of this space yet
        gallery.re_enroll("a", rows[4:5], quality=0.8)
        assert gallery.migration().waiting == ("b",)
        assert gallery.identify(rows[4], threshold=0.5).best.person == "a"
    with opened(path, old) as gallery:
        assert gallery.identify(rows[2], threshold=0.5).best.person == "b"
    with opened(path, new) as gallery:
        gallery.re_enroll("b", rows[5:6])
        assert gallery.migration().complete
        assert gallery.verify_log().valid
        with pytest.raises(GalleryError, match="already enrolled with new"):
            gallery.migrate(new)
    with pytest.raises(ContractMismatch, match="was enrolled with new"):
        opened(path, old)
    with opened_as_it_is(path) as gallery:
        assert [len(p.templates) for p in gallery.list()] == [1, 1]


def opened_as_it_is(path, key=KEY):
    return Gallery.open(path, key=key)


def test_a_gallery_opens_with_its_own_model(people, tmp_path):
    with opened_as_it_is(tmp_path / "people.db") as gallery:
        assert gallery.contract == model()
    with pytest.raises(GalleryError, match="does not exist, and a new gallery needs a model"):
        opened_as_it_is(tmp_path / "none.db")
    with pytest.raises(GalleryError, match=r"none\.db does not exist"):
        opened(tmp_path / "none.db", create=False)
    assert not (tmp_path / "none.db").exists()


def test_doctor_finds_duplicates_outliers_blur_and_what_is_overdue(tmp_path):
    rows = vectors(8)
    with opened(tmp_path / "g.db", min_quality=None) as gallery:
        trio = np.stack([rows[0], near(rows[0], 0.7, 1), near(rows[0], 0.8, 2), rows[7]])
        gallery.enroll("odd", trio, quality=[0.9, 0.9, 0.9, 0.1])
        gallery.enroll("one", rows[3:4], quality=0.9, retain_until=date(2020, 1, 1))
        gallery.enroll("same", near(rows[3], 0.75)[None], quality=0.9)
        gallery.enroll("fine", rows[5:6], quality=0.9)
    with opened(tmp_path / "g.db", min_quality=0.5) as gallery:
        health = gallery.doctor(similarity=0.5)
        told = {(f.kind, f.person, f.template or f.other) for f in health.findings}
        assert told == {
            ("duplicate", "one", "same"),
            ("outlier", "odd", 4),
            ("low-quality", "odd", 4),
            ("overdue", "one", None),
        }
        assert health.skipped == ()
    with opened(tmp_path / "g.db") as gallery:
        health = gallery.doctor(today=date(2019, 1, 1))
        assert health.findings == ()
        assert len(health.skipped) == 2


def test_doctor_names_templates_of_another_model(tmp_path):
    with opened(tmp_path / "g.db") as gallery:
        gallery.enroll("a", vectors(1))
        gallery.migrate(model("new", space="new"))
        assert [f.kind for f in gallery.doctor().findings] == ["foreign"]


def test_two_galleries_in_one_process_see_each_others_changes(tmp_path):
    rows = vectors(3)
    with opened(tmp_path / "g.db") as one, opened(tmp_path / "g.db") as two:
        one.enroll("a", rows[:1])
        assert two.identify(rows[0], threshold=0.9).best.person == "a"
        two.enroll("b", rows[1:2])
        assert one.identify(rows[1], threshold=0.9).best.person == "b"
        two.remove("a")
        assert one.identify(rows[0], threshold=0.9).unknown is True
        assert one.verify_log().valid


@pytest.mark.parametrize("backend", ["codes", "faiss-flat", "faiss-fp16"])
def test_other_backends_answer_the_same(people, tmp_path, backend):
    if backend.startswith("faiss"):
        pytest.importorskip("faiss")
    gallery, rows = people
    with opened(tmp_path / "people.db", backend=backend) as other:
        for group in ("max", "mean-top-k"):
            mine = gallery.identify_many(rows, group=group, top=3)
            found = other.identify_many(rows, group=group, top=3)
            assert [[m.person for m in row] for row in found] == [
                [m.person for m in row] for row in mine
            ]
        other.remove("p0")
        assert other.identify(rows[0])[0].person != "p0"


def test_an_inventory_holds_no_name_note_or_vector(people, tmp_path):
    gallery, rows = people
    gallery.enroll("Margaret", rows[:1], note="from passport", consent="signed form 7")
    gallery.export(tmp_path / "inventory.json")
    text = (tmp_path / "inventory.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert len(document["persons"]) == 11
    assert document["persons"][-1]["consent"] is True
    assert document["log_head"] == str(gallery.log_head())
    for secret in ("Margaret", "passport", "signed form"):
        assert secret not in text
    subjects = {entry["subject"] for entry in document["log"]}
    assert {person["pseudonym"] for person in document["persons"]} <= subjects


def test_a_plain_export_holds_everything_and_belongs_to_its_owner(people, tmp_path):
    gallery, rows = people
    gallery.export(tmp_path / "people.npz", plaintext=True)
    assert (tmp_path / "people.npz").stat().st_mode & 0o777 == 0o600
    with np.load(tmp_path / "people.npz", allow_pickle=False) as arrays:
        document = json.loads(arrays["people"].tobytes())
        found = arrays[f"vectors_{model().contract_id}"]
        numbers = arrays[f"template_{model().contract_id}"]
    np.testing.assert_array_equal(found, rows)
    assert [p["name"] for p in document["persons"]] == [f"p{i}" for i in range(10)]
    assert numbers.tolist() == [t["id"] for p in document["persons"] for t in p["templates"]]
    last = gallery.log()[-1]
    assert (last.action, last.detail) == ("export", {"plaintext": 1})


def test_an_unencrypted_gallery_says_so(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="crossface"):
        with opened(tmp_path / "g.db", key=None) as gallery:
            assert gallery.encrypted is False
            assert [f.kind for f in gallery.doctor().findings] == ["unencrypted"]
        assert "g.db is unencrypted" in caplog.text
        caplog.clear()
        with opened(tmp_path / "h.db") as gallery:
            assert gallery.encrypted is True
        assert caplog.text == ""


def test_a_gallery_is_its_owners_alone(tmp_path):
    with opened(tmp_path / "g.db") as gallery:
        gallery.enroll("a", vectors(1))
        assert file_bytes(tmp_path / "g.db").keys() == {"g.db", "g.db-wal", "g.db-shm"}
        for found in tmp_path.iterdir():
            assert found.stat().st_mode & 0o077 == 0
