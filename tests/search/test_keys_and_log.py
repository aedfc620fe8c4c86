"""Keys, what a stolen file holds, and the audit log against tampering."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import shutil
import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.core.errors import GalleryError, UsageError
from crossface.search.backends.codes import _codes
from crossface.search.keys import KEY_VARIABLE, KeyedCipher, read_key
from crossface.search.log import LogHead
from search.galleries import KEY, file_bytes, opened, vectors


def test_a_key_is_read_from_bytes_files_and_the_environment(tmp_path, monkeypatch):
    for content in (KEY, KEY.hex().encode() + b"\n", base64.b64encode(KEY)):
        (tmp_path / "key").write_bytes(content)
        assert read_key(tmp_path / "key") == KEY
    assert read_key(None) is None
    for text in (KEY.hex(), base64.b64encode(KEY).decode()):
        monkeypatch.setenv(KEY_VARIABLE, text)
        assert read_key(None) == KEY
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    with pytest.raises(GalleryError, match="is no gallery key: expected 32 bytes") as caught:
        read_key(None)
    assert "secret" not in str(caught.value)
    with pytest.raises(GalleryError, match="key file none"):
        read_key(tmp_path / "none")


def test_subkeys_are_those_of_rfc_5869():
    """HKDF by hand: extract with the gallery's id as salt, expand one block."""
    gallery_id = b"g" * 16
    extracted = hmac.digest(gallery_id, KEY, "sha256")
    names = hmac.digest(extracted, b"crossface gallery 1 names\x01", "sha256")
    expected = hmac.digest(names, b"Ann", "sha256")
    assert KeyedCipher(KEY, gallery_id).tag("Ann") == expected


def test_a_box_opens_only_where_it_belongs():
    cipher = KeyedCipher(KEY, b"g" * 16)
    box = cipher.seal(b"plain", b"here")
    assert cipher.unseal(box, b"here") == b"plain"
    changed = bytes([box[0] ^ 1]) + box[1:]
    for bad, place in ((box, b"there"), (changed, b"here"), (b"", b"here")):
        with pytest.raises(GalleryError, match="does not decrypt"):
            cipher.unseal(bad, place)
    with pytest.raises(GalleryError, match="does not decrypt"):
        KeyedCipher(KEY, b"h" * 16).unseal(box, b"here")


def test_a_wrong_missing_or_needless_key_is_one_sentence(tmp_path):
    opened(tmp_path / "keyed.db").close()
    opened(tmp_path / "plain.db", key=None).close()
    with pytest.raises(GalleryError, match=r"^keyed\.db: the key given is not the one"):
        opened(tmp_path / "keyed.db", key=b"x" * 32)
    with pytest.raises(GalleryError, match=r"^keyed\.db is encrypted: give its key file or set"):
        opened(tmp_path / "keyed.db", key=None)
    with pytest.raises(GalleryError, match=r"^plain\.db was made without a key"):
        opened(tmp_path / "plain.db")


def test_a_stolen_file_yields_no_name_note_template_or_code(tmp_path):
    rows = vectors(6)
    with opened(tmp_path / "g.db") as gallery:
        gallery.enroll("Margaret Hamilton", rows, consent="signed form 7", note="passport scan")
        gallery.identify(rows[0])
        bodies = file_bytes(tmp_path / "g.db")
    secrets = [b"Margaret", b"Hamilton", b"signed form", b"passport"]
    for row in rows:
        secrets += [row.tobytes()[i : i + 12] for i in range(0, 240, 12)]
        secrets += [row.astype("f2").tobytes()[:16], _codes(row[None] > 0).tobytes()]
    for body in bodies.values():
        assert not [secret for secret in secrets if secret in body]


def test_an_unencrypted_file_does_hold_them_which_is_why_the_search_above_means_something(tmp_path):
    rows = vectors(1)
    with opened(tmp_path / "g.db", key=None) as gallery:
        gallery.enroll("Margaret Hamilton", rows)
        body = b"".join(file_bytes(tmp_path / "g.db").values())
    assert b"Margaret" in body
    assert rows[0].tobytes()[:12] in body
    # the sign code is one bit a dimension, sign bits of the vector in the order of the dimensions
    bits = (rows[0] > 0).astype(np.uint8)
    assert _codes(rows > 0).tobytes() == np.packbits(bits).tobytes()


