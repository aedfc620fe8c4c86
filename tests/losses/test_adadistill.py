"""AdaDistill's moving centres against the published rule, row by row."""

import math

import pytest
import torch

from crossface.losses.adadistill import AdaptiveCentres
from crossface.training.distillers.adadistill import AdaDistiller
from crossface.training.distillers.base import Context, Signals
from training.fakes import GivenEmbedding


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def clip(value):
    return min(1.0, max(1e-6, value))


def loop_moved(centres, student, teacher, labels, *, weighted):
    """The rule for one picture after another; those of one class start from one centre."""
    proposals = {}
    for s, t, y in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        if y == -1:
            continue
        w, f = centres[y].tolist(), [x / math.hypot(*t) for x in t]
        alpha = cosine(s, f) * (clip(cosine(w, f)) if weighted else 1.0)
        alpha = clip(alpha)
        new = [alpha * a + (1 - alpha) * b for a, b in zip(w, f, strict=True)]
        proposals.setdefault(y, []).append(new)
    moved = centres.tolist()
    for y, rows in proposals.items():
        moved[y] = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return torch.tensor(moved, dtype=torch.float64)


@pytest.mark.parametrize("weighted", [True, False])
def test_centres_move_by_the_published_rule(weighted):
    adaptive = AdaptiveCentres(5, 4, weighted=weighted).double()
    expected = adaptive.centres.clone()
    labels = torch.tensor([0, 3, 3, -1, 4, 3])
    teacher = drawn(6, 4, seed=2)
    for seed in range(4):  # one teacher, so that centres come near its embeddings
        student = teacher + drawn(6, 4, seed=seed)
        expected = loop_moved(expected, student, teacher, labels, weighted=weighted)
        adaptive.update(student, teacher, labels)
        torch.testing.assert_close(adaptive.centres, expected, rtol=1e-10, atol=1e-12)


def test_a_fresh_centre_jumps_to_the_teacher_and_then_slows_as_the_student_comes_near():
    torch.manual_seed(0)
    adaptive = AdaptiveCentres(3, 64).double()
    first, second = drawn(1, 64), drawn(1, 64, seed=1)
    adaptive.update(drawn(1, 64, seed=2), first, torch.tensor([1]))
    unit = first / first.norm()
    assert torch.cosine_similarity(adaptive.centres[1], unit[0], dim=0) > 0.99
    near = first + 0.3 * second
    moves = []
    for student in (near, near + 3 * second):
        again = AdaptiveCentres(3, 64).double()
        again.centres.copy_(adaptive.centres)
        again.update(student, near, torch.tensor([1]))
        moves.append((again.centres - adaptive.centres).norm().item())
    assert moves[0] < moves[1]


def test_unlabelled_rows_move_nothing():
    adaptive = AdaptiveCentres(4, 3)
    before = adaptive.centres.clone()
    adaptive.update(drawn(2, 3), drawn(2, 3, seed=1), torch.tensor([-1, -1]))
    assert torch.equal(adaptive.centres, before)


def test_two_processes_keep_the_centres_of_one_that_sees_both_batches(monkeypatch):
    """A stand-in for the collective: each process gets both batches' rows, in one order."""
    student, teacher = drawn(6, 4).float(), drawn(6, 4, seed=1).float()
    labels = torch.tensor([0, 1, 1, 1, -1, 2])
    alone = AdaptiveCentres(4, 4)
    start = alone.centres.clone()
    alone.update(student, teacher, labels)

    sent = {0: [], 1: []}

    def run(rank):
        adaptive, calls = AdaptiveCentres(4, 4), iter(range(3))
        adaptive.centres.copy_(start)

        def all_gather(parts, tensor):
            sent[rank].append(tensor)
            call = next(calls)
            for number in range(2):
                known = sent[number][call] if len(sent[number]) > call else tensor
                parts[number].copy_(known)

        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
        monkeypatch.setattr(torch.distributed, "all_gather", all_gather)
        half = slice(3 * rank, 3 * rank + 3)
        adaptive.update(student[half], teacher[half], labels[half])
        return adaptive.centres

    run(1)  # only to learn what it sends
    first = run(0)
    torch.testing.assert_close(first, alone.centres)


@pytest.mark.parametrize("form", ["arcface", "cosface"])
def test_the_loss_is_the_margin_softmax_against_the_moved_centres(form):
    context = Context(student=GivenEmbedding(6), target_dim=6, classes=3)
    objective = AdaDistiller(context, form=form, margin=0.3, scale=8.0)
    signals = Signals(drawn(4, 6).float(), drawn(4, 6, seed=1).float(), torch.tensor([0, 2, 2, -1]))
    start = objective.adaptive.centres.double()
    found = objective(signals)["loss"].item()
    moved = loop_moved(start, signals.images, signals.targets, signals.labels, weighted=True)
    total = 0.0
    for row, y in zip(signals.images.tolist(), signals.labels.tolist(), strict=True):
        if y == -1:
            continue
        cosines = [cosine(row, centre) for centre in moved.tolist()]
        own = cosines[y]
        cosines[y] = math.cos(math.acos(own) + 0.3) if form == "arcface" else own - 0.3
        exps = [math.exp(8.0 * c) for c in cosines]
        total -= math.log(exps[y] / sum(exps)) / 3
    assert found == pytest.approx(total, rel=1e-4)


def test_evaluation_moves_no_centre():
    objective = AdaDistiller(Context(student=GivenEmbedding(6), target_dim=6, classes=3)).eval()
    before = objective.adaptive.centres.clone()
    objective(Signals(drawn(2, 6).float(), drawn(2, 6).float(), torch.tensor([0, 1])))
    assert torch.equal(objective.adaptive.centres, before)
