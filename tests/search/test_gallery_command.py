"""``crossface gallery`` in this process: exit codes, sentences, JSON."""

from __future__ import annotations

import json
import sqlite3
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest

from crossface.app import cli
from crossface.search import erasure
from crossface.search.gallery import Gallery
from crossface.search.log import LogHead
from search.galleries import KEY, model, near, opened, vectors


@pytest.fixture
def gallery(tmp_path, monkeypatch):
    """A gallery file with three people, and the verb on the command line."""
    monkeypatch.setitem(cli.COMMANDS, "gallery", "crossface.app.commands.gallery")
    monkeypatch.setenv("CROSSFACE_GALLERY_KEY", KEY.hex())
    rows = vectors(3)
    with opened(tmp_path / "g.db") as found:
        found.enroll("ann", rows[:2], quality=0.2, consent="form 7", retain_until=date(2026, 5, 1))
        found.enroll("bob", rows[2:], quality=0.9, note="badge photo")
        found.enroll("rob", near(rows[2], 0.7)[None], quality=0.9)
    return tmp_path / "g.db"


@pytest.fixture
def call(capsys):
    def run(*arguments):
        try:
            cli.main(["gallery", *map(str, arguments)])
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


def test_list_and_show_tell_who_is_enrolled(gallery, call):
    code, out, _ = call("list", gallery)
    assert code == 0
    assert out.splitlines() == ["ann\t2\t2026-05-01", "bob\t1\t-", "rob\t1\t-"]
    code, out, _ = call("show", gallery, "bob", "--json", "-")
    person = json.loads(out)
    assert (person["name"], person["templates"][0]["note"]) == ("bob", "badge photo")
    code, out, err = call("show", gallery, "eve")
    assert (code, out) == (4, "")
    assert "nobody named 'eve'" in err


def test_remove_says_that_the_bytes_are_gone_or_wait(gallery, call, monkeypatch):
    code, out, _ = call("remove", gallery, "bob")
    assert (code, out.splitlines()) == (0, ["removed bob", "erased from the gallery's files"])
    monkeypatch.setattr(erasure, "_WAIT_MS", 50)
    reader = sqlite3.connect(gallery, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM persons").fetchall()
    code, out, _ = call("remove", gallery, "rob", "--json", "-")
    assert code == 1
    assert json.loads(out)["erased"] is False
    reader.close()
    code, out, _ = call("doctor", gallery, "--today", "2026-01-01")
    assert (code, out.count("erasure-pending")) == (0, 0)


def test_expire_removes_who_is_overdue(gallery, call):
    assert call("expire", gallery, "--today", "2026-05-01")[1] == "nobody to remove\n"
    code, out, _ = call("expire", gallery, "--today", "2026-05-02", "--json", "-")
    assert code == 0
    assert json.loads(out)["removed"] == ["ann"]
    assert call("expire", gallery, "--today", "soon")[0] == 2


def test_export_and_verify_log_work_together(gallery, call, tmp_path):
    code, _, err = call("export", gallery)
    assert code == 2
    assert "gallery export needs --out" in err
    code, out, _ = call("export", gallery, "--out", tmp_path / "i.json", "--json", "-")
    head = json.loads(out)["log_head"]
    assert json.loads((tmp_path / "i.json").read_text())["log_head"] == head
    code, out, _ = call("verify-log", gallery, "--head", head)
    assert code == 0
    assert f"head {head}" in out
    later = f"{LogHead.parse(head).seq + 1}:{'0' * 64}"
    code, out, err = call("verify-log", gallery, "--head", later)
    assert (code, out) == (4, "")
    assert "the audit log is not whole: entries 6 to 6 were cut off" in err
    code, _, _ = call("export", gallery, "--out", tmp_path / "p.npz", "--plaintext")
    assert code == 0
    assert np.load(tmp_path / "p.npz", allow_pickle=False)["people"].size


def test_doctor_exits_with_one_when_there_is_something_to_look_at(gallery, call):
    code, out, _ = call(
        "doctor", gallery, "--similarity", "0.6", "--min-quality", "0.5", "--today", "2026-01-01"
    )
    assert code == 1
    kinds = [line.split("\t")[0] for line in out.splitlines()]
    assert kinds == ["low-quality", "low-quality", "duplicate"]
    assert call("doctor", gallery, "--today", "2026-01-01")[0] == 0


def test_migrate_tells_who_waits(gallery, call, monkeypatch):
    new = SimpleNamespace(contract=model("new"))
    opener = "crossface.pipeline.networks.open_recogniser"
    monkeypatch.setattr(opener, lambda path, input_spec=None: new)
    assert call("migrate", gallery)[1] == "3 people are enrolled with teacher\n"
    code, out, _ = call("migrate", gallery, "--to", "new.onnx", "--json", "-")
    assert code == 0
    assert json.loads(out)["waiting"] == ["ann", "bob", "rob"]
    with Gallery.open(gallery, contract=new.contract) as found:
        for name in ("ann", "bob", "rob"):
            found.re_enroll(name, vectors(1, 5))
        assert found.migration().complete


def test_a_missing_gallery_or_key_is_one_sentence(gallery, call, tmp_path, monkeypatch):
    code, _, err = call("list", tmp_path / "none.db")
    assert code == 4
    assert "crossface: none.db does not exist" in err
    monkeypatch.delenv("CROSSFACE_GALLERY_KEY")
    code, _, err = call("list", gallery)
    assert code == 4
    assert "g.db is encrypted: give its key file or set CROSSFACE_GALLERY_KEY" in err
    (tmp_path / "key").write_text(KEY.hex())
    assert call("list", gallery, "--key", tmp_path / "key")[0] == 0
    assert call("burn", gallery)[0] == 2
