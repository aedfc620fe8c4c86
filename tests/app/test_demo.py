import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from crossface.app.demo import run, run_demo, steps, words
from crossface.app.demo.packaged import use_packaged
from crossface.app.demo.plan import DemoPlan
from crossface.core.errors import ImageError, TrainingStopped, UsageError
from crossface.evaluation.charts import Axis, even_ticks

TINY = DemoPlan(
    teacher_identities=18,
    student_identities=16,
    test_identities=24,
    holdout_identities=4,
    per_identity=4,
    teacher_steps=4,
    student_steps=3,
    batch_size=8,
    width=0.125,
    embedding_dim=16,
    threads=1,
    validations=2,
    must_win=False,
)
MODELS = ("teacher", "student_alone", "student_embedding", "student_cadfr")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("build") / "demo"
    run_demo(out, seed=3, plan=TINY)
    return out


def read(out):
    return json.loads((out / "report.json").read_text())


def figures(report):
    kept = ("auc", "eer", "fnmr_at_fmr", "n_pairs", "n_identities")
    return {name: {key: report[name][key] for key in kept} for name in MODELS}


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], {}, []

    def handle_starttag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1
        self.links += [value for key, value in attrs if key in {"src", "href"}]
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_demo_reports_the_four_models_the_export_and_the_seconds(demo):
    report = read(demo)
    for name in MODELS:
        assert report[name]["protocol"] == "all-pairs"
        assert report[name]["n_identities"] == 24
        assert report[name]["n_pairs"] == 96 * 95 // 2
    assert report["export"]["parity"]["max_abs_difference_unit"] <= 1e-4
    assert set(report["comparisons"]) == {
        "teacher_vs_alone",
        "embedding_vs_alone",
        "cadfr_vs_alone",
        "cadfr_vs_embedding",
    }
    steps = {k: v for k, v in report["seconds"].items() if k not in {"total", "core_seconds"}}
    assert report["seconds"]["total"] == pytest.approx(sum(steps.values()), abs=0.06)


def test_paired_difference_is_that_of_the_two_reports(demo):
    report = read(demo)
    found = report["comparisons"]["embedding_vs_alone"]["differences"]["AUC"]["value"]
    auc = [report[name]["auc"]["value"] for name in ("student_embedding", "student_alone")]
    assert found == pytest.approx(auc[0] - auc[1], abs=1e-9)


def test_page_is_one_well_formed_file_without_outside_links(demo):
    text = (demo / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.seen["svg"] == 8
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert "http" not in re.sub(r"base64,[^\"]+", "", text)


def test_people_of_the_test_are_in_no_training_set():
    plan = DemoPlan()
    shown, held_out = plan.teacher_faces(0), plan.test_faces(0)
    names = {shown.identity(index) for index in range(len(shown))}
    assert not names & {held_out.identity(index) for index in range(len(held_out))}


def test_exported_student_embeds_as_the_best_model_does(demo):
    from crossface import api

    faces = demo / "faces" / "test.zip"
    best = api.embed(demo / read(demo)["best"], faces, progress=False)
    exported = api.embed(demo / "student.onnx", faces, progress=False)
    assert exported.keys == best.keys
    np.testing.assert_allclose(exported.embeddings, best.embeddings, atol=1e-4)


def test_same_seed_gives_the_same_figures_and_replaces_the_folder(demo, monkeypatch):
    before = read(demo)
    (demo / "left-over").touch()
    # Writing ONNX takes most of a run this small, and its figures are compared above.
    monkeypatch.setattr(
        steps, "_export", lambda outcome, out: outcome.export.update(before["export"])
    )
    run_demo(demo, seed=3, plan=TINY)
    assert figures(read(demo)) == figures(before)
    assert not (demo / "left-over").exists()
    assert [path.name for path in demo.parent.iterdir()] == ["demo"]


def test_teacher_that_does_not_win_stops_the_demo_and_leaves_the_old_one(tmp_path):
    out = tmp_path / "demo"
    out.mkdir()
    (out / ".crossface-demo").touch()
    (out / "report.html").write_text("old")
    hopeless = replace(TINY, teacher_steps=1, must_win=True)
    with pytest.raises(TrainingStopped, match="teacher is not better than the CNN alone"):
        run_demo(out, seed=0, plan=hopeless)
    assert (out / "report.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_folder_with_other_files_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="not a demo"):
        run_demo(tmp_path, plan=TINY)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_killed_demo_gives_way_to_the_one_before_it(tmp_path, monkeypatch):
    aside, out = tmp_path / ".demo.old", tmp_path / "demo"
    for folder, text in ((aside, "old"), (out, "half")):
        folder.mkdir()
        (folder / ".crossface-demo").touch()
        (folder / "report.html").write_text(text)

    def fail(*args, **kwargs):
        raise UsageError("stop")

    monkeypatch.setattr(run, "take_steps", fail)
    with pytest.raises(UsageError, match="stop"):
        run_demo(out, plan=TINY)
    assert (out / "report.html").read_text() == "old"
    assert not aside.exists()


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.08, 0.05, 0.11), "CADFR beats plain embedding regression here (+8.0 [+5.0, +11.0]"),
        ((-0.08, -0.11, -0.05), "CADFR is worse than plain embedding regression here"),
        ((0.01, -0.02, 0.04), "CADFR does not beat plain embedding regression here"),
    ],
)
def test_report_says_what_the_interval_says(interval, said):
    value, low, high = interval
    difference = {"value": -value, "low": -high, "high": -low}
    comparisons = {"cadfr_vs_embedding": {"differences": {steps.FNMR: difference}}}
    assert words.against_embedding(SimpleNamespace(comparisons=comparisons)).startswith(said)


def test_axis_puts_values_where_they_belong():
    axis = Axis(1e-4, 1, [], log=True)
    assert axis.share(1e-2) == pytest.approx(0.5)
    assert axis.share(1e-9) == 0
    assert [value for value, _ in even_ticks(0, 1, about=4)] == pytest.approx(
        [0, 0.25, 0.5, 0.75, 1]
    )


def test_the_packaged_models_enrol_and_identify_drawn_people(demo):
    told = read(demo)["packaged"]
    assert told["pictures"] == 12 + told["enrolled"] + 12  # 24 people, half of them strangers
    judged = told["right"] + told["unknown"] + told["wrong"] + told["strangers"]
    assert told["found"] == told["enrolled"] + judged
    assert 6 < told["enrolled"] <= 12
    assert 6 < told["strangers"] <= 12
    assert told["accepted"] <= told["strangers"]
    assert told["fpir"] == 0.01
    assert (demo / "people.db").exists()
    assert told["photos"] == []
    assert "crossface demo --photo" in (demo / "report.html").read_text()


def test_a_photo_of_the_reader_is_shown_with_what_was_found(tmp_path):
    skimage = pytest.importorskip("skimage.data")
    photo = tmp_path / "astronaut.png"
    Image.fromarray(skimage.astronaut()).save(photo)
    found = use_packaged(TINY.test_faces(3), tmp_path, [photo])
    (answer,) = found.photos
    assert answer.name == "astronaut.png"
    assert answer.faces
    assert answer.said.startswith(
        "one face, the same person as its mirrored, smaller, recompressed self"
    )


def test_a_photo_that_cannot_be_read_is_said_before_anything_is_done(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"broken\.png"):
        run_demo(tmp_path / "demo", photos=[tmp_path / "broken.png"], plan=TINY)
    assert not (tmp_path / "demo").exists()
