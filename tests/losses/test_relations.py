"""SP, RKD and EKD against loops over their formulas."""

import math

import pytest
import torch

from crossface.losses.ekd import EvaluationOriented
from crossface.losses.relations import rkd_angle, rkd_distance, similarity_preserving


def drawn(rows=7, dim=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dim, generator=generator, dtype=torch.float64)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def minus(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def huber(a, b):
    gap = abs(a - b)
    return gap * gap / 2 if gap < 1 else gap - 0.5


def cosine(a, b):
    length = math.sqrt(dot(a, a) * dot(b, b))
    return dot(a, b) / length if length else 0.0


def loop_sp(student, teacher, form):
    sides = []
    for rows in (student.tolist(), teacher.tolist()):
        if form == "cosine":
            sides.append([[cosine(a, b) for b in rows] for a in rows])
        else:
            table = [[dot(a, b) for b in rows] for a in rows]
            sides.append([[x / math.sqrt(dot(row, row)) for x in row] for row in table])
    size = len(student)
    return sum((sides[0][i][j] - sides[1][i][j]) ** 2 for i in range(size) for j in range(size)) / (
        size * size
    )


def loop_rkd_distance(student, teacher):
    sides = []
    for rows in (student.tolist(), teacher.tolist()):
        table = [[math.dist(a, b) for b in rows] for a in rows]
        positive = [x for row in table for x in row if x > 0]
        mean = sum(positive) / len(positive)
        sides.append([[x / mean for x in row] for row in table])
    size = len(student)
    return sum(huber(sides[0][i][j], sides[1][i][j]) for i in range(size) for j in range(size)) / (
        size * size
    )


def loop_rkd_angle(student, teacher):
    total, size = 0.0, len(student)
    s, t = student.tolist(), teacher.tolist()
    for j in range(size):
        for i in range(size):
            for k in range(size):
                total += huber(
                    cosine(minus(s[i], s[j]), minus(s[k], s[j])),
                    cosine(minus(t[i], t[j]), minus(t[k], t[j])),
                )
    return total / size**3


@pytest.mark.parametrize("form", ["cosine", "rows"])
def test_similarity_preserving_is_the_loop(form):
    student, teacher = drawn(), drawn(dim=8, seed=1)
    found = similarity_preserving(student, teacher, form).item()
    assert found == pytest.approx(loop_sp(student, teacher, form), rel=1e-12)


@pytest.mark.parametrize("rows", [2, 7, 40])
def test_rkd_is_the_loop_over_pairs_and_triplets(rows):
    """40 rows are more than the vertices held at once."""
    student, teacher = drawn(rows), drawn(rows, dim=8, seed=1)
    distance = rkd_distance(student, teacher).item()
    assert distance == pytest.approx(loop_rkd_distance(student, teacher), rel=1e-12)
    if rows < 40:
        expected = loop_rkd_angle(student, teacher)
    else:  # the published way, with B x B x D differences
        sides = [x[None] - x[:, None] for x in (student, teacher)]
        units = [torch.nn.functional.normalize(x, dim=2) for x in sides]
        expected = torch.nn.functional.smooth_l1_loss(
            *(torch.bmm(x, x.transpose(1, 2)) for x in units)
        ).item()
    assert rkd_angle(student, teacher).item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_rkd_gradient_is_that_of_the_published_way_also_with_equal_rows():
    student, teacher = drawn(6).float(), drawn(6, seed=1).float()
    student[1] = student[0]
    mine, theirs = (student.clone().requires_grad_() for _ in range(2))
    rkd_angle(mine, teacher).backward()
    sides = [x[None] - x[:, None] for x in (theirs, teacher)]
    units = [torch.nn.functional.normalize(x, dim=2) for x in sides]
    torch.nn.functional.smooth_l1_loss(*(torch.bmm(x, x.transpose(1, 2)) for x in units)).backward()
    assert mine.grad.isfinite().all()
    others = slice(2, None)  # for the equal rows themselves the published slope is 1e12 times noise
    torch.testing.assert_close(mine.grad[others], theirs.grad[others], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", [rkd_angle, rkd_distance])
def test_rkd_sees_neither_place_nor_size_nor_rotation(loss):
    student, teacher = drawn(), drawn(seed=1)
    turn, _ = torch.linalg.qr(drawn(5, 5, seed=2))
    moved = 3.0 * student @ turn + drawn(1, seed=3)
    torch.testing.assert_close(loss(moved, teacher), loss(student, teacher))


@pytest.mark.parametrize("loss", [rkd_angle, rkd_distance])
def test_rkd_of_a_collapsed_student_is_finite(loss):
    student = drawn(1).expand(6, 5).float().clone().requires_grad_()
    value = loss(student, drawn(6, seed=1).float())
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_rkd_never_holds_a_number_per_triplet():
    """The largest tensor that the graph keeps is B x B, whatever B."""
    largest = []

    def seen(tensor):
        largest.append(tensor.numel())
        return tensor

    student = drawn(96, 4).float().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(seen, lambda tensor: tensor):
        rkd_angle(student, drawn(96, 4, seed=1).float())
    assert max(largest) == 96 * 96


LABELS = torch.tensor([0, 1, 0, 2, 1, -1, -1])


class LoopEkd:
    """The authors' recipe, pair by pair."""

    def __init__(self, hardest, temperature, momentum):
        self.hardest, self.temperature, self.momentum = hardest, temperature, momentum
        self.thresholds = {"s": [0.0] * 6, "t": [0.0] * 6}

    def __call__(self, student, teacher, labels):
        pairs = [(i, j) for i in range(len(student)) for j in range(i + 1, len(student))]
        s = {p: cosine(student[p[0]].tolist(), student[p[1]].tolist()) for p in pairs}
        t = {p: cosine(teacher[p[0]].tolist(), teacher[p[1]].tolist()) for p in pairs}
        same = [p for p in pairs if labels[p[0]] == labels[p[1]] != -1]
        other = sorted((p for p in pairs if p not in same), key=lambda p: -s[p])
        for side, values in (("s", s), ("t", t)):
            falling = sorted((values[p] for p in other), reverse=True)
            for k in range(6):
                newest = falling[len(falling) // 10 ** (k + 1)]
                old = self.thresholds[side][k]
                self.thresholds[side][k] = self.momentum * newest + (1 - self.momentum) * old
        hard = other[: self.hardest]
        return 0.02 * self.mse(s, t, same) + 0.01 * self.mse(s, t, hard)

    def mse(self, s, t, pairs):
        return sum((self.rank(s[p], "s") - self.rank(t[p], "t")) ** 2 for p in pairs) / len(pairs)

    def rank(self, value, side):
        gaps = [(value - th) / self.temperature for th in self.thresholds[side]]
        return sum(1 / (1 + math.exp(-min(50, max(-50, gap)))) for gap in gaps)


@pytest.mark.parametrize("hardest", [4, 2_000])
def test_ekd_is_the_loop_over_three_batches_with_moving_thresholds(hardest):
    loss = EvaluationOriented(hardest=hardest, temperature=0.3, momentum=0.25).double()
    loop = LoopEkd(hardest, 0.3, 0.25)
    for seed in range(3):
        student, teacher = drawn(seed=seed), drawn(dim=8, seed=seed + 10)
        expected = loop(student, teacher, LABELS.tolist())
        assert loss(student, teacher, LABELS).item() == pytest.approx(expected, rel=1e-9)
    assert loss.student_thresholds.tolist() == pytest.approx(loop.thresholds["s"])


def test_ekd_gradient_is_right_where_its_ranks_are_soft():
    loss = EvaluationOriented(temperature=0.5, momentum=1.0).double()
    student, teacher = drawn().requires_grad_(), drawn(seed=1)
    loss(student, teacher, LABELS)
    loss.eval()
    assert torch.autograd.gradcheck(lambda x: loss(x, teacher, LABELS), (student,))


def test_ekd_without_negatives_moves_no_threshold():
    loss = EvaluationOriented()
    loss(drawn(3), drawn(3, seed=1), torch.zeros(3, dtype=torch.int64))
    assert loss.student_thresholds.eq(0).all()
    assert loss(drawn(1), drawn(1, seed=1), torch.tensor([0])).item() == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: similarity_preserving(drawn(3), drawn(4)), "one B >= 1"),
        (lambda: similarity_preserving(drawn(3), drawn(3), "row"), "form must be"),
        (lambda: rkd_angle(drawn(3), drawn(3)[0]), "one B >= 1"),
        (lambda: EvaluationOriented(hardest=0), "hardest >= 1"),
        (lambda: EvaluationOriented(negative_weight=-1.0), "must not be negative"),
        (lambda: EvaluationOriented()(drawn(3), drawn(3), LABELS), r"labels must be \(3,\)"),
    ],
)
def test_relations_refuse_what_cannot_be_meant(make, words):
    with pytest.raises(ValueError, match=words):
        make()
