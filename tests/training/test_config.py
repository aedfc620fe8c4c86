"""The schema of a run: what is refused, and in which words."""

import math

import pytest

from crossface.core.errors import ConfigError
from crossface.training.config import config_json, load_config, parse_config
from crossface.training.schema import RunConfig
from crossface.training.setup import digest_of

BASE = {"data": {"path": "a"}, "head": {"name": "cosface"}}


def refused(document):
    with pytest.raises(ConfigError) as caught:
        parse_config(document, source="run.toml")
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert text.startswith("run.toml: ")
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batchsize": 4}, "unknown key 'batchsize'; did you mean 'batch_size'?"),
        ({"optim": {"learning_rate": 1}}, "unknown key 'optim.learning_rate'; known here: "),
        ({"data": {"path": "a", "hold": 3}}, "unknown key 'data.hold'; did you mean 'holdout'?"),
        ({"data": {"path": "a", "augment": {"flipp": 0.5}}},
         "unknown key 'data.augment.flipp'; did you mean 'flip_p'?"),
        ({"data": {}}, "'data.path' is missing"),
        ({"data": {"path": "a", "augment": 3}}, "data.augment: expected a valid string or a table"),
        ({"seed": "3"}, "seed: expected a valid integer, got '3'"),
        ({"seed": True}, "seed: expected a valid integer, got True"),
        ({"seed": 2**63}, "seed: expected less than"),
        ({"batch_size": 1}, "batch_size: expected greater than 1, got 1"),
        ({"optim": {"lr": "fast"}}, "optim.lr: expected a valid number, got 'fast'"),
        ({"optim": {"lr": math.inf}}, "optim.lr: expected a finite number, got inf"),
        ({"optim": {"lr": math.nan}}, "optim.lr: expected a finite number, got nan"),
        ({"precision": "fp8"}, "precision: expected 'fp32', 'bf16' or 'fp16', got 'fp8'"),
        ({"student": {"options": {"width": [1]}}}, "student.options.width: expected a valid boole"),
        ({"budget": {"steps": 1, "epochs": 1}}, "exactly one of steps, epochs, minutes"),
        ({"budget": {}}, "exactly one of steps, epochs, minutes is needed, got none"),
        ({"budget": 5}, "budget: expected a table, got 5"),
        ({"teacher": {"path": "t", "mix": 0.5}}, 'mix needs view = "same"'),
        ({"teacher": {"path": "t", "view": "same", "mix": 2.0}}, "teacher.mix: expected less than"),
        ({"teacher": {"path": "t"}}, "teacher and distiller belong together"),
        ({"distiller": {"name": "gkd"}}, "teacher and distiller belong together"),
        ({"head": None}, "a run without a teacher needs a [head]"),
        ({"head": None, "metric": None}, "a run without a teacher needs a [head]"),
        ({"teacher": {"path": "t"}, "distiller": {}, "metric": {}}, "[metric] is for a run with"),
        ({"collaborative": {}}, "[collaborative] goes without a teacher, a [head] and a [metric]"),
        ({"head": None, "collaborative": {"students": 4}}, "collaborative.students: expected less"),
        ({"optim": {"sharpness": "asam"}}, "optim.sharpness: expected 'sam' or 'sagm', got 'asam'"),
        ({"optim": {"rho": 0}}, "optim.rho: expected greater than 0, got 0"),
        ({"data": {"path": "a", "pseudo_identities": 5}}, "come from a teacher"),
    ],
)  # fmt: skip
def test_a_document_that_does_not_fit_is_refused_in_one_sentence(changes, sentence):
    assert sentence in refused(BASE | changes)


def test_a_whole_number_is_a_number_and_a_table_may_replace_a_preset():
    config = parse_config(
        {**BASE, "optim": {"lr": 1}, "data": {"path": "a", "augment": {"jpeg_quality": [20, 30]}}},
        source="x",
    )
    assert config.optim.lr == 1.0
    assert config.data.augment.jpeg_quality == (20.0, 30.0)


