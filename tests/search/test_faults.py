"""Kills, torn logs, two writers, a full disk: nothing acknowledged is lost, nothing comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crossface.core.errors import GalleryError
from crossface.search import erasure
from search.galleries import KEY, model, opened, vectors

HERE = Path(__file__).parent
FRAME_HEADER, WAL_HEADER = 24, 32


def run(code_or_file, *arguments, timeout=300):
    """Python in a process of its own, with this room's helpers in reach."""
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = (
        [sys.executable, str(code_or_file)]
        if isinstance(code_or_file, Path)
        else [sys.executable, "-c", code_or_file]
    )
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ), timeout


def finished(started):
    process, timeout = started
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, err
    return out


def killed(folder, kills, seed):
    """Operations acknowledged, and kills in the middle of one: as many as were asked for."""
    told = finished(run(HERE / "crashes.py", folder, kills, seed, timeout=900))
    acknowledged, inside = map(int, told.split())
    return acknowledged, inside


def test_fifty_kills_lose_and_resurrect_nothing(tmp_path):
    acknowledged, inside = killed(tmp_path, 50, 1)
    assert acknowledged > 20
    assert inside == 50


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_five_hundred_kills_lose_and_resurrect_nothing(tmp_path):
    acknowledged, inside = killed(tmp_path, 500, 2)
    assert acknowledged > 200
    assert inside == 500


def cut_after_every_frame(path, folder):
    """Copies of a gallery whose log file ends after 0, 1, 2 ... frames, and in mid-frame."""
    log = path.with_name(path.name + "-wal").read_bytes()
    page = int.from_bytes(log[8:12], "big")
    frames = (len(log) - WAL_HEADER) // (page + FRAME_HEADER)
    for frame in range(frames + 1):
        end = WAL_HEADER + frame * (page + FRAME_HEADER)
        for torn in (0, 100):
            copy = folder / f"cut{frame}-{torn}.db"
            shutil.copy(path, copy)
            copy.with_name(copy.name + "-wal").write_bytes(log[: end + torn])
            yield copy, end


def state(gallery):
    return {p.name: [t.id for t in p.templates] for p in gallery.list()}


def test_a_log_file_cut_at_every_frame_keeps_what_was_acknowledged(tmp_path, monkeypatch):
    """Removals too: their commit is in the log file until erasure truncates it."""
    monkeypatch.setattr(erasure.Eraser, "finish", lambda self: None)
    path, states = tmp_path / "g.db", []
    log = path.with_name("g.db-wal")
    with opened(path) as gallery:
        gallery._store.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        states.append((0, state(gallery)))
        for number in range(4):
            for change in (
                lambda n=number: gallery.enroll(f"p{n}", vectors(2, n)),
                lambda n=number: gallery.re_enroll(f"p{n}", vectors(1, n + 9)),
                lambda n=number: gallery.remove(f"p{n - 1}") if n else None,
                lambda n=number: gallery.migrate(model("next")) if n == 3 else None,
            ):
                change()
                states.append((log.stat().st_size, state(gallery)))
        (tmp_path / "cuts").mkdir()
        copies = list(cut_after_every_frame(path, tmp_path / "cuts"))
    assert len(copies) > 40
    monkeypatch.undo()
    for copy, end in copies:
        expected = next(found for size, found in reversed(states) if size <= max(end, 0))
        with opened(copy) as gallery:
            assert state(gallery) == expected, copy.name
            assert gallery.verify_log().valid, copy.name
            wanted = {name for name in expected if gallery.show(name).templates}
            assert wanted == set(expected)


WRITER = """
import sys
from pathlib import Path
from search.galleries import opened, vectors
path, who = Path(sys.argv[1]), sys.argv[2]
with opened(path) as gallery:
    for number in range(15):
        gallery.enroll(f"{who}{number}", vectors(1, number))
        gallery.enroll("both", vectors(1, number))
        if number % 5 == 4:
            gallery.remove(f"{who}{number}")
"""


def test_two_processes_that_enrol_at_once_both_get_through(tmp_path):
    path = tmp_path / "g.db"
    both = [run(WRITER, path, who) for who in ("a", "b")]
    for writer in both:
        finished(writer)
    with opened(path) as gallery:
        names = {p.name: len(p.templates) for p in gallery.list()}
        assert names.pop("both") == 30
        assert names == {f"{w}{n}": 1 for w in "ab" for n in range(15) if n % 5 != 4}
        check = gallery.verify_log()
        assert check.valid, check.problem
        assert check.entries == 1 + 60 + 6
        assert gallery.doctor().findings == ()  # no erasure is owed


FULL = """
import json, resource, sys
from pathlib import Path
from crossface.core.errors import GalleryError
from search.galleries import opened, vectors
path, limit = Path(sys.argv[1]), int(sys.argv[2])
with opened(path) as gallery:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    done, said = 0, ""
    try:
        for number in range(400):
            gallery.enroll(f"p{number}", vectors(3, number, 64))
            done += 1
    except GalleryError as error:
        said = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert len(gallery) == done and gallery.verify_log().valid
    gallery.enroll("after", vectors(1))
print(json.dumps([done, said]))
"""


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(tmp_path):
    import json

    path = tmp_path / "g.db"
    opened(path).close()
    done, said = json.loads(finished(run(FULL, path, 600_000)))
    assert 0 < done < 400
    assert said.startswith("g.db: could not be written")
    assert said.endswith("nothing of this change was kept")
    with opened(path) as gallery:
        assert len(gallery) == done + 1
        assert gallery.verify_log().valid
        assert all(len(p.templates) == 3 for p in gallery.list()[:-1])


def test_a_gallery_that_another_process_holds_is_one_sentence(tmp_path, monkeypatch):
    import sqlite3

    monkeypatch.setattr("crossface.search.schema._BUSY_S", 0.05)
    path = tmp_path / "g.db"
    with opened(path) as gallery:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(GalleryError, match="another process holds it; try again"):
            gallery.enroll("a", vectors(1))
        other.execute("ROLLBACK")
        other.close()
        gallery.enroll("a", vectors(1))


def test_closing_one_gallery_leaves_the_other_of_the_process_locked(tmp_path):
    """POSIX drops a process's locks when any descriptor of the file is closed: see ``readers``.

    Were the lock lost, the process that closes last would delete the log file of the one that is
    still open, with what it has acknowledged.
    """
    path = tmp_path / "g.db"
    with opened(path) as gallery:
        gallery.enroll("a", vectors(1))
        opened(path).close()
        code = (
            "import sys; from pathlib import Path; from search.galleries import opened\n"
            "opened(Path(sys.argv[1])).close()"
        )
        finished(run(code, path))
        assert path.with_name("g.db-wal").exists()
        gallery.enroll("b", vectors(1))
        copy = tmp_path / "copy.db"
        for suffix in ("", "-wal"):
            copy.with_name(copy.name + suffix).write_bytes(
                path.with_name(path.name + suffix).read_bytes()
            )
    with opened(copy, key=KEY) as found:
        assert [p.name for p in found.list()] == ["a", "b"]
