"""``crossface compat`` gives a gallery leave: enrolled by A, searched by B, refused without it."""

from __future__ import annotations

import json

import pytest

from crossface import api
from crossface.core.errors import ContractMismatch, DataError, GalleryError
from crossface.search.compat import CompatRecord, read_record
from face_files import encode, pattern, people, write_folder
from photo_people import networks, photo, recogniser


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Models a and b of one space, c of another; crops of 40 people, 3 each; two photographs."""
    folder = tmp_path_factory.mktemp("room")
    networks(folder)
    recogniser(folder / "a.onnx", space="one", name="a")
    recogniser(folder / "b.onnx", space="one", name="b", bias=0.02)
    recogniser(folder / "c.onnx", space="two", name="c")
    write_folder(folder / "crops", people(40, 3))
    write_folder(folder / "others", {f"{n}.png": encode(pattern(5000 + n)) for n in range(40)})
    for number in (0, 1):
        (folder / f"ann{number}.png").write_bytes(encode(photo("ann", number)))
    return folder


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("CROSSFACE_GALLERY_KEY", "07" * 32)


@pytest.fixture
def gallery(room, tmp_path, call):
    files = ["--model", room / "a.onnx", "--detector", room / "d.onnx"]
    words = ["enroll", tmp_path / "g.db", "ann", room / "ann0.png", *files, "--min-quality", 0]
    assert call(*words)[0] == 0
    return tmp_path / "g.db"


def search(room, gallery, call, name):
    files = ["--model", room / f"{name}.onnx", "--detector", room / "d.onnx"]
    return call("identify", gallery, room / "ann1.png", *files, "--threshold", "0.7")


@pytest.mark.parametrize("by_file", [True, False])
def test_a_measured_pair_may_search_and_others_are_refused(room, gallery, tmp_path, call, by_file):
    code, out, err = search(room, gallery, call, "b")
    assert (code, out) == (5, "")
    assert "run `crossface compat a b --data ... --gallery g.db`" in err
    where = ["--record", tmp_path / "leave.json"] if by_file else ["--gallery", gallery]
    code, out, err = call(
        "compat",
        room / "a.onnx",
        room / "b.onnx",
        "--data",
        room / "crops",
        "--fmr",
        "1e-2",
        *where,
    )
    assert code == 0, err
    assert out.splitlines()[-1] == (
        "wrote leave.json" if by_file else "b may search templates of a in g.db"
    )
    if by_file:
        assert search(room, gallery, call, "b")[0] == 5
        code, out, _ = call("gallery", "allow", gallery, "--record", tmp_path / "leave.json")
        assert (code, out) == (0, "b may search templates of a\n")
    code, out, _ = search(room, gallery, call, "b")
    assert code == 0
    assert out.startswith("ann1.png  face 1  ann ")
    assert search(room, gallery, call, "c")[0] == 5


def test_the_record_says_what_the_report_says(room):
    report = api.compat(
        room / "a.onnx", room / "b.onnx", data=room / "crops", progress=False, threads=1
    )
    record = api.compat_record(report, fmr=1e-2)
    entry = report["cells"]["A-B"]["fnmr_at_fmr_by_identity"]["1e-2"]
    assert record.fnmr["gallery-probe"].value == entry["value"]
    assert record.thresholds["gallery-probe"] == entry["threshold"]
    other = report["cells"]["B-A"]["fnmr_at_fmr_by_identity"]["1e-2"]
    assert record.fnmr["probe-gallery"].value == other["value"]
    assert set(record.fnmr) == {
        "gallery-gallery", "gallery-probe", "probe-gallery", "probe-probe"
    }  # fmt: skip
    assert CompatRecord.model_validate_json(json.dumps(record.model_dump(mode="json"))) == record
    with pytest.raises(DataError, match=r"no FNMR at FMR 1e-06: .* false matches are expected"):
        api.compat_record(report, fmr=1e-6)
    with pytest.raises(DataError, match=r"no FNMR was measured at FMR 0\.02"):
        api.compat_record(report, fmr=0.02)


def test_a_map_fitted_on_other_crops_lets_another_space_in(room, gallery, call):
    words = ["compat", room / "a.onnx", room / "c.onnx", "--data", room / "crops", "--fmr", "1e-2"]
    fit = ["--map-from", room / "others", "--gallery", gallery]
    code, _, err = call(*words, "--map-from", room / "crops")
    assert code == 4
    assert "the map was fitted on crops; measure it on other pictures" in err
    code, out, err = call(*words, *fit)
    assert code == 0, err
    assert out.startswith("A: a   B: c   B is mapped into A's space, fitted on others")
    code, out, _ = search(room, gallery, call, "c")
    assert code == 0
    assert out.startswith("ann1.png  face 1  ann ")


def test_two_spaces_get_no_record(room):
    report = api.compat(
        room / "a.onnx", room / "c.onnx", data=room / "crops", progress=False, threads=1
    )
    with pytest.raises(ContractMismatch, match="do not share a space"):
        api.compat_record(report, fmr=1e-2)


def test_a_file_that_is_no_record_is_one_sentence(tmp_path):
    (tmp_path / "r.json").write_text("{}")
    with pytest.raises(GalleryError, match=r"r\.json is no record of crossface compat: gallery"):
        read_record(tmp_path / "r.json")
    with pytest.raises(GalleryError, match=r"none\.json: No such file"):
        read_record(tmp_path / "none.json")
