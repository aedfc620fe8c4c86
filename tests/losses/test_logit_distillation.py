"""DKD against the loop over its formula; KD's, DKD's and ProxylessKD's distillers from scratch."""

import math

import pytest
import torch
from torch import nn

from crossface.losses.dkd import dkd
from crossface.training.distillers import DISTILLERS
from crossface.training.distillers.base import Context, Signals
from training.fakes import GivenEmbedding

CLASSES, DIM = 5, 6
LABELS = torch.tensor([0, 3, 3, -1])


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(values):
    exps = [math.exp(v - max(values)) for v in values]
    return [e / sum(exps) for e in exps]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def unit(row):
    return [x / math.hypot(*row) for x in row]


def loop_dkd(student, teacher, labels, alpha, beta, temperature):
    total = 0.0
    for s, t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        p, q = (softmax([v / temperature for v in row]) for row in (t, s))
        target = kl([p[y], 1 - p[y]], [q[y], 1 - q[y]])
        rest = [c for c in range(len(p)) if c != y]
        others = kl([p[c] / (1 - p[y]) for c in rest], [q[c] / (1 - q[y]) for c in rest])
        total += alpha * target + beta * others
    return temperature**2 * total / len(labels)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_is_the_loop_over_its_formula(temperature):
    student, teacher = 3 * drawn(6, 7), 3 * drawn(6, 7, seed=1)
    labels = torch.tensor([0, 6, 3, 3, 1, 2])
    found = dkd(
        student, teacher, labels, target_weight=0.7, others_weight=3.0, temperature=temperature
    )
    expected = loop_dkd(student, teacher, labels, 0.7, 3.0, temperature)
    assert found.item() == pytest.approx(expected, rel=1e-10)


def test_dkd_of_an_unlabelled_row_takes_the_students_top_class():
    student, teacher = drawn(3, 7), drawn(3, 7, seed=1)
    unknown = torch.full((3,), -1)
    assert dkd(student, teacher, unknown) == dkd(student, teacher, student.argmax(dim=1))


W_T = nn.functional.normalize(drawn(CLASSES, DIM, seed=9)).float()


def made(name, **options):
    context = Context(
        student=GivenEmbedding(DIM), target_dim=DIM, classes=CLASSES, class_centres=W_T
    )
    torch.manual_seed(0)
    objective = DISTILLERS.resolve(name)(context, **options)
    objective.progress = 1.0
    targets = nn.functional.normalize(drawn(4, DIM, seed=1)).float()
    return objective, Signals(drawn(4, DIM).float(), targets, LABELS)


def loop_logits(embeddings, centres, margin, scale, labels=LABELS):
    rows = []
    for row, y in zip(embeddings.tolist(), labels.tolist(), strict=True):
        cosines = [
            sum(a * b for a, b in zip(unit(row), unit(c), strict=True)) for c in centres.tolist()
        ]
        rows.append([scale * (c - margin * (n == y)) for n, c in enumerate(cosines)])
    return rows


def loop_ce(logits):
    known = [(row, y) for row, y in zip(logits, LABELS.tolist(), strict=True) if y != -1]
    return sum(-math.log(softmax(row)[y]) for row, y in known) / len(known)


def loop_kd(student, teacher, temperature):
    parts = [
        kl(*(softmax([v / temperature for v in row]) for row in pair))
        for pair in zip(teacher, student, strict=True)
    ]
    return temperature**2 * sum(parts) / len(parts)


@pytest.mark.parametrize("with_margin", [True, False])
def test_kd_is_cross_entropy_plus_softened_kl_written_as_loops(with_margin):
    objective, signals = made("kd", margin=0.2, scale=8.0, weight=0.5, distil_margin=with_margin)
    own, theirs = objective.head.centres.detach(), W_T
    ce = loop_ce(loop_logits(signals.images, own, 0.2, 8.0))
    margin = 0.2 if with_margin else 0.0
    term = loop_kd(
        loop_logits(signals.images, own, margin, 8.0),
        loop_logits(signals.targets, theirs, margin, 8.0),
        4.0,
    )
    losses = objective(signals)
    assert losses["ce"].item() == pytest.approx(ce, rel=1e-4)
    assert losses["kd"].item() == pytest.approx(term, rel=1e-4)
    assert losses["loss"].item() == pytest.approx(ce + 0.5 * term, rel=1e-4)


def test_distillation_rises_over_its_ramp():
    objective, signals = made("dkd", scale=8.0, ramp_fraction=0.5)
    for progress, share in ((0.0, 0.0), (0.25, 0.5), (0.5, 1.0), (1.0, 1.0)):
        objective.progress = progress
        losses = objective(signals)
        torch.testing.assert_close(losses["loss"], losses["ce"] + share * losses["dkd"])


@pytest.mark.parametrize(("head", "margin"), [("arcface", 0.5), ("cosface", 0.4)])
def test_proxyless_is_the_margin_softmax_over_the_teachers_frozen_centres(head, margin):
    objective, signals = made("proxyless", head=head, scale=8.0)
    logits = loop_logits(signals.images, W_T, 0.0, 8.0)
    for row, y in zip(logits, LABELS.tolist(), strict=True):
        if y != -1 and head == "arcface":
            row[y] = 8.0 * math.cos(math.acos(row[y] / 8.0) + margin)
        elif y != -1:
            row[y] -= 8.0 * margin
    loss = objective(signals)["loss"]
    assert loss.item() == pytest.approx(loop_ce(logits), rel=1e-4)
    loss.backward()
    assert objective.head.centres.grad is None


@pytest.mark.parametrize("name", ["kd", "dkd", "gkd", "proxyless", "adadistill"])
def test_a_batch_without_any_label_has_a_finite_loss(name):
    objective, signals = made(name)
    losses = objective(signals._replace(labels=torch.full((4,), -1)))
    assert all(value.isfinite() for value in losses.values())
