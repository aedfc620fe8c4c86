"""Several teachers: each in its own space, weighed by how near the student has come to it."""

import json
import math

import pytest
import torch

from crossface.core.errors import ConfigError
from crossface.training.config import public_config
from crossface.training.distillers.base import Context, Signals
from crossface.training.distillers.concentration import ConcentrationDistiller, self_paced_weights
from crossface.training.launch import launch
from crossface.training.run import RunFolder
from pipeline.onnx_files import embedder
from training.fakes import (
    DIM,
    GivenEmbedding,
    contract_of,
    distilled,
    metadata_of,
    people_folder,
    teacher_file,
    tensors_of,
)

BATCH = 4


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def mean_distance(rows, others):
    pairs = zip(rows.tolist(), others.tolist(), strict=True)
    return sum(1 - cosine(a, b) for a, b in pairs) / len(rows)


def test_the_loss_is_regression_plus_the_weighted_mean_over_the_other_teachers():
    """Three steps by loops: running distances, growing age, one head per teacher."""
    context = Context(student=GivenEmbedding(6), target_dim=6, other_dims=(3, 5))
    objective = ConcentrationDistiller(context, age_start=1.0, age_end=4.0, least=0.1, weight=0.5)
    running = [1.0, 1.0]
    for step in range(3):
        objective.progress = step / 2
        signals = Signals(
            drawn(BATCH, 6, seed=step),
            torch.nn.functional.normalize(drawn(BATCH, 6, seed=step + 10)),
            torch.full((BATCH,), -1),
            (drawn(BATCH, 3, seed=step + 20), drawn(BATCH, 5, seed=step + 30)),
        )
        losses = objective(signals)
        age, total = 1.0 * 4.0 ** (step / 2), 0.0
        for k, head in enumerate(objective.heads):
            distance = mean_distance(head(signals.images), signals.others[k])
            running[k] = 0.95 * running[k] + 0.05 * distance
            total += max(0.1, 1 - running[k] / age) * distance / 2
        base = mean_distance(signals.images, signals.targets)
        assert losses["term"].item() == pytest.approx(total, rel=1e-4)
        assert losses["loss"].item() == pytest.approx(base + 0.5 * total, rel=1e-4)
    assert objective.monitors()["distance_other_1"] == pytest.approx(running[1], rel=1e-4)


def test_weights_fall_with_the_distance_and_rise_with_the_age():
    losses = torch.tensor([0.0, 0.5, 1.0, 3.0])
    assert self_paced_weights(losses, age=2.0).tolist() == [1.0, 0.75, 0.5, 0.0]
    assert self_paced_weights(losses, age=2.0, least=0.2).tolist()[3] == pytest.approx(0.2)
    assert (self_paced_weights(losses, age=1e9) > 0.999).all()


def test_options_that_cannot_be_meant_are_refused():
    context = Context(student=GivenEmbedding(6), target_dim=6, other_dims=(3,))
    for options in ({"age_start": 0.0}, {"age_start": 9.0}, {"least": 2.0}):
        with pytest.raises(ConfigError, match="0 < age_start <= age_end and least in"):
            ConcentrationDistiller(context, **options)


@pytest.mark.parametrize("view", ["clean", "same"])
def test_onnx_teachers_of_other_sizes_teach_one_student_and_leave_no_head(
    view, tmp_path, monkeypatch
):
    monkeypatch.setenv("CROSSFACE_CACHE", str(tmp_path / "cache"))
    main = teacher_file(tmp_path / "main.safetensors")
    props = {"crossface.input_spec": json.dumps({"channel_order": "bgr"})}
    first = embedder(tmp_path / "first.onnx", dim=5, props=props)
    second = embedder(tmp_path / "second.onnx", dim=7, bias=0.5, props=props)
    config = distilled(
        people_folder(tmp_path / "people", people=4),
        main,
        "concentration",
        teacher={"others": [str(first), str(second)], "view": view, "mix": float(view == "same")},
        budget={"steps": 2},
        log_every_steps=1,
    )
    done = launch(config, tmp_path / "run", show_progress=False)
    assert contract_of(done.best)["space_id"] == contract_of(main)["space_id"]
    assert contract_of(done.best)["dim"] == DIM
    assert not any("head" in name for name in tensors_of(done.best))
    lines = RunFolder(done.folder).metrics()
    assert {"weight_other_0", "weight_other_1"} <= lines[-1].keys()
    card = json.loads(metadata_of(done.best)["training"])
    assert [other["dim"] for other in card["other_teachers"]] == [5, 7]
    assert card["licence_note"].count("the restrictions of its weights") == 3
    assert public_config(config)["teacher"]["others"] == ["first.onnx", "second.onnx"]
    caches = len(list((tmp_path / "cache" / "teacher").glob("*.npy"))) if view == "clean" else 3
    assert caches == 3
