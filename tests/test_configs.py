"""Every file in configs/ loads, and runs two steps on small drawn data with a tiny teacher.

A ladder's file is many runs: those of its first seed.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from crossface.app.ladder.plan import load_ladder
from crossface.data.drawn import DrawnFaces
from crossface.training.config import assign, config_json, load_config, parse_config
from crossface.training.distillers import DISTILLERS
from crossface.training.launch import launch
from face_files import insightface_records, write_records
from training.fakes import DIM, contract_of, people_folder, teacher_file, tensors_of

ROOT = Path(__file__).parent.parent
LADDER_FILES = [ROOT / "configs" / "ladder.toml", *(ROOT / "benchmarks/configs").glob("ladder_*")]
LADDERS = [load_ladder(path) for path in sorted(LADDER_FILES)]


def ladder_runs():
    """Every run that a ladder describes, once: teachers and budgets are replaced by small ones."""
    seen = set()
    for ladder in LADDERS:
        for which in ladder.tables.teachers:
            for method in ladder.tables.methods:
                document = config_json(ladder.config(which, method, ladder.tables.seeds[0]))
                teacher = document["teacher"]
                own_features = teacher["features"] is not None
                document |= {"teacher": teacher | {"path": "", "features": own_features}}
                for replaced in ("budget", "batch_size", "precision", "compile"):
                    del document[replaced]
                run = json.dumps(document, sort_keys=True)
                if run not in seen:
                    seen.add(run)
                    name = f"{ladder.name}-{which}-{method}"
                    yield pytest.param(ladder, which, method, id=name)


LADDER_RUNS = list(ladder_runs())
OTHERS = [*LADDER_FILES, ROOT / "configs" / "detector.toml"]  # the detector has tests of its own
CONFIGS = [path for path in sorted((ROOT / "configs").glob("*.toml")) if path not in OTHERS]
SMALL = ["budget.steps=2", "batch_size=4", "device=cpu", "precision=fp32", "threads=1",
         "compile=false", "log_every_steps=1"]  # fmt: skip


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSFACE_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A RecordIO set of drawn faces: six people, two JPEGs of each."""
    faces = DrawnFaces(identities=6, per_identity=2, seed=0)
    pictures = []
    for n in range(len(faces)):
        stream = io.BytesIO()
        Image.fromarray(faces.read(n)).save(stream, "JPEG", quality=90)
        pictures.append((n // 2, stream.getvalue()))
    path = tmp_path_factory.mktemp("ms1mv2") / "train.rec"
    return write_records(path, insightface_records(pictures))


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return people_folder(tmp_path_factory.mktemp("faces") / "people", people=6, each=2)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return teacher_file(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")


def test_there_are_files_to_test():
    assert {"tiny", "distill", "cadfr", "cadfr_paper"} <= {path.stem for path in CONFIGS}


def test_the_ladder_has_every_distiller():
    ladder = next(ladder for ladder in LADDERS if ladder.name == "screening")
    used = {method.get("distiller", {}).get("name") for method in ladder.tables.methods.values()}
    assert used >= set(DISTILLERS.names())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_loads_as_it_is(path):
    config = load_config(path, [], {})
    assert (config.teacher is None) == (config.distiller is None)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_runs_two_steps(path, records, teacher, tmp_path):
    config = load_config(path, [], {})
    changes = [*SMALL, f"data.path={records}", "data.holdout=2"]
    if config.teacher is not None:
        changes += [f"teacher.path={teacher}", "teacher.runtime=onnxruntime"]
        if config.teacher.features is not None:
            changes += [f"teacher.features={teacher}"]
    changes += [f"data.holdout={2 if config.data.holdout else 0}"]
    if config.data.exclude is not None:
        (tmp_path / "nobody.txt").touch()
        changes += [f"data.exclude={tmp_path / 'nobody.txt'}"]
    if config.student.weights is not None:
        narrow = teacher_file(tmp_path / "start.safetensors", config.student.name, width=1.0)
        changes += [f"student.weights={narrow}"]
    if path.stem == "cadfr_paper":
        # The paper's widths and students are the slow test's; the options are its own.
        changes += ["student.name=mobilefacenet", "student.options.width=0.25",
                    "distiller.options.dim=64"]  # fmt: skip
    done = launch(load_config(path, changes, {}), tmp_path / "run", show_progress=False)
    assert done.summary["steps"] == 2
    assert all(tensor.isfinite().all() for tensor in tensors_of(done.best).values())
    if config.teacher is not None:
        assert contract_of(done.best)["dim"] == DIM


@pytest.mark.parametrize(("ladder", "which", "method"), LADDER_RUNS)
def test_every_method_of_a_ladder_runs_two_steps(ladder, which, method, people, teacher, tmp_path):
    config = ladder.config(which, method, ladder.tables.seeds[0])
    assert (config.seed, config.data.memory) == (ladder.tables.seeds[0], "shared")
    document = config_json(config)
    changes = [*SMALL, f"data.path={people}", "data.holdout=3", f"teacher.path={teacher}"]
    changes += ["teacher.runtime=onnxruntime"]
    if config.teacher.features is not None:
        changes += [f"teacher.features={teacher}"]
    if config.data.pseudo_identities is not None:
        changes += ["data.pseudo_identities=4"]
    if config.data.exclude is not None:
        (tmp_path / "nobody.txt").touch()
        changes += [f"data.exclude={tmp_path / 'nobody.txt'}"]
    if config.teacher.others:
        document["teacher"]["others"] = [str(teacher)] * len(config.teacher.others)
    for change in changes:
        assign(document, change)
    done = launch(parse_config(document, source="test"), tmp_path / "run", show_progress=False)
    assert done.summary["steps"] == 2
    assert {"val_cosine", "val_rank_correlation"} <= done.summary.keys()


@pytest.mark.slow
@pytest.mark.parametrize("student", ["iresnet18", "mobilefacenet"])
def test_the_published_setting_runs_two_steps_with_its_own_networks(student, records, tmp_path):
    swin = teacher_file(tmp_path / "swin_s.safetensors", "swin_s")
    path = next(path for path in CONFIGS if path.stem == "cadfr_paper")
    changes = [*SMALL, f"data.path={records}", f"teacher.path={swin}"]
    config = load_config(path, changes, {"student": {"name": student}})
    assert config.student.name == student
    done = launch(config, tmp_path / "run", show_progress=False)
    assert done.summary["steps"] == 2
    # With labels the student's own head decides its space.
    assert contract_of(done.best)["space_id"] != contract_of(swin)["space_id"]
