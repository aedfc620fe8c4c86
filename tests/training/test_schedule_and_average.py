"""The schedule against its closed form, the average against a loop, the guards of validation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.nets import create_model
from crossface.training.ema import WeightAverage
from crossface.training.schedules import Budget, warmup_cosine
from crossface.training.schema import BudgetConfig
from crossface.training.validation import agreement, separation, spearman


@pytest.mark.parametrize(
    ("progress", "factor"),
    [(0.0, 1e-3), (0.05, 0.5), (0.1, 1.0), (0.55, 0.5 * (1 + 0.01)), (1.0, 0.01), (2.0, 0.01)],
)
def test_warmup_and_cosine_pass_through_known_points(progress, factor):
    value = warmup_cosine(progress, warmup_fraction=0.1, final_fraction=0.01)
    assert value == pytest.approx(factor, rel=1e-9)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.floats(0, 1), st.floats(0, 0.9), st.floats(0, 1))
def test_schedule_follows_the_closed_form(progress, warmup, final):
    value = warmup_cosine(progress, warmup_fraction=warmup, final_fraction=final)
    if progress < warmup:
        expected = max(1e-3, progress / warmup)
    else:
        angle = math.pi * (progress - warmup) / (1 - warmup)
        expected = final * 1.0 + (1.0 - final) * math.cos(angle / 2) ** 2
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_budgets_resolve_epochs_and_end_where_they_say():
    budget = Budget.from_config(BudgetConfig(epochs=2.5), steps_per_epoch=10)
    assert budget.steps == 25
    assert not budget.is_spent(24, 1e9)
    assert budget.is_spent(25, 0.0)
    timed = Budget.from_config(BudgetConfig(minutes=1), steps_per_epoch=10)
    assert timed.progress(10**9, 30.0) == 0.5
    assert timed.is_spent(0, 60.0)
    assert Budget.from_config(BudgetConfig(epochs=0.001), steps_per_epoch=10).steps == 1


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999])
def test_weight_average_follows_a_loop_from_the_definition(decay):
    torch.manual_seed(0)
    net = create_model("mobilefacenet", width=0.1, embedding_dim=4, last_channels=16)
    average = WeightAverage(net, decay)
    moving = {
        name: tensor
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]
        if tensor.is_floating_point()
    }
    assert any("running_mean" in name for name in moving)
    expected = {name: tensor.detach().double() for name, tensor in moving.items()}
    for step in range(1, 6):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter))
            for buffer in net.buffers():
                buffer.add_(1)
        average.update(net)
        d = min(decay, (1 + step) / (10 + step))
        for name, tensor in moving.items():
            expected[name] = d * expected[name] + (1 - d) * tensor.detach().double()
    for name, buffer in average.net.named_buffers():
        if not buffer.is_floating_point():
            assert torch.equal(buffer, net.get_buffer(name))
            continue
        torch.testing.assert_close(buffer.double(), expected[name], rtol=1e-5, atol=1e-6)
    for name, parameter in average.net.named_parameters():
        torch.testing.assert_close(parameter.double(), expected[name], rtol=1e-5, atol=1e-6)
        assert not parameter.requires_grad
    if decay == 0:
        for mine, theirs in zip(average.net.parameters(), net.parameters(), strict=True):
            assert torch.equal(mine, theirs)
    assert not average.net.training


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_rank_correlation_and_auc_agree_with_scipy_and_sklearn():
    scipy_stats = pytest.importorskip("scipy.stats")
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    a, b = unit(rng.normal(size=(30, 5))), unit(rng.normal(size=(30, 5)))
    rows, columns = np.triu_indices(30, 1)
    x, y = (a @ a.T)[rows, columns], (b @ b.T)[rows, columns]
    assert spearman(x, y) == pytest.approx(scipy_stats.spearmanr(x, y).statistic, abs=1e-9)
    assert agreement(a, b)["rank_correlation"] == pytest.approx(spearman(x, y))
    people = tuple(str(n // 3) for n in range(30))
    same = np.array([people[i] == people[j] for i, j in zip(rows, columns, strict=True)])
    assert separation(a, people)["auc"] == pytest.approx(metrics.roc_auc_score(same, x), abs=1e-9)


def test_figures_that_a_hold_out_set_cannot_give_are_left_out():
    rows = unit(np.random.default_rng(0).normal(size=(3, 4)))
    assert separation(rows, ("a", "a", "a")) == {}
    assert separation(rows, ("a", "b", "c")) == {}
    assert set(agreement(rows[:2], rows[:2])) == {"cosine"}