def edited(path, *statements):
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def test_a_template_moved_to_another_person_does_not_open(tmp_path):
    path, rows = tmp_path / "g.db", vectors(2)
    with opened(path) as gallery:
        gallery.enroll("a", rows[:1])
        gallery.enroll("b", rows[1:])
    edited(path, "UPDATE templates SET person = 3 - person")
    with opened(path) as gallery:
        with pytest.raises(GalleryError, match="template 1 does not decrypt"):
            gallery.identify(rows[0])
        assert "does not decrypt" in gallery.doctor(similarity=0.5).skipped[-1]
        gallery.remove("b")
        assert gallery.remove("a").erased


def several_changes(path, key=KEY):
    with opened(path, key=key) as gallery:
        gallery.enroll("a", vectors(2))
        gallery.enroll("b", vectors(1, 1))
        gallery.re_enroll("a", vectors(1, 2))
        gallery.remove("b")
        gallery.enroll("c", vectors(3, 3))
        assert gallery.verify_log().valid
        return gallery.log_head(), gallery.log()


@pytest.mark.parametrize("key", [KEY, None])
def test_the_log_tells_every_change_by_pseudonyms(tmp_path, key):
    head, log = several_changes(tmp_path / "g.db", key)
    told = [(e.action, e.persons, e.templates) for e in log]
    assert told == [
        ("create", 0, 0),
        ("enroll", 1, 2),
        ("enroll", 2, 3),
        ("re-enroll", 2, 2),
        ("remove", 1, 1),
        ("enroll", 2, 4),
    ]
    a, b, c = log[1].subject, log[2].subject, log[5].subject
    assert [e.subject for e in log] == [None, a, b, a, b, c]
    assert len({a, b, c}) == 3
    assert head.seq == 6
    assert LogHead.parse(str(head)) == head


def test_the_chain_without_a_key_is_the_sha256_of_link_and_entry(tmp_path):
    several_changes(tmp_path / "g.db", None)
    with sqlite3.connect(tmp_path / "g.db") as db:
        (gallery_id,) = db.execute("SELECT value FROM meta WHERE key = 'gallery_id'").fetchone()
        rows = db.execute("SELECT entry, link FROM log ORDER BY seq").fetchall()
    db.close()
    link = hashlib.sha256(b"crossface gallery log 1" + gallery_id).digest()
    for text, stored in rows:
        link = hashlib.sha256(link + text.encode()).digest()
        assert link == stored


TAMPERING = {
    "changed entry": ["UPDATE log SET entry = replace(entry, 'remove', 'enroll') WHERE seq = 5"],
    "changed link": ["UPDATE log SET link = zeroblob(32) WHERE seq = 6"],
    "text for a link": ["UPDATE log SET link = 'x' WHERE seq = 3"],
    "cut out": ["DELETE FROM log WHERE seq = 3"],
    "cut out and closed up": [
        "DELETE FROM log WHERE seq = 3",
        "UPDATE log SET seq = seq - 1 WHERE seq > 3",
    ],
    "cut off at the start": ["DELETE FROM log WHERE seq = 1"],
    "swapped": [
        "UPDATE log SET seq = 99 WHERE seq = 2",
        "UPDATE log SET seq = 2 WHERE seq = 3",
        "UPDATE log SET seq = 3 WHERE seq = 99",
    ],
    "repeated": ["INSERT INTO log SELECT 7, entry, link FROM log WHERE seq = 6"],
    "invented": ["INSERT INTO log SELECT 7, replace(entry, ':6', ':7'), link FROM log WHERE seq=6"],
    "person deleted behind its back": ["DELETE FROM templates", "DELETE FROM persons"],
}


PROBLEMS = {
    "changed entry": "entry 5 was changed, moved or written with another key",
    "cut out": "entry 3 is missing",
    "person deleted behind its back": (
        "the log ends with 2 persons and 4 templates, the record holds 0 and 0"
    ),
}


@pytest.mark.parametrize("how", TAMPERING)
@pytest.mark.parametrize("key", [KEY, None])
def test_tampering_is_seen(tmp_path, how, key):
    path = tmp_path / "g.db"
    several_changes(path, key)
    edited(path, *TAMPERING[how])
    with opened(path, key=key) as gallery:
        check = gallery.verify_log()
    assert not check.valid
    assert check.problem == PROBLEMS.get(how, check.problem)
    assert check.problem


