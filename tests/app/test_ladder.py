"""The ladder end to end on drawn faces: its table, going on, failing cells, the page."""

from __future__ import annotations

import ast
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.test_cli import call, config_file, refused
from crossface.app.ladder import cell, processes, run_ladder
from crossface.app.ladder import table as ladder_rows
from crossface.app.ladder.code_lines import code_lines, method_code
from crossface.app.ladder.page import render_page
from crossface.app.ladder.plan import Cell, load_ladder
from crossface.app.ladder.processes import in_this_process
from crossface.app.ladder.records import Records
from crossface.app.ladder.run import Chosen
from crossface.app.ladder.words import choice_of, ladder_text
from crossface.core.errors import ConfigError, Interrupted, UsageError
from crossface.core.files import write_json
from crossface.data import open_faces
from crossface.evaluation.compare import compare_all_pairs
from crossface.evaluation.embed import embed_faces
from crossface.pipeline.runtimes.opening import open_embedder
from crossface.training import loop
from crossface.training.distillers import DISTILLERS
from crossface.training.run import RunFolder
from crossface.training.signals import StopRequest
from crossface.training.timing import StepTime
from training.fakes import BATCH, people_folder, run_tables, teacher_file

EVALUATED = "drawn:ids=30,per_id=3,seed=1,first=500,nuisance=0.3"  # 3,915 impostor comparisons
TARGETS = (1e-2, 1e-3)  # the second expects too few false matches among them
GKD = {"scale": 16.0, "group": 3, "centres": "teacher"}
BROKEN = "needs identities"


def tables(room, **changes):
    """A ladder's tables in TOML's order: plain values, then tables."""
    base = run_tables(room / "people", budget={"steps": 4})
    base["data"] |= {"labels": "none", "holdout": 6}
    base |= {
        "seeds": [0, 1],
        "teachers": {"tiny": {"path": str(room / "teacher.safetensors")}},
        "methods": {
            "plain": {"optim": {"lr": 1e-3}},
            "gkd": {"distiller": {"name": "gkd", "options": GKD},
                    "data": {"pseudo_identities": 6}},
            "broken": {"distiller": {"name": "gkd"}},
        },
        "evaluate": {"data": EVALUATED},
    }  # fmt: skip
    del base["seed"]
    base |= changes
    base = {key: value for key, value in base.items() if value is not None}
    return dict(sorted(base.items(), key=lambda entry: isinstance(entry[1], dict)))


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    people_folder(folder / "people")
    teacher_file(folder / "teacher.safetensors")
    return folder


def write_ladder(room, path, **changes):
    return config_file(path, tables(room, **changes))


def climb(config, out, **more):
    return run_ladder(config, out=out, run_task=in_this_process, show_progress=False, **more)


@pytest.fixture(scope="module")
def whole(room, tmp_path_factory):
    """A finished ladder: three methods, two seeds; one of the methods cannot run."""
    folder = tmp_path_factory.mktemp("whole")
    config = write_ladder(room, folder / "small.toml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CROSSFACE_CACHE", str(folder / "cache"))
        patch.setattr(cell, "KEPT_TARGETS", TARGETS)
        return config, folder / "out", climb(config, folder / "out")


def row_of(table, method, block=0):
    return next(row for row in table["tables"][block]["rows"] if row["method"] == method)


def test_a_ladder_keeps_its_cells_and_writes_its_table(whole, room):
    _, out, table = whole
    assert json.loads((out / "ladder-small.json").read_text()) == table
    plain, gkd = row_of(table, "plain"), row_of(table, "gkd")
    assert plain["seeds"] == gkd["seeds"] == [0, 1]
    for row in (plain, gkd):
        figure = row["val_rank_correlation"]
        runs = [
            json.loads((out / f"ladder-small-runs/tiny/{row['method']}-{seed}-images/summary.json")
                       .read_text())
            for seed in (0, 1)
        ]  # fmt: skip
        by_hand = [run["val_rank_correlation"] for run in runs]
        assert figure["by_seed"] == by_hand
        assert figure["mean"] == pytest.approx(sum(by_hand) / 2)
        assert row["images"] == 4 * BATCH
        assert row["images_per_s"] > 0
        paces = [run["images"] / (60 * run["core_minutes"]) for run in runs]
        assert row["images_per_core_s"] == pytest.approx(sum(paces) / 2)
        assert set(row["rates"]) >= {"FNMR at FMR 1e-3", "FNMR at FMR 1e-3 by identity"}
    assert gkd["lines_of_code"] > plain["lines_of_code"] > 5
    best = max((plain, gkd), key=lambda row: row["val_rank_correlation"]["mean"])
    assert table["tables"][0]["chosen"]["method"] == best["method"]
    kept = [path for path in out.rglob("*") if path.suffix in {".json", ".npz", ".html"}]
    assert not [path for path in kept if str(room).encode() in path.read_bytes()
                and "runs" not in str(path.relative_to(out))]  # fmt: skip
    assert all(path.stat().st_size < 200_000 for path in out.glob("ladder-small/**/*.npz"))


