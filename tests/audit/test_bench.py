"""Speed: percentiles, the pipeline's stages, what late pictures cost, and the verb."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from crossface.app.cli import main
from crossface.audit.bench_child import answer
from crossface.audit.bench_text import bench_text
from crossface.audit.fruits import FruitsJob, Passes, Pipeline, central_face, run_passes
from crossface.audit.fruits_figures import budget_figures
from crossface.audit.speed import bench_embedder
from crossface.audit.timing import run_apart, timing
from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import DataError, UsageError
from crossface.data.formats.pair_list import Pair, PairList
from crossface.evaluation.embed import EmbeddedFaces
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.detectors import Detections, open_detector
from crossface.pipeline.runtimes.opening import open_embedder
from face_files import encode, pattern
from pipeline.onnx_files import embedder, one_face


@pytest.mark.parametrize("count", [1, 2, 3, 19, 20, 21, 100, 101])
def test_percentiles_are_the_smallest_run_that_so_many_do_not_exceed(count):
    seconds = np.random.default_rng(count).permutation(np.arange(1, count + 1) / 1000)
    found = timing(seconds)
    for key, share in (("median_ms", 0.5), ("p95_ms", 0.95)):
        ordered = sorted(seconds)
        want = next(s for k, s in enumerate(ordered, start=1) if k >= share * count)
        assert found[key] == pytest.approx(1000 * want)
    assert found["runs"] == count


def test_nothing_timed_is_refused():
    with pytest.raises(ValueError, match="no run"):
        timing([])


def test_the_face_of_fruits_is_the_large_and_central_one():
    rng = np.random.default_rng(0)
    for _ in range(20):
        corner = rng.uniform(0, 200, (5, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 90, (5, 2))], axis=1)
        found = Detections(boxes.astype(np.float32), np.ones(5, np.float32), np.zeros((5, 5, 2)))
        want, best = None, -math.inf
        for row, (x1, y1, x2, y2) in enumerate(boxes):
            away = ((x1 + x2) / 2 - 150) ** 2 + ((y1 + y2) / 2 - 120) ** 2
            if (x2 - x1) * (y2 - y1) - 2 * away > best:
                want, best = row, (x2 - x1) * (y2 - y1) - 2 * away
        assert central_face(found, 240, 300) == want


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A detector of one face, an embedder, and photographs of three people in two folds."""
    folder = tmp_path_factory.mktemp("room")
    props = {"crossface.input_spec": InputSpec().model_dump_json()}
    embedder(folder / "m.onnx", props=props)
    one_face(folder / "d.onnx")
    for number in range(6):
        place = folder / "photos" / f"p{number // 2}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encode(pattern(number, (64, 64))))
    rows = ["0,p0/0,p0/1,1", "0,p0/0,p1/2,0", "1,p1/2,p1/3,1", "1,p1/3,p2/4,0", "1,p9/9,p0/0,0"]
    (folder / "pairs.csv").write_text("\n".join(["fold,a,b,same", *rows]), encoding="utf-8")
    return folder


def test_the_stages_give_what_face_analysis_gives(room):
    pipeline = Pipeline(
        open_detector(room / "d.onnx", threads=1), open_embedder(room / "m.onnx", threads=1)
    )
    files = sorted((room / "photos").rglob("*.png"))
    pictures = [(file.name, file.read_bytes()) for file in files] + [("bad", b"no picture")]
    taken = run_passes(pipeline, pictures, passes=2, progress=False)
    analysis = FaceAnalysis(room / "m.onnx", room / "d.onnx", quality=False, threads=1)
    for row, file in enumerate(files):
        (face,) = analysis.get(file)
        np.testing.assert_allclose(taken.embeddings[row], face.embedding, atol=1e-6)
    assert taken.reasons[:-1] == (None,) * 6
    assert "bad" in taken.reasons[-1]
    assert (taken.seconds[:, :-1] > 0).all()
    assert (taken.seconds[:, -1, 1:] == 0).all()  # it got no further than decoding
    assert not taken.embeddings[-1].any()


