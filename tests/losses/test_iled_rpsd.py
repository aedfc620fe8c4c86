"""ILED and RPSD against loops over the rules we read into the paper."""

import math

import pytest
import torch

from crossface.losses.embedding import cosine_distance_loss
from crossface.losses.iled_rpsd import PairwiseSimilarities, iled


def drawn(rows=6, dim=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dim, generator=generator, dtype=torch.float64)


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


@pytest.mark.parametrize("hard_weight", [0.0, 2.0, 7.0])
def test_iled_is_the_loop_that_weighs_what_is_worse_than_the_mean(hard_weight):
    student, teacher = drawn(), drawn(seed=1)
    distances = [1 - cosine(s, t) for s, t in zip(student.tolist(), teacher.tolist(), strict=True)]
    mean = sum(distances) / len(distances)
    weights = [hard_weight if d > mean else 1.0 for d in distances]
    expected = sum(w * d for w, d in zip(weights, distances, strict=True)) / sum(weights)
    assert iled(student, teacher, hard_weight).item() == pytest.approx(expected, rel=1e-12)


def test_iled_without_mining_is_regression():
    student, teacher = drawn(), drawn(seed=1)
    torch.testing.assert_close(iled(student, teacher, 1.0), cosine_distance_loss(student, teacher))


class LoopRpsd:
    """Similarities pair by pair, banks as lists."""

    def __init__(self, bank, mined):
        self.size, self.mined = bank, mined
        self.banks = ([], [])

    def __call__(self, student, teacher):
        total, count = 0.0, 0
        sides = (student.tolist(), teacher.tolist())
        for i in range(len(student)):
            gaps = [
                cosine(sides[0][i], sides[0][j]) - cosine(sides[1][i], sides[1][j])
                for j in range(len(student))
                if j != i
            ]
            gaps += [
                cosine(sides[0][i], a) - cosine(sides[1][i], b)
                for a, b in zip(*self.banks, strict=True)
            ]
            gaps.sort(key=abs, reverse=True)
            chosen = gaps[: self.mined]
            total, count = total + sum(gap * gap for gap in chosen), count + len(chosen)
        for bank, rows in zip(self.banks, sides, strict=True):
            bank.extend(rows)
            del bank[: max(0, len(bank) - self.size)]
        return total / count


@pytest.mark.parametrize(("bank", "mined"), [(0, None), (4, 3), (10, 5), (10, None), (64, 2)])
def test_rpsd_is_the_loop_over_four_batches_with_banks(bank, mined):
    loss = PairwiseSimilarities(5, teacher_dim=8, bank=bank, mined=mined).double()
    loop = LoopRpsd(bank, mined)
    for seed in range(4):
        student, teacher = drawn(seed=seed), drawn(dim=8, seed=seed + 10)
        expected = loop(student, teacher)
        assert loss(student, teacher).item() == pytest.approx(expected, rel=1e-9)


def test_rpsd_remembers_in_training_only_and_lets_no_gradient_into_the_bank():
    loss = PairwiseSimilarities(5, bank=4).eval()
    loss(drawn(), drawn(seed=1))
    assert loss.written.item() == 0
    student = drawn().requires_grad_()
    loss.train()(student, drawn(seed=1)).backward()
    assert loss.written.item() == 4  # of 6 rows the bank of 4 holds the last
    assert not loss.student_bank.requires_grad
    loss(drawn(seed=2).requires_grad_(), drawn(seed=3)).backward()  # the first graph is gone


def test_rpsd_of_one_picture_and_an_empty_bank_is_nothing():
    assert PairwiseSimilarities(5)(drawn(1), drawn(1, seed=1)).item() == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: iled(drawn(2), drawn(3)), "one shape"),
        (lambda: iled(drawn(2), drawn(2), -1.0), "must not be negative"),
        (lambda: PairwiseSimilarities(5, bank=-1), "bank must not be negative"),
        (lambda: PairwiseSimilarities(5, mined=0), "mined be positive"),
        (lambda: PairwiseSimilarities(5)(drawn(2), drawn(3)), "one B >= 1"),
    ],
)
def test_they_refuse_what_cannot_be_meant(make, words):
    with pytest.raises(ValueError, match=words):
        make()