def test_a_cell_that_cannot_run_is_a_row_with_its_reason(whole):
    _, out, table = whole
    broken = row_of(table, "broken")
    assert broken["seeds"] == []
    assert [entry["seed"] for entry in broken["failed"]] == [0, 1]
    assert BROKEN in broken["failed"][0]["reason"]
    assert (
        BROKEN in json.loads((out / "ladder-small/tiny/broken-1-images.json").read_text())["failed"]
    )
    assert BROKEN in (out / "ladder-small.html").read_text()
    assert "failed" in ladder_text(table)


def test_the_paired_difference_is_that_of_the_students_themselves(whole):
    _, out, table = whole
    students = {
        method: [
            embed_faces(
                open_embedder(str(out / f"ladder-small-runs/tiny/{method}-{seed}-images"),
                             input_spec=None, threads=1),
                open_faces(EVALUATED),
                progress=False,
            )
            for seed in (0, 1)
        ]
        for method in ("plain", "gkd")
    }  # fmt: skip
    expected = compare_all_pairs(students["gkd"], students["plain"], fmr_targets=TARGETS)
    found = row_of(table, "gkd")["minus_baseline"]["rates"]
    assert len(found) == 2 * len(TARGETS)
    # A swap turns the signs and the ends of the intervals; were these the same, it would go unseen.
    swapped = compare_all_pairs(students["plain"], students["gkd"], fmr_targets=TARGETS)
    assert swapped["differences"] != expected["differences"]
    assert "at least 30 are needed" in found["FNMR at FMR 1e-3"]["reason"]
    for name, entry in found.items():
        for key, value in expected["differences"][name].items():
            same = value if not isinstance(value, float) else pytest.approx(value, abs=1e-6)
            assert entry[key] == same, (name, key)


def test_finished_cells_are_read_and_not_run_again(whole, tmp_path, monkeypatch):
    config, out, table = whole
    copied = tmp_path / "results"
    copied.mkdir()
    shutil.copytree(out / "ladder-small", copied / "ladder-small")
    asked = []

    def refuse(task, stop):
        asked.append(task)
        raise ConfigError("nothing may run")

    found = run_ladder(config, out=tmp_path / "empty", results=copied, run_task=refuse,
                       chosen=Chosen(methods=["plain", "gkd"]), show_progress=False)  # fmt: skip
    assert not asked
    assert found["tables"] == table["tables"]
    # One cell's files gone: that one alone is run again.
    (copied / "ladder-small/tiny/gkd-1-images.npz").unlink()
    run_ladder(config, out=tmp_path / "empty", results=copied, run_task=refuse,
               chosen=Chosen(methods=["plain", "gkd"]), show_progress=False)  # fmt: skip
    assert [task["cell"] for task in asked] == [
        {"teacher": "tiny", "method": "gkd", "seed": 1, "equal": "images"}
    ]


def test_a_cell_of_another_configuration_is_refused(whole):
    config, out, _ = whole
    with pytest.raises(ConfigError, match=r"plain-0-images\.json.*see optim\.ema_decay"):
        climb(config, out, assignments=["optim.ema_decay=0.5"])


def test_the_page_asks_for_nothing_outside(whole):
    text = (whole[1] / "ladder-small.html").read_text()
    assert not re.findall(r"(?:src|href|url|@import|https?:|//)[\s=(:\"']*https?:", text)
    assert not re.search(r"<(script|link|iframe|img|object)\b", text)
    assert "http" not in text
    assert "<td>gkd</td>" in text


def test_the_markdown_says_what_the_table_says(whole):
    _, out, table = whole
    text = (out / "ladder-small.md").read_text()
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert lines.keys() >= {"method", "`plain`", "`gkd`"}
    assert "`broken`" not in lines  # what has not run is not there
    assert len({line.count("|") for line in lines.values()}) == 1
    cells = [cell.strip() for cell in lines["`gkd`"].split("|")[1:-1]]
    row = row_of(table, "gkd")
    assert [float(value) for value in cells[2].split()] == [
        pytest.approx(value, abs=5e-4) for value in row["val_rank_correlation"]["by_seed"]
    ]
    gain = row["minus_baseline"]["val_rank_correlation"]
    numbers = [float(value) for value in re.findall(r"[-+]\d+\.\d+", cells[3])]
    expected = [gain["mean"], gain["low"], gain["high"]]
    assert numbers == [pytest.approx(value, abs=5e-4) for value in expected]
    assert cells[3].startswith("**") == (gain["low"] > 0)


