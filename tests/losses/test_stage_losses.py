"""FitNet's hint and OFA-KD's loss against loops, and the distillers that use them."""

import math

import pytest
import torch

from crossface.losses.embedding import cosine_distance_loss
from crossface.losses.hints import hint_loss
from crossface.losses.ofa import ofa_loss
from crossface.nets import create_model
from crossface.training.distillers.base import Context, Signals
from crossface.training.distillers.fitnet import FitNetDistiller
from crossface.training.distillers.ofa import OfaDistiller
from crossface.training.teachers import FrozenBackbone

DIM = 8


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(values):
    exps = [math.exp(v - max(values)) for v in values]
    return [e / sum(exps) for e in exps]


def test_hint_is_the_loop_over_places():
    student, teacher = drawn(2, 3, 4), drawn(2, 3, 4, seed=1)
    total = 0.0
    for s, t in zip(student.flatten(0, 1).tolist(), teacher.flatten(0, 1).tolist(), strict=True):
        a, b = math.hypot(*s), math.hypot(*t)
        total += sum((x / a - y / b) ** 2 for x, y in zip(s, t, strict=True)) / 2
    assert hint_loss(student, teacher).item() == pytest.approx(total / 6)


def test_hint_of_embeddings_is_cosine_regression():
    student, teacher = drawn(5, 4), drawn(5, 4, seed=1)
    torch.testing.assert_close(hint_loss(student, teacher), cosine_distance_loss(student, teacher))


def published_ofa(student, teacher, labels, exponent, temperature):
    """The authors' sum, class by class: sum_c -((p_t + mask)^eps - mask) log p_s."""
    total = 0.0
    for s, t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        p, q = (softmax([v / temperature for v in row]) for row in (t, s))
        for c in range(len(p)):
            mask = 1.0 if c == y else 0.0
            total -= ((p[c] + mask) ** exponent - mask) * math.log(q[c])
    return total / len(labels)


@pytest.mark.parametrize("exponent", [1.0, 1.5])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_ofa_is_the_published_sum_less_the_teachers_own(exponent, temperature):
    student, teacher = 2 * drawn(4, 6), 2 * drawn(4, 6, seed=1)
    labels = torch.tensor([0, 5, 2, -1])
    found = ofa_loss(student, teacher, labels, exponent=exponent, temperature=temperature).item()
    expected = published_ofa(student, teacher, labels, exponent, temperature)
    expected -= published_ofa(teacher, teacher, labels, exponent, temperature)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ofa_loss(drawn(2, 3), drawn(2, 4), torch.tensor([0, 1])), "one shape"),
        (lambda: ofa_loss(drawn(2, 3), drawn(2, 3), torch.tensor([0, 3])), "must lie in"),
        (lambda: ofa_loss(drawn(2, 3), drawn(2, 3), torch.tensor([0, 1]), exponent=0.0), "positiv"),
        (lambda: ofa_loss(drawn(2, 3, 1), drawn(2, 3, 1), torch.tensor([0, 1])), r"\(N, C\)"),
        (lambda: hint_loss(drawn(2, 3), drawn(2, 4)), "one shape"),
    ],
)
def test_stage_losses_refuse_what_cannot_be_meant(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.fixture
def context():
    torch.manual_seed(0)
    teacher = FrozenBackbone(create_model("swin_micro", embedding_dim=DIM))
    student = create_model("mobilefacenet", width=0.1, last_channels=16, embedding_dim=DIM).eval()
    centres = torch.nn.functional.normalize(drawn(3, DIM)).float()
    return Context(
        student=student, feature_teacher=teacher, target_dim=DIM, classes=3, class_centres=centres
    )


@pytest.fixture
def signals():
    targets = torch.nn.functional.normalize(drawn(2, DIM, seed=1)).float()
    return Signals(drawn(2, 3, 112, 112).float(), targets, torch.tensor([2, 0]))


def test_ofa_sums_the_stages_and_stands_beside_regression(context, signals):
    objective = OfaDistiller(context, weight=0.5).eval()
    student, x = context.student, signals.images
    total, found = 0.0, student.stem(x)
    for n, block in enumerate(student.blocks):
        found = block(found)
        if n in {4, 11, 14}:
            project = objective.projectors[(4, 11, 14).index(n)]
            total = total + cosine_distance_loss(project(found), signals.targets)
    losses = objective(signals)
    torch.testing.assert_close(losses["term"], total)
    base = cosine_distance_loss(student(x), signals.targets)
    torch.testing.assert_close(losses["loss"], base + 0.5 * total)


def test_ofa_logits_are_cosines_to_the_teachers_centres(context, signals):
    objective = OfaDistiller(context, space="logits", stages="blocks.14", scale=8.0).eval()
    student, x = context.student, signals.images
    own = student(x)
    middle = objective.projectors[0](student.blocks(student.stem(x)))
    unit = torch.nn.functional.normalize
    teacher = 8.0 * signals.targets @ context.class_centres.T
    total = sum(
        published_ofa(8.0 * unit(v) @ context.class_centres.T, teacher, signals.labels, 1.5, 1.0)
        - published_ofa(teacher, teacher, signals.labels, 1.5, 1.0)
        for v in (own, middle)
    )
    assert objective(signals)["term"].item() == pytest.approx(total, rel=1e-3, abs=1e-5)


def test_fitnet_compares_the_middle_maps_on_the_smaller_grid(context, signals):
    objective = FitNetDistiller(context).eval()
    student, teacher, x = context.student, context.feature_teacher.net, signals.images
    mine = objective.regressor(
        torch.nn.functional.avg_pool2d(student.blocks[:12](student.stem(x)), 2)
    )
    cells = teacher.embed_patches(x)
    for n, stage in enumerate(teacher.stages):
        cells = stage(teacher.merges[n - 1](cells) if n else cells)
    cosine = torch.nn.functional.cosine_similarity(mine, cells.permute(0, 3, 1, 2), dim=1)
    assert cosine.shape == (2, 7, 7)
    torch.testing.assert_close(objective(signals)["term"], (1 - cosine).mean())


def test_fitnet_on_embeddings_alone_is_plain_regression(context, signals):
    objective = FitNetDistiller(context, on="embedding", base="none").eval()
    plain = cosine_distance_loss(context.student(signals.images), signals.targets)
    torch.testing.assert_close(objective(signals)["loss"], plain)
    assert objective.keeps_space
