"""The model store: whole files under their hash or nothing; packs of InsightFace."""

from __future__ import annotations

import http.server
import json
import logging
import threading

import pytest

from crossface.core.contract import InputSpec
from crossface.core.errors import UnknownName, UsageError, WeightsError
from crossface.core.files import sha256_file
from crossface.core.weights import KnownWeights, announce_licence, known_weights
from crossface.pipeline import packs, store
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.detectors import DETECTORS
from crossface.pipeline.packs import read_pack
from crossface.pipeline.store import ModelStore, default_home
from face_files import pattern
from pipeline.onnx_files import embedder, one_face


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    """No test sees a user's store, packs or network."""
    monkeypatch.setenv("CROSSFACE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("CROSSFACE_OFFLINE", raising=False)
    announce_licence.cache_clear()
    packs._announce.cache_clear()


@pytest.fixture
def row(tmp_path, monkeypatch):
    """A row of the table for a file that exists in a folder of ours."""
    folder = tmp_path / "brought"
    folder.mkdir()
    path = embedder(folder / "odd_name.onnx")
    made = KnownWeights(
        name="tiny",
        sha256=sha256_file(path),
        licence="research only",
        caveat="drawn faces",
        non_commercial=True,
        input_spec=InputSpec(),
    )
    return use(monkeypatch, made)


def use(monkeypatch, row):
    rows = (row, *known_weights())
    monkeypatch.setattr(store, "known_weights", lambda: rows)
    monkeypatch.setattr(
        store, "find_by_name", lambda name: next((r for r in rows if r.name == name), None)
    )
    monkeypatch.setattr(
        "crossface.pipeline.runtimes.onnx_runtime.find_by_sha256",
        lambda digest: next((r for r in rows if r.sha256 == digest), None),
    )
    return row


def test_the_table_is_complete_and_names_are_unique():
    rows = known_weights()
    assert len({row.name for row in rows}) == len({row.sha256 for row in rows}) == len(rows)
    for row in rows:
        assert row.task != "detection" or row.detector in DETECTORS
        assert "non-commercial" not in row.licence or row.non_commercial
    with pytest.raises(ValueError, match="lacks what it is used with"):
        KnownWeights(name="x", sha256="0" * 64, licence="MIT", caveat="", task="detection")


def test_home_is_the_variable_or_the_platform_s_cache(monkeypatch, tmp_path):
    assert default_home() == tmp_path / "home"
    monkeypatch.delenv("CROSSFACE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(store.sys, "platform", "linux")
    assert default_home() == tmp_path / "xdg" / "crossface"
    monkeypatch.setattr(store.sys, "platform", "darwin")
    assert default_home() == tmp_path / "user" / "Library" / "Caches" / "crossface"


def test_a_file_is_brought_from_a_folder_by_its_hash(row, tmp_path):
    models = ModelStore()
    with pytest.raises(WeightsError, match=r"tiny: it is not in the model store; .*--from FILE"):
        models.resolve("tiny", "embedding")
    path = models.pull("tiny", source=tmp_path / "brought")
    assert path == tmp_path / "home" / "models" / "tiny.onnx"
    assert sha256_file(path) == row.sha256
    assert models.resolve("tiny", "embedding").path == path
    assert models.pull("tiny") == path
    assert [entry.path for entry in models.models() if entry.known is row] == [path]
    assert models.verify("tiny")[0].reason is None
    with pytest.raises(UsageError, match="tiny is for embedding, not for detection"):
        models.resolve("tiny", "detection")


def test_another_file_is_refused_and_nothing_is_left(row, tmp_path):
    other = embedder(tmp_path / "other.onnx", dim=6)
    with pytest.raises(WeightsError, match=r"a copy of other\.onnx is another file"):
        ModelStore().pull("tiny", source=other)
    assert list((tmp_path / "home" / "models").iterdir()) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"no \.onnx file in empty has sha256"):
        ModelStore().pull("tiny", source=tmp_path / "empty")
    with pytest.raises(WeightsError, match="there is none"):
        ModelStore().pull("tiny", source=tmp_path / "absent")


def test_a_damaged_file_is_found_and_named(row, tmp_path):
    models = ModelStore()
    path = models.pull("tiny", source=tmp_path / "brought")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert "expected sha256" in models.verify()[0].reason
    with pytest.raises(WeightsError, match="crossface models pull tiny"):
        models.resolve("tiny", "embedding")
    assert sha256_file(models.pull("tiny", source=tmp_path / "brought")) == row.sha256


def test_unknown_names_get_near_matches():
    with pytest.raises(UnknownName, match="did you mean edgeface_xs"):
        ModelStore().resolve("edgeface_xss", "embedding")
    with pytest.raises(UnknownName, match="did you mean yunet_s or yunet_n"):
        ModelStore().pull("yunet_m")
    with pytest.raises(WeightsError, match="no public address is known"):
        ModelStore().pull("yunet_n")


class Answers(http.server.BaseHTTPRequestHandler):
    """A server whose files are on the class; one of them is cut short."""

    files: dict = {}  # noqa: RUF012

    def do_GET(self):
        data = self.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if "cut" in self.path else data)

    def log_message(self, *args):
        pass


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_is_whole_or_absent(row, tmp_path, address, monkeypatch):
    data = (tmp_path / "brought" / "odd_name.onnx").read_bytes()
    Answers.files = {"/good": data, "/cut": data, "/other": b"<html>gone</html>"}
    problems = {
        "/other": "tiny: the download is another file: expected sha256",
        "/cut": "tiny: (expected|http)",
        "/none": "answers 404",
    }
    for place, sentence in problems.items():
        use(monkeypatch, row.model_copy(update={"url": address + place}))
        with pytest.raises(WeightsError, match=sentence):
            ModelStore().pull("tiny", progress=False)
        assert list((tmp_path / "home" / "models").iterdir()) == []
    use(monkeypatch, row.model_copy(update={"url": address + "/good"}))
    monkeypatch.setenv("CROSSFACE_OFFLINE", "1")
    with pytest.raises(WeightsError, match="CROSSFACE_OFFLINE is set"):
        ModelStore().pull("tiny", progress=False)
    monkeypatch.setenv("CROSSFACE_OFFLINE", "0")
    assert ModelStore().pull("tiny", progress=False).read_bytes() == data