def test_names_are_escaped_in_the_page(whole):
    table = json.loads(json.dumps(whole[2]))
    table["tables"][0]["rows"][2]["failed"][0]["reason"] = "<b>bad</b> & worse"
    assert "&lt;b&gt;bad&lt;/b&gt; &amp; worse" in render_page(table)


def test_a_killed_cell_goes_on_and_ends_as_one_that_was_not(room, tmp_path, monkeypatch):
    class Killed(BaseException):
        """As abrupt as a kill."""

    one = {"seeds": [0], "methods": {"plain": {}}, "evaluate": None}
    config = write_ladder(room, tmp_path / "one.toml", **one)
    original = loop.step_once
    with monkeypatch.context() as patch:

        def dying(session, *rest):
            if session.progressed.step == 3:
                raise Killed
            return original(session, *rest)

        patch.setattr(loop, "step_once", dying)
        with pytest.raises(Killed):
            climb(config, tmp_path / "killed")
    run = RunFolder(tmp_path / "killed/ladder-one-runs/tiny/plain-0-images")
    assert [line["step"] for line in run.metrics()] == [2]
    table = climb(config, tmp_path / "killed")
    assert [line["step"] for line in run.metrics() if "loss" in line] == [2, 4]
    smooth = climb(config, tmp_path / "smooth")
    for name in ("val_cosine", "val_rank_correlation"):
        assert row_of(table, "plain")[name] == row_of(smooth, "plain")[name]


def test_a_run_folder_of_another_configuration_fails_the_cell(room, tmp_path):
    one = {"seeds": [0], "methods": {"plain": {}}, "evaluate": None}
    config = write_ladder(room, tmp_path / "one.toml", **one)
    climb(config, tmp_path)
    shutil.rmtree(tmp_path / "ladder-one")
    (tmp_path / "ladder-one-runs/tiny/plain-0-images/summary.json").unlink()
    table = climb(config, tmp_path, assignments=["optim.lr=0.01"])
    reason = row_of(table, "plain")["failed"][0]["reason"]
    assert "was started with another configuration" in reason


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_a_signal_to_the_ladder_saves_the_cell_in_its_process(number, room, tmp_path):
    """SIGINT is passed on; SIGKILL cannot be, but the cell sees that the ladder is gone."""
    config = write_ladder(room, tmp_path / "long.toml", seeds=[0], methods={"plain": {}},
                          evaluate=None, budget={"steps": 100_000})  # fmt: skip
    arguments = ["ladder", str(config), "--out", str(tmp_path)]
    code = f"from crossface.app.cli import main; main({arguments!r})"
    ladder = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    run = RunFolder(tmp_path / "ladder-long-runs/tiny/plain-0-images")
    waiting = time.monotonic() + 200
    while len(run.metrics()) < 2 and ladder.poll() is None and time.monotonic() < waiting:
        time.sleep(0.2)
    ladder.send_signal(number)
    try:
        _, said = ladder.communicate(timeout=60)
    finally:
        ladder.kill()
    assert run.metrics(), said
    if number == signal.SIGINT:
        assert ladder.returncode == 130
        assert "SIGINT: the running cell is saved; the same command goes on from there" in said
    before, still = -1, len(run.metrics())
    while before != still:  # an orphan would go on for ever
        time.sleep(1.5)
        before, still = still, len(run.metrics())
    assert run.checkpoint.exists()


def test_a_process_that_is_killed_or_fails_is_a_reason(monkeypatch):
    real = processes.subprocess.Popen
    for code, reason in (
        ("import os; os.kill(os.getpid(), 9)", r"ended by SIGKILL \(out of memory\?\)"),
        ("import sys; print('\"no such teacher\"'); sys.exit(4)", "no such teacher"),
        ("import sys; sys.exit(1)", "exit code 1"),
    ):

        def start(command, code=code, **options):
            return real([sys.executable, "-c", code], **options)

        monkeypatch.setattr(processes.subprocess, "Popen", start)
        with pytest.raises(processes.TrainingStopped, match=reason):
            processes.in_a_process({}, StopRequest())