def test_the_resolved_copy_reads_back_as_the_same_configuration():
    tables = {
        **BASE,
        "optim": {"lr": 1},
        "head": {"options": {"scale": 32, "margin": 0.2}},
        "data": {"path": "a", "augment": {"flip_p": 0.5}},
    }
    config = parse_config(tables, source="x")
    again = parse_config(config_json(config), source="x")
    assert again == config
    assert digest_of(again) == digest_of(config)


def test_the_digest_sees_a_changed_key_and_not_a_spelt_out_default():
    plain = parse_config(BASE, source="x")
    assert digest_of(parse_config({**BASE, "seed": 0}, source="x")) == digest_of(plain)
    assert digest_of(parse_config({**BASE, "seed": 1}, source="x")) != digest_of(plain)


def load(assignments, base=None, text=None, tmp_path=None):
    path = None
    if text is not None:
        path = tmp_path / "run.toml"
        path.write_text(text, encoding="utf-8")
    return load_config(path, assignments, base or dict(BASE))


@pytest.mark.parametrize(
    ("assignment", "read"),
    [
        ("optim.lr=0.05", lambda c: c.optim.lr == 0.05),
        ("data.path=faces.zip", lambda c: c.data.path == "faces.zip"),
        ('data.path="x y"', lambda c: c.data.path == "x y"),
        ("data.limit = 7", lambda c: c.data.limit == 7),
        ("optim.clip_norm=none", lambda c: c.optim.clip_norm is None),
        ("compile=false", lambda c: c.compile is False),
        ("student.options.width=0.25", lambda c: c.student.options == {"width": 0.25}),
        ("data.augment={flip_p=1.0}", lambda c: c.data.augment.flip_p == 1.0),
        ("device=cuda:1", lambda c: c.device == "cuda:1"),
    ],
)
def test_set_is_typed_by_the_schema(assignment, read):
    assert read(load([assignment]))


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("lr", "--set wants key=value"),
        ("=3", "--set wants key=value"),
        ("optim..lr=3", "--set wants key=value"),
        ("data.path.x=3", "'path' is a value, not a table"),
        ("optim.lr=fast", "optim.lr: expected a valid number, got 'fast'"),
        ("optim.lrr=0.1", "did you mean 'lr'?"),
        ("budget=5", "budget: expected a table"),
    ],
)
def test_a_bad_set_is_refused(assignment, sentence):
    with pytest.raises(ConfigError) as caught:
        load([assignment])
    assert sentence in str(caught.value)


FILE = """
[data]
path = "a"
[student]
[student.options]
width = 0.5
[head]
[budget]
epochs = 3
"""


def test_a_new_budget_replaces_the_old_one_and_set_wins_over_the_option(tmp_path):
    config = load([], {"budget": {"steps": 5}}, FILE, tmp_path)
    assert (config.budget.steps, config.budget.epochs) == (5, None)
    config = load(["budget.minutes=2.5"], {"budget": {"steps": 5}}, FILE, tmp_path)
    assert (config.budget.steps, config.budget.minutes) == (None, 2.5)


def test_another_network_drops_the_options_of_the_old_one(tmp_path):
    same = load([], {"student": {"name": "mobilefacenet"}}, FILE, tmp_path)
    assert same.student.options == {"width": 0.5}
    other = load([], {"student": {"name": "iresnet18"}}, FILE, tmp_path)
    assert (other.student.name, other.student.options) == ("iresnet18", {})
    assert load(["student.name=iresnet18"], {}, FILE, tmp_path) == other


def test_the_tables_of_the_caller_are_not_changed():
    base = {"data": {"path": "a"}, "head": {}, "student": {"options": {"width": 1.0}}}
    load(["student.options.width=0.5"], base)
    assert base["student"] == {"options": {"width": 1.0}}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"= 3", "run.toml: not valid TOML"), (b"\xff\xfe", "run.toml: not valid TOML")],
)
def test_a_broken_file_is_named(content, sentence, tmp_path):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        load_config(path, [], {})
    with pytest.raises(ConfigError, match=r"gone.toml: cannot be read"):
        load_config(tmp_path / "gone.toml", [], {})


def test_every_field_of_the_schema_is_frozen():
    config = parse_config(BASE, source="x")
    for name in RunConfig.model_fields:
        with pytest.raises(ValueError, match="frozen"):
            setattr(config, name, None)