def test_non_commercial_weights_say_so_loudly_and_once(row, tmp_path, caplog):
    path = ModelStore().pull("tiny", source=tmp_path / "brought")
    detector = one_face(tmp_path / "d.onnx")
    with caplog.at_level(logging.WARNING, logger="crossface"):
        for _ in range(2):
            FaceAnalysis(path, detector, threads=2)
    loud = [r.message for r in caplog.records if "NON-COMMERCIAL" in r.message]
    assert loud == ["tiny: NON-COMMERCIAL weights: research only; drawn faces"]


def pack(tmp_path, name="buffalo_t", **manifest):
    folder = tmp_path / "user" / ".insightface" / "models" / name
    folder.mkdir(parents=True)
    one_face(folder / "det_500m.onnx")
    embedder(folder / "w600k_mbf.onnx")
    (folder / "genderage.onnx").write_bytes(b"left alone")
    if manifest:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def manifest_of(folder, **changes):
    tasks = {
        "detection": {"file": "det_500m.onnx"},
        "recognition": {
            "file": "w600k_mbf.onnx",
            "sha256": sha256_file(folder / "w600k_mbf.onnx"),
            "preprocessing": {"mean": 100.0, "std": 50.0},
            "embedding_dimension": 5,
        },
        "verification": {"file": "x.onnx", "expansion": 1.3},
    }
    document = {
        "manifest_version": 2,
        "model_id": "raccoon_t",
        "license": "MODEL.LICENSE",
        "tasks": tasks,
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(document))
    return tasks