def test_a_stop_between_cells_runs_nothing(room, tmp_path):
    config = write_ladder(room, tmp_path / "one.toml", methods={"plain": {}}, evaluate=None)

    def interrupt(task, stop):
        stop.signal_name = "SIGTERM"

    with pytest.raises(Interrupted, match="SIGTERM"):
        run_ladder(config, out=tmp_path, run_task=interrupt, show_progress=False)


def test_equal_minutes_are_steps_from_the_timing(room, tmp_path):
    config = write_ladder(room, tmp_path / "t.toml", equal=["images", "minutes"], seeds=[0],
                          budget={"steps": 100}, evaluate=None)  # fmt: skip
    ladder = load_ladder(config)
    cells = {cell.path for cell in ladder.cells()}
    # The baseline's minutes are its own: one run.
    assert cells == {f"tiny/{name}" for name in ("plain-0-images", "gkd-0-images",
                     "broken-0-images", "gkd-0-minutes", "broken-0-minutes")}  # fmt: skip
    records = Records(ladder, tmp_path)
    slow = Cell("tiny", "gkd", 0, "minutes")
    with pytest.raises(ConfigError, match="need a timing"):
        records.steps(slow)
    times = {"baseline": {"again_s": 0.1, "fresh_s": 0.1, "fresh_steps": 0},
             "method": {"again_s": 0.4, "fresh_s": 0.4, "fresh_steps": 0}}  # fmt: skip
    write_json(records.timing_place("tiny", "gkd"), {"step_times": times})
    assert records.steps(slow) == 25
    assert records.steps(replace(slow, equal="images")) is None
    assert records.seconds(slow) == pytest.approx(10)
    assert records.seconds(replace(slow, equal="images")) == pytest.approx(40)
    assert records.step_times("tiny", "gkd")["method"] == StepTime(0.4, 0.4)
    shutil.move(records.timing_place("tiny", "gkd"), records.timing_place("tiny", "plain"))
    plain = records.seconds(replace(slow, equal="images"))
    assert plain == pytest.approx(40)  # the baseline's, where there is no other


@pytest.mark.parametrize(
    ("equal", "dry_run", "timed"),
    [
        (["images"], False, {"plain"}),
        (["images"], True, {"plain", "gkd"}),
        (["minutes"], False, {"plain", "gkd"}),
    ],
)
def test_what_is_timed_is_what_needs_it(equal, dry_run, timed, room, tmp_path):
    methods = {"plain": {}, "gkd": {"distiller": {"name": "gkd"}}}
    config = write_ladder(room, tmp_path / "t.toml", equal=equal, seeds=[0], methods=methods)
    seen, step = set(), {"again_s": 0.1, "fresh_s": 0.1, "fresh_steps": 0}

    def fake(task, stop):
        if task["kind"] == "timing":
            place = Path(task["record"])
            seen.add(place.name.removesuffix(".timing.json"))
            write_json(place, {"step_times": {"method": step, "baseline": step}})
            return
        raise UsageError("no cell is run here")

    found = run_ladder(config, out=tmp_path, run_task=fake, dry_run=dry_run, show_progress=False)
    assert seen == timed
    if dry_run:
        assert found["seconds"] == pytest.approx(0.1 * 4 * 2)


