"""Minutes into steps: the arithmetic by a loop, the timing on configurations of known order."""

from __future__ import annotations

import time

import pytest

from crossface.core.errors import ConfigError
from crossface.training import timing
from crossface.training.timing import StepTime, time_side_by_side
from training.fakes import BATCH, distilled, people_folder, teacher_file


@pytest.mark.parametrize(
    "cost", [StepTime(0.25, 0.25), StepTime(0.25, 1.0, 7), StepTime(0.1, 0.3, 1000)]
)
def test_steps_and_seconds_are_those_of_a_loop(cost):
    spent, steps = 0.0, 0
    while steps < 40:
        assert cost.seconds(steps) == pytest.approx(spent)
        assert steps == 0 or cost.steps_within(spent) == steps
        spent += cost.fresh_s if steps < cost.fresh_steps else cost.again_s
        steps += 1
    assert cost.steps_within(0.0) == 1


def test_a_slow_method_gets_fewer_steps_and_a_stored_view_is_seen_to_be_cheap(
    tmp_path, monkeypatch
):
    """A known delay stands in for a method and for a teacher."""
    data, teacher = people_folder(tmp_path / "people"), teacher_file(tmp_path / "t.safetensors")
    original = timing.step_once
    seen: list[str] = []

    def delayed(session, objective, optimizer, batch):
        seen.append(session.config.distiller.name + session.config.teacher.view)
        if session.config.optim.lr == 0.5:
            time.sleep(0.3)
        return original(session, objective, optimizer, batch)

    monkeypatch.setattr(timing, "step_once", delayed)
    plain = distilled(data, teacher)
    slow = distilled(data, teacher, optim={"lr": 0.5})
    stored = distilled(data, teacher, teacher={"view": "same", "views": 2})
    costs = time_side_by_side(
        {"plain": plain, "slow": slow, "stored": stored}, rounds=3, steps=1, show_progress=False
    )
    assert costs["slow"].again_s - costs["plain"].again_s == pytest.approx(0.3, abs=0.15)
    assert costs["plain"].fresh_steps == 0
    assert costs["stored"].fresh_steps == 2 * (24 // BATCH)
    assert costs["stored"].fresh_s >= costs["stored"].again_s
    # They took turns: after the warm-up no two turns of one configuration follow each other.
    assert seen[-6:] == ["embeddingclean"] * 4 + ["embeddingsame"] * 2
    within = costs["slow"].steps_within(costs["plain"].seconds(1000))
    assert within < 1000
    assert not (tmp_path / "config.json").exists()


def test_a_configuration_that_cannot_run_is_named(tmp_path):
    data, teacher = people_folder(tmp_path / "people"), teacher_file(tmp_path / "t.safetensors")
    wrong = distilled(data, teacher, "gkd", {"scal": 3.0})
    with pytest.raises(ConfigError, match="distiller 'gkd'"):
        time_side_by_side({"gkd": wrong}, show_progress=False)