def test_a_classic_pack_is_used_by_its_name(tmp_path, caplog):
    folder = pack(tmp_path)
    found = read_pack(folder)
    assert {task: entry.path.name for task, entry in found.files.items()} == {
        "detection": "det_500m.onnx",
        "embedding": "w600k_mbf.onnx",
    }
    with caplog.at_level(logging.WARNING, logger="crossface"):
        (face,) = FaceAnalysis("buffalo_t", threads=1).get(pattern(0, (64, 64)))
    assert face.embedding.shape == (5,)
    assert "NON-COMMERCIAL weights: InsightFace's public terms" in caplog.text
    assert "assuming" not in caplog.text
    assert [p.name for p in ModelStore().packs()] == ["buffalo_t"]
    assert FaceAnalysis(folder, threads=1).contract == FaceAnalysis("buffalo_t", threads=1).contract


def test_a_manifest_says_files_hashes_and_normalisation(tmp_path, caplog):
    folder = pack(tmp_path)
    manifest_of(folder)
    (folder / "MODEL.LICENSE").write_text(json.dumps({"grant": "commercial"}))
    found = read_pack(folder)
    assert found.name == "raccoon_t"
    spec = found.files["embedding"].input_spec
    assert spec == InputSpec(mean=(100,) * 3, std=(50,) * 3)
    with caplog.at_level(logging.WARNING, logger="crossface"):
        assert FaceAnalysis(folder, threads=1).embedder.input_spec == spec
    assert "NON-COMMERCIAL" not in caplog.text
    embedder(folder / "w600k_mbf.onnx", dim=6)
    with pytest.raises(WeightsError, match="another sha256 than the manifest says"):
        FaceAnalysis(folder, threads=1)


def test_a_manifest_that_cannot_be_trusted_is_refused(tmp_path):
    folder = pack(tmp_path)
    tasks = manifest_of(folder)
    recognition = tasks["recognition"]
    wrong = {
        "expected manifest_version 2, got 3": {"manifest_version": 3},
        "points outside the pack": {
            "tasks": {**tasks, "recognition": {**recognition, "file": "../../x.onnx"}}
        },
        "not normalised by": {
            "tasks": {
                **tasks,
                "detection": {"file": "d.onnx", "preprocessing": {"mean": 0, "std": 1}},
            }
        },
        "expected crops of 112x112": {
            "tasks": {**tasks, "recognition": {**recognition, "input_size": [128, 128]}}
        },
        "unknown preprocessing": {
            "tasks": {**tasks, "recognition": {**recognition, "preprocessing": "magic"}}
        },
        "buffalo_t/manifest.json: model_id": {"model_id": "../evil"},
    }
    for sentence, change in wrong.items():
        manifest_of(folder, **change)
        with pytest.raises(WeightsError, match=sentence):
            read_pack(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(WeightsError, match=r"manifest\.json"):
        read_pack(folder)


def test_embedded_normalisation_is_left_to_the_graph(tmp_path):
    folder = pack(tmp_path)
    tasks = manifest_of(folder)
    entry = {**tasks["recognition"], "preprocessing": "embedded"}
    manifest_of(folder, tasks={**tasks, "recognition": entry})
    spec = read_pack(folder).files["embedding"].input_spec
    assert (spec.mean, spec.std) == ((0, 0, 0), (1, 1, 1))


def test_a_pack_with_two_recognisers_or_without_a_detector_says_so(tmp_path):
    folder = pack(tmp_path)
    embedder(folder / "glintr100.onnx")
    with pytest.raises(WeightsError, match="two files for embedding"):
        read_pack(folder)
    (folder / "glintr100.onnx").unlink()
    (folder / "det_500m.onnx").unlink()
    with pytest.raises(WeightsError, match="expected a file for detection, the pack has embedding"):
        FaceAnalysis(folder, threads=1)
    assert read_pack(tmp_path) is None
    assert read_pack(tmp_path / "absent") is None
    assert ModelStore().find_pack("../buffalo_t") is None
