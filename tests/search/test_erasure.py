"""After ``remove`` is acknowledged, no byte of the person is in any file of the gallery."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.search import erasure
from crossface.search.door import Enrolling
from crossface.search.readers import FileReader
from search.galleries import KEY, file_bytes, model, opened, vectors

NAME = "Rosalind Elsie Franklin"
NOTE = "passport scan 1951"


def stored_secrets(path, name=NAME):
    """Every byte string that the record holds of one person, read with SQLite itself."""
    with opened(path) as gallery:
        row = gallery._people.find(name)
        db = gallery._store.db
        found = [row.uid]
        for table, column in (("persons", "id"), ("templates", "person")):
            for values in db.execute(f"SELECT * FROM {table} WHERE {column} = ?", (row.id,)):  # noqa: S608  # of this test
                found += [v for v in values if isinstance(v, bytes)]
    assert len(found) >= 5
    return found


def pieces(secrets):
    """Sixteen-byte pieces from all over each secret, its very end among them."""
    return {
        s[i : i + 16]
        for s in secrets
        for i in (*range(0, max(1, len(s) - 15), max(8, len(s) // 12)), max(0, len(s) - 16))
    }


def crowd(path, key, count=60, seed=0):
    rng = np.random.default_rng(seed)
    with opened(path, key=key) as gallery:
        gallery.enroll_many(
            Enrolling(f"person {i:03d}", vectors(int(rng.integers(1, 5)), i), note=f"note {i}")
            for i in range(count)
        )


def held(path, secrets):
    return [
        name for name, body in file_bytes(path).items() if any(s in body for s in pieces(secrets))
    ]


@pytest.mark.parametrize("key", [KEY, None])
def test_removed_names_and_templates_are_in_no_file(tmp_path, key):
    path, rows = tmp_path / "g.db", vectors(3, seed=77)
    crowd(path, key)
    with opened(path, key=key) as gallery:
        gallery.enroll(NAME, rows, consent="agreed to the trial in writing", note=NOTE)
    plain = [NAME.encode(), b"agreed to the trial", *(row.tobytes() for row in rows)]
    if key is None:
        secrets = plain
        assert held(path, secrets)
    else:
        secrets = [*stored_secrets(path), *plain]
        assert held(path, secrets[:1])
    with opened(path, key=key) as gallery:
        assert gallery.remove(NAME).erased
        assert held(path, secrets) == []  # while it is open, log file and all
        gallery.enroll("next", vectors(2, 5))
        assert held(path, secrets) == []
        assert len(gallery) == 61
    assert held(path, secrets) == []


def test_who_is_enrolled_and_removed_in_one_sitting_is_not_in_the_log_file(tmp_path):
    """Closing would have deleted the log file: here it holds the enrolment until it is cut."""
    path = tmp_path / "g.db"
    with opened(path) as gallery:
        gallery.enroll("other", vectors(2))
        gallery.enroll(NAME, vectors(3, 77), consent="agreed", note=NOTE)
        row = gallery._people.find(NAME)
        secrets = [row.uid] + [
            box
            for (box,) in gallery._store.rows(
                "SELECT vector FROM templates WHERE person = ?", (row.id,)
            )
        ]
        assert "g.db-wal" in held(path, secrets)
        assert gallery.remove(NAME).erased
        assert held(path, secrets) == []
        assert [p.name for p in gallery.list()] == ["other"]


def test_replaced_templates_are_erased_too(tmp_path):
    path = tmp_path / "g.db"
    crowd(path, KEY)
    with opened(path) as gallery:
        gallery.enroll(NAME, vectors(2, 77))
    secrets = [s for s in stored_secrets(path) if len(s) > 64 * 4]
    assert len(secrets) == 2
    with opened(path) as gallery:
        assert gallery.re_enroll(NAME, vectors(1, 78)).pending is None
        assert held(path, secrets) == []


@pytest.mark.parametrize("dim", [64, 512, 2048])
def test_many_removals_in_any_order_leave_nothing_behind(tmp_path, dim):
    """Rebalanced pages are where stale copies hide: 2048-d vectors spill into overflow pages."""
    path, rng = tmp_path / "g.db", np.random.default_rng(dim)
    contract = model(dim=dim)
    secrets: list[bytes] = []
    with opened(path, contract) as gallery:
        gallery.enroll_many(
            Enrolling(f"{i}", vectors(int(rng.integers(1, 4)), i, dim), consent="x" * int(i))
            for i in range(40)
        )
        for name in rng.permutation(40)[:25].tolist():
            row = gallery._people.find(str(name))
            secrets += [
                v
                for values in gallery._store.db.execute(
                    "SELECT vector FROM templates WHERE person = ?", (row.id,)
                )
                for v in values
            ] + [row.uid]
            assert gallery.remove(str(name)).erased
        assert held(path, secrets) == []
        assert gallery.verify_log().valid


def test_a_reader_in_the_way_makes_erasure_pending_and_it_is_done_later(tmp_path, monkeypatch):
    monkeypatch.setattr(erasure, "_WAIT_MS", 50)
    path = tmp_path / "g.db"
    crowd(path, KEY, count=5)
    with opened(path) as gallery:
        gallery.enroll(NAME, vectors(1, 77))
    secrets = stored_secrets(path)
    with opened(path) as gallery:
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM persons").fetchall()
        removal = gallery.remove(NAME)
        assert not removal.erased
        assert removal.pending.startswith("erasure pending: another process")
        assert [f.kind for f in gallery.doctor().findings] == ["erasure-pending"]
        assert gallery.finish_erasure() == removal.pending
        assert held(path, secrets)
        assert [p.name for p in gallery.list()] == [f"person {i:03d}" for i in range(5)]
        reader.execute("COMMIT")
        reader.close()
        gallery.identify(vectors(1)[0])  # any next operation tries again
        assert gallery.doctor().findings == ()
        assert held(path, secrets) == []


def test_what_a_crash_left_to_erase_is_erased_at_the_next_opening(tmp_path, monkeypatch):
    path = tmp_path / "g.db"
    crowd(path, KEY, count=5)
    with opened(path) as gallery:
        gallery.enroll(NAME, vectors(1, 77))
    secrets = stored_secrets(path)
    with opened(path) as gallery:
        gallery.enroll(NAME, vectors(200, 78))  # whole pages, which deleting sets free
    crashed = opened(path)
    monkeypatch.setattr(erasure.Eraser, "_finish", lambda self, store: "crashed here")
    assert crashed.remove(NAME).pending == "crashed here"
    assert held(path, secrets)
    monkeypatch.undo()
    with opened(path) as gallery:
        assert gallery.doctor().findings == ()
        assert held(path, secrets) == []
        assert gallery._store.rows("PRAGMA freelist_count") == [(0,)]  # rebuilt
    crashed.close()
    assert held(path, secrets) == []


def test_a_stale_copy_in_a_page_makes_the_file_be_rebuilt(tmp_path, monkeypatch):
    path = tmp_path / "g.db"
    crowd(path, KEY)
    with opened(path) as gallery:
        size = path.stat().st_size
        monkeypatch.setattr(FileReader, "holds", lambda self, wanted: bool(wanted))
        for number in range(30):
            gallery.remove(f"person {number:03d}")
        assert path.stat().st_size < size  # rebuilt, so smaller
        assert len(gallery) == 30
        assert gallery.verify_log().valid
        assert gallery.identify(vectors(1, 59)[0], threshold=0.9)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), size=st.integers(16, 300))
def test_the_reader_finds_a_piece_wherever_it_stands_and_no_other(seed, size):
    rng = np.random.default_rng(seed)
    body = rng.integers(0, 3, size, dtype=np.uint8).tobytes()  # few values: many near misses
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("crossface.search.readers._CHUNK_BYTES", 32)
        path = Path(folder) / "f"
        path.write_bytes(body)
        reader = FileReader(path)
        place = int(rng.integers(0, size - 15))
        missing = rng.integers(0, 3, 16, dtype=np.uint8).tobytes()
        assert reader.holds([body[place : place + 16]])
        assert reader.holds([missing]) is (missing in body)
        assert not reader.holds([body[place : place + 15] + b"x"])
        assert not reader.holds([])
        reader.release()


def test_pieces_cover_a_secret_from_its_start_to_its_end():
    secret = np.random.default_rng(0).bytes(2076)
    for start in range(0, 2076 - 79, 7):
        fragment = secret[start : start + 79]
        assert any(piece in fragment for piece in erasure._pieces([secret]))
    assert erasure._pieces([secret[:16]]) == {secret[:16]}


def test_deleting_is_set_up_to_overwrite_and_to_sync(tmp_path):
    with opened(tmp_path / "g.db") as gallery:
        pragmas = {
            name: gallery._store.rows(f"PRAGMA {name}")[0][0]
            for name in ("secure_delete", "synchronous", "journal_mode", "foreign_keys")
        }
        assert pragmas == {
            "secure_delete": 1,
            "synchronous": 2,  # FULL
            "journal_mode": "wal",
            "foreign_keys": 1,
        }
        assert gallery._store.rows("PRAGMA temp_store")[0][0] == 2  # memory
