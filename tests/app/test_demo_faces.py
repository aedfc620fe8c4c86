"""The demo's zips do not depend on who drew them."""

import zipfile

from crossface.app.demo import faces
from crossface.data.drawn import DrawnFaces


def test_processes_draw_the_same_bytes_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(faces, "_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(faces, "_CHUNK", 3)
    source = DrawnFaces(identities=5, per_identity=2, seed=4)
    for processes in (1, 2):
        faces.write_zip(source, tmp_path / f"{processes}.zip", processes=processes, progress=False)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_the_first_pictures_are_copied_as_they_are(tmp_path):
    source = DrawnFaces(identities=3, per_identity=2, seed=4)
    faces.write_zip(source, tmp_path / "all.zip", processes=1, progress=False)
    faces.copy_first(tmp_path / "all.zip", tmp_path / "some.zip", 4)
    with (
        zipfile.ZipFile(tmp_path / "all.zip") as whole,
        zipfile.ZipFile(tmp_path / "some.zip") as some,
    ):
        assert some.namelist() == [f"{source.key(n)}.jpg" for n in range(4)]
        assert all(some.read(name) == whole.read(name) for name in some.namelist())