def test_another_batch_size_keeps_the_number_of_pictures(room, tmp_path):
    methods = {"plain": {}, "large": {"batch_size": 2 * BATCH}}
    ladder = load_ladder(write_ladder(room, tmp_path / "b.toml", methods=methods))
    steps = [ladder.config("tiny", name, 0).budget.steps for name in methods]
    assert steps == [4, 2]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"methods": {"a": {"seed": 3}}}, r"\[methods\.a\]: seed is the same for all methods"),
        ({"methods": {"a": {"budget": {"steps": 3}}}}, "budget is the same for all methods"),
        ({"methods": {"a": {"optim": {"rate": 3}}}}, r"\[methods\.a\]: unknown key 'optim\.rate'"),
        ({"methods": {"a-b": {}}}, "names are letters, digits and _"),
        ({"budget": {"minutes": 3}}, r"needs \[budget\] steps"),
        ({"baseline": "other"}, "baseline 'other' is none of the methods: plain, gkd, broken"),
        ({"equal": ["time"]}, "t.toml: equal.0: expected 'images' or 'minutes', got 'time'"),
        ({"seeds": [1, 1]}, "seeds names one twice"),
        ({"seed": 1}, "a ladder has seeds"),
        (
            {"evaluate": {"data": "x", "flop": 1}},
            r"unknown key 'evaluate\.flop'; did you mean 'flip'",
        ),
        ({"method": {}}, r"unknown key 'method'"),
    ],
)
def test_a_ladder_says_what_cannot_be_meant(changes, sentence, room, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        load_ladder(write_ladder(room, tmp_path / "t.toml", **changes))


def test_a_part_is_chosen_by_names_it_has(room, tmp_path):
    ladder = load_ladder(write_ladder(room, tmp_path / "t.toml"))
    chosen = Chosen(methods=["gkd"], seeds=[1]).of(ladder)
    assert [cell.path for cell in chosen] == ["tiny/gkd-1-images"]
    of_teacher = Chosen(teachers=["tiny"], methods=["gkd"]).of(ladder)
    assert {cell.teacher for cell in of_teacher} == {"tiny"}
    with pytest.raises(UsageError, match=r"no teacher 'swim'; it has \['tiny'"):
        Chosen(teachers=["swim"]).of(ladder)
    with pytest.raises(UsageError, match="no method 'dkg'"):
        Chosen(methods=["dkg"]).of(ladder)
    with pytest.raises(UsageError, match="no seed 7"):
        Chosen(seeds=[7]).of(ladder)


def test_the_verb_lists_cells_with_their_time_and_prints_the_table(whole, capsys, monkeypatch):
    config, out, _ = whole
    code, text, _ = call(capsys, "--quiet", "ladder", config, "--out", out, "--only", "gkd",
                         "--dry-run", "--json", "-")  # fmt: skip
    assert code == 0
    assert [row["state"] for row in json.loads(text)["cells"]] == ["finished", "finished"]
    code, text, _ = call(capsys, "--quiet", "ladder", config, "--out", out, "--only", "plain")
    assert code == 0
    assert "chosen on validation, never on drawn:" in text
    assert "gkd" in text
    said = refused(capsys, "ladder", config, "--out", out, "--seeds", "one", code=2)
    assert "--seeds wants numbers with commas" in said


def test_validation_alone_chooses_and_says_how_sure_it_is(whole):
    """The interval over seeds against a closed form: Student's with one degree of freedom."""
    found = ladder_rows.paired_over_seeds([0.30, 0.34], [0.20, 0.22])
    assert found["mean"] == pytest.approx(0.11)
    half = 12.7062 * 0.014142 / 2**0.5
    assert found["high"] - found["mean"] == pytest.approx(half, rel=1e-3)
    table = whole[2]
    block = json.loads(json.dumps(table["tables"][0]))
    block["chosen"] = {"method": "gkd", "minus_baseline": found, "sure": found["low"] > 0}
    assert "not sure, the interval holds 0" in choice_of(block, table)
    block["chosen"]["method"] = table["baseline"]
    assert "no method has a higher" in choice_of(block, table)


def test_another_teacher_or_other_pictures_do_not_compete(room, tmp_path):
    """The ladder of the four arms: a student validated against another teacher is not chosen."""
    methods = {"plain": {}, "other": {"data": {"holdout": 4}}}
    config = write_ladder(room, tmp_path / "o.toml", seeds=[0], methods=methods, evaluate=None)
    table = climb(config, tmp_path)
    assert not row_of(table, "other")["comparable"]
    assert "val_cosine" not in row_of(table, "other")["minus_baseline"]
    assert table["tables"][0]["chosen"]["method"] == "plain"
    assert "does not compare" in (tmp_path / "ladder-o.html").read_text()
    assert row_of(table, "plain")["rates"] == {}


def test_lines_of_code_are_those_without_comments():
    counted = ["import os  # yes", "def f(", "    a,", "):", "    return 1, '''x", "y'''"]
    others = ['"""Doc', 'string."""', "", "# no", '    """No."""']
    lines = others[:3] + counted[:1] + others[2:4] + counted[1:4] + others[4:] + counted[4:]
    source = "\n".join(lines)
    assert code_lines(source) == 6
    found = method_code(DISTILLERS, "gkd")
    losses, distillers = "crossface.losses", "crossface.training.distillers"
    assert found["files"] == [
        f"{losses}.embedding",
        f"{losses}.gkd",
        f"{losses}.margin",
        f"{losses}.relations",
        f"{distillers}.gkd",
        f"{distillers}.grounded",
        f"{distillers}.logits",
    ]
    by_tree = sum(len(_statement_lines(name)) for name in found["files"])
    assert found["lines"] >= by_tree


def _statement_lines(module):
    """Lines on which a statement starts, docstrings apart: no method has fewer lines."""
    path = Path(__file__).parents[2] / "src" / Path(*module.split(".")).with_suffix(".py")
    tree = ast.parse(path.read_text())
    return {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    }