def faces_of(vectors):
    contract = EmbeddingContract(
        model_id="m", digest="0" * 16, dim=2, space_id="s", input_digest="0" * 16
    )
    return EmbeddedFaces(
        embeddings=np.array(vectors, dtype=np.float32),
        keys=tuple(f"k{n}" for n in range(len(vectors))),
        identities=(None,) * len(vectors),
        failures=(),
        contract=contract,
        input_spec_source=None,
        source_name="s",
        source_digest="d",
        flip=False,
        seconds=0.0,
    )


def test_late_pictures_and_pictures_without_a_face_are_errors_of_genuine_pairs_only():
    """Twelve pictures, six pairs by hand: every similarity is right, only time is lacking."""
    one, two = (1.0, 0.0), (-0.6, 0.8)
    faces = faces_of([one, one, one, two, two, two, two, one, one, one, one, two])
    pairs = PairList(
        "l",
        (
            Pair(0, "k0", "k1", True),
            Pair(0, "k2", "k3", False),
            Pair(1, "k4", "k5", True),
            Pair(1, "k6", "k7", False),
            Pair(2, "k8", "k9", True),
            Pair(2, "k10", "k11", False),
        ),
    )
    seconds = np.full((3, 12, 4), 0.010)  # 30 ms without decoding, 40 ms with
    seconds[:, 0] = 0.030  # picture 0: 90 and 120 ms
    seconds[1, 4] = 1.0  # one slow pass of three is no late picture
    no_face = [None] * 12
    no_face[2] = "no face"
    taken = Passes(seconds, faces.embeddings, tuple(no_face))
    rows = budget_figures(faces, pairs, taken, budgets_ms=[35, 100, 1000])
    assert list(rows)[:2] == ["35 ms, decode excluded", "35 ms, decode included"]
    in_time = {name: row["in_time"]["value"] for name, row in rows.items()}
    assert in_time == {
        "35 ms, decode excluded": 11 / 12,
        "35 ms, decode included": 0.0,
        "100 ms, decode excluded": 1.0,
        "100 ms, decode included": 11 / 12,
        "1000 ms, decode excluded": 1.0,
        "1000 ms, decode included": 1.0,
    }
    # pair 0 needs picture 0; pair 1 lost its face at any time and is rightly different
    lost = {name: row["n_pairs_lost"] for name, row in rows.items()}
    assert list(lost.values()) == [2, 6, 1, 2, 1, 1]
    accuracy = {name: row["accuracy"]["value"] for name, row in rows.items()}
    assert accuracy["1000 ms, decode included"] == 1.0
    # fold 0: pair 0 is lost and wrong, pair 1 right; the other folds are all right
    assert accuracy["35 ms, decode excluded"] == pytest.approx(5 / 6)
    assert rows["35 ms, decode included"]["accuracy"]["value"] == 0.5  # nothing is ever accepted


def test_an_embedder_gets_a_row_for_every_number_of_threads_and_batch(room):
    report = bench_embedder(
        room / "m.onnx", threads=[1, 64], batches=[4, 1], seconds=0.01, progress=False
    )
    names = [(row["threads"], row["batch"]) for row in report["cells"]]
    assert names == [(1, 1), (1, 4), (64, 1), (64, 4)]
    for row in report["cells"]:
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["crops_per_s"] == pytest.approx(1000 * row["batch"] / row["median_ms"], rel=1e-2)
        assert row["runs"] >= 10
    assert "64 threads were asked for" in report["warnings"][0]
    memory = [row["peak_memory_mib"] for row in report["cells"][:2]]
    assert memory[0] is None or memory[1] >= memory[0] > report["opening"][0]["memory_before_mib"]