def test_every_order_of_the_entries_but_one_is_refused(tmp_path):
    path = tmp_path / "g.db"
    with opened(path) as gallery:
        for name in "ab":
            gallery.enroll(name, vectors(1))
    for number, order in enumerate(itertools.permutations((1, 2, 3))):
        copy = tmp_path / f"copy{number}.db"
        shutil.copy(path, copy)
        edited(
            copy,
            "UPDATE log SET seq = seq + 10",
            *(
                f"UPDATE log SET seq = {new} WHERE seq = {old + 10}"  # noqa: S608  # two integers
                for new, old in enumerate(order, 1)
            ),
        )
        with opened(copy) as gallery:
            assert gallery.verify_log().valid is (order == (1, 2, 3))


def test_entries_cut_off_are_seen_against_an_exported_head(tmp_path):
    path = tmp_path / "g.db"
    with opened(path) as gallery:
        gallery.enroll("a", vectors(1))
        gallery.export(tmp_path / "out.json")
        head = gallery.log_head()
    edited(path, "DELETE FROM log WHERE seq = 3")
    with opened(path) as gallery:
        assert gallery.verify_log().valid  # the chain alone cannot know
        check = gallery.verify_log(head)
        assert not check.valid
        assert check.problem == "entries 3 to 3 were cut off"
        gallery.export(tmp_path / "out.json", plaintext=True)  # another third entry
        assert "is not the one whose head was exported" in gallery.verify_log(head).problem


def test_an_honest_log_agrees_with_all_its_earlier_heads(tmp_path):
    with opened(tmp_path / "g.db") as gallery:
        heads = [gallery.log_head()]
        for name in "abc":
            gallery.enroll(name, vectors(1))
            heads.append(gallery.log_head())
        assert all(gallery.verify_log(head).valid for head in heads)
    with pytest.raises(UsageError, match="a log head is written NUMBER:HEX"):
        LogHead.parse("latest")


def test_a_removed_persons_log_entries_lead_nowhere(tmp_path):
    path = tmp_path / "g.db"
    _, log = several_changes(path)
    with opened(path) as gallery:
        uids = [row.uid for row, _ in gallery._people.everybody()]
        living = {gallery._store.cipher.pseudonym(uid) for uid in uids}
    assert {entry.subject for entry in log} - living - {None} == {log[2].subject}


@pytest.fixture(scope="module")
def whole_log(tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "g.db"
    several_changes(path)
    return path


@settings(derandomize=True, deadline=None, max_examples=25)
@given(seq=st.integers(1, 6), place=st.integers(0, 10**6), bit=st.integers(0, 6))
def test_any_flipped_bit_of_an_entry_is_seen(whole_log, seq, place, bit):
    copy = whole_log.with_name("flipped.db")
    shutil.copy(whole_log, copy)
    with sqlite3.connect(copy) as db:
        (text,) = db.execute("SELECT entry FROM log WHERE seq = ?", (seq,)).fetchone()
        where = place % len(text)
        changed = text[:where] + chr(ord(text[where]) ^ (1 << bit)) + text[where + 1 :]
        db.execute("UPDATE log SET entry = ? WHERE seq = ?", (changed, seq))
    db.close()
    with opened(copy) as gallery:
        assert not gallery.verify_log().valid


def test_entries_are_canonical_json(whole_log):
    with sqlite3.connect(whole_log) as db:
        rows = db.execute("SELECT entry FROM log").fetchall()
    db.close()
    for (text,) in rows:
        assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_what_is_no_gallery_is_refused_and_left_alone(tmp_path):
    (tmp_path / "a.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(GalleryError, match=r"a\.db: is damaged or not a gallery"):
        opened(tmp_path / "a.db")
    edited(tmp_path / "b.db", "CREATE TABLE mine (x)")
    before = (tmp_path / "b.db").read_bytes()
    with pytest.raises(GalleryError, match=r"b\.db is not a crossface gallery"):
        opened(tmp_path / "b.db")
    assert (tmp_path / "b.db").read_bytes() == before
    opened(tmp_path / "c.db").close()
    edited(tmp_path / "c.db", "PRAGMA user_version = 2")
    with pytest.raises(GalleryError, match="has gallery schema 2, this crossface reads 1"):
        opened(tmp_path / "c.db")
    with pytest.raises(GalleryError, match=r"g\.db"):
        opened(tmp_path / "no" / "folder" / "g.db")