def call(capsys, *arguments):
    try:
        main(["--quiet", *map(str, arguments)])
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capsys.readouterr()
    return code, out, err


def test_bench_prints_the_machine_and_writes_json_and_a_page(room, tmp_path, capsys):
    files = ["--json", tmp_path / "b.json", "--html", tmp_path / "b.html"]
    code, out, err = call(capsys, "bench", room / "m.onnx", "--seconds", 0.01, *files)
    assert (code, err) == (0, "")
    report = json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))
    assert report["machine"]["cpu"] in out
    assert "1 thread, batch 8" in out
    page = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "Latency" in page
    assert report["machine"]["cpu"] in page


def test_fruits_times_the_whole_pipeline_on_one_core(room, tmp_path, capsys):
    page = tmp_path / "f.html"
    arguments = ["--detector", room / "d.onnx", "--pictures", room / "photos", "--pairs"]
    arguments += [room / "pairs.csv", "--passes", 2, "--budgets", "0.0001,1000", "--html", page]
    code, out, err = call(capsys, "bench", room / "m.onnx", "--fruits", *arguments, "--json", "-")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["n_images"], report["threads"], report["passes"]) == (5, 1, 2)
    assert sorted(report["stages"]) == ["align", "decode", "detect", "embed"]
    whole = report["whole"]
    assert whole["decode excluded"]["median_ms"] < whole["decode included"]["median_ms"]
    assert whole["decode included"]["runs"] == 10
    rows = report["budgets"]
    assert rows["0.0001 ms, decode included"]["in_time"]["value"] == 0
    assert rows["1000 ms, decode included"]["in_time"]["value"] == 1
    assert rows["1000 ms, decode included"]["n_pairs"] == 4
    assert report["warnings"] == ["1 of 5 pairs are left out: a picture of theirs is not in photos"]
    text = bench_text(report)
    assert report["machine"]["cpu"] in text
    assert "1000 ms, decode included" in text
    assert "decode excluded" in page.read_text(encoding="utf-8")


def test_without_pairs_fruits_says_that_there_is_no_accuracy(room):
    job = FruitsJob(str(room / "m.onnx"), str(room / "d.onnx"), str(room / "photos"), passes=1)
    report = answer({"kind": "fruits", **{k: getattr(job, k) for k in job.__slots__}})
    assert report["warnings"] == ["no pair list was given, so no accuracy was measured"]
    assert "accuracy" not in report["budgets"]["100 ms, decode included"]


def test_what_goes_wrong_in_the_measuring_process_is_said_here(room, tmp_path):
    (tmp_path / "pairs.csv").write_text("fold,a,b,same\n0,x,y,1\n0,x,z,0", encoding="utf-8")
    job = {"kind": "fruits", "model": str(room / "m.onnx"), "detector": str(room / "d.onnx")}
    job |= {"pictures": str(room / "photos"), "pairs": str(tmp_path / "pairs.csv")}
    with pytest.raises(DataError, match="none of its pairs has both pictures in photos"):
        run_apart(job, threads=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fruits"], "--pictures is missing"),
        (["--pairs", "p.csv"], "belongs to --fruits"),
        (["--threads", "two"], "expected numbers with commas between them, got 'two'"),
        (["--threads", "0"], "--threads: expected numbers from 1 to 1024, got [0]"),
        (["--batch", ""], "--batch: expected numbers"),
        (["--fruits", "--detector", "d", "--pictures", "p", "--budgets", "-1"], "above 0"),
        (["--fruits", "--detector", "d", "--pictures", "p", "--passes", "0"], "1 to 1000"),
    ],
)
def test_wrong_calls_are_one_sentence(room, capsys, arguments, said):
    code, out, err = call(capsys, "bench", room / "m.onnx", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_a_job_checks_its_numbers():
    with pytest.raises(UsageError, match="above 0"):
        FruitsJob("m", "d", "p", budgets_ms=[math.inf])
