"""NCL++ against a loop over students, copies, rows and classes, written as the code has it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.losses.ncl import NestedCollaborative

CLASSES, ROWS = 6, 4
COUNTS = torch.tensor([50, 20, 9, 4, 2, 1])
LABELS = torch.tensor([0, 5, 2, 3])


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * 2


def made(**options):
    return NestedCollaborative(COUNTS, hard_classes=3, **options).double()


def softmax(row):
    top = max(row)
    parts = [math.exp(v - top) for v in row]
    return [v / sum(parts) for v in parts]


def hard_of(row, label):
    others = sorted((c for c in range(CLASSES) if c != label), key=lambda c: -row[c])
    return {label, *others[:2]}


def agree(rows, hards):
    """One D({x_a}): rows[a][n] logits of copy or student a; hards[n] the hard classes of row n."""
    n = len(rows)
    if n == 1:
        return 0.0
    total = 0.0
    for a in range(n):
        for b in range(n):
            if a == b:
                continue
            for x, y, hard in zip(rows[a], rows[b], hards, strict=True):
                p, q = softmax(x), softmax(y)
                for c in range(CLASSES):
                    term = q[c] * (math.log(q[c]) - math.log(p[c]))
                    total += term * (2 if c in hard else 1)
    return 0.6 * total / (n * (n - 1) / 2) / len(rows[0])


def loop(logits, labels, zero_outside):
    students, copies, rows, _ = logits.shape
    raw = logits.tolist()
    counts = [math.log(int(c)) for c in COUNTS]
    v = [
        [[[z + m for z, m in zip(row, counts, strict=True)] for row in copy] for copy in student]
        for student in raw
    ]
    hards = [[hard_of(raw[0][a][n], int(labels[n])) for n in range(rows)] for a in range(copies)]
    individual = 0.0
    for k in range(students):
        for a in range(copies):
            for n in range(rows):
                row, label, hard = v[k][a][n], int(labels[n]), hards[a][n]
                individual -= math.log(softmax(row)[label]) / (copies * rows)
                if zero_outside:
                    nested = [x if c in hard else 0.0 for c, x in enumerate(row)]
                else:
                    nested = [x if c in hard else -math.inf for c, x in enumerate(row)]
                individual -= math.log(softmax(nested)[label]) / (copies * rows)
    flat = [[row for copy in student for row in copy] for student in v]
    inter = agree(flat, [hard for copy in hards for hard in copy])
    intra = sum(agree(student, hards[0]) for student in v)
    return {"individual": individual, "intra": intra, "inter": inter}


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 1000),
    students=st.integers(1, 3),
    copies=st.integers(1, 4),
    zero_outside=st.booleans(),
)
def test_ncl_is_the_loop_over_its_terms(seed, students, copies, zero_outside):
    logits = drawn(students, copies, ROWS, CLASSES, seed=seed)
    loss = made(zero_outside=zero_outside)
    loss.log_counts = COUNTS.double().log()
    parts = loss.parts(logits, LABELS)
    expected = loop(logits, LABELS, zero_outside)
    for name, value in expected.items():
        assert parts[name].item() == pytest.approx(value, rel=1e-9, abs=1e-12), name
    assert loss(logits, LABELS).item() == pytest.approx(sum(expected.values()))


def test_students_that_agree_have_nothing_to_tell_each_other():
    one = drawn(1, 2, ROWS, CLASSES)
    parts = made().parts(one.expand(3, -1, -1, -1), LABELS)
    assert parts["inter"].item() == 0
    assert parts["intra"].item() > 0
    copies = made().parts(drawn(3, 1, ROWS, CLASSES).expand(-1, 4, -1, -1), LABELS)
    assert copies["intra"].item() == 0
    assert copies["inter"].item() > 0


def test_equal_counts_are_plain_softmax():
    logits = drawn(1, ROWS, CLASSES)
    loss = NestedCollaborative(torch.full((CLASSES,), 7), hard_classes=CLASSES).double()
    got = loss.parts(logits, LABELS)["individual"]
    torch.testing.assert_close(got, 2 * torch.nn.functional.cross_entropy(logits[0], LABELS))


def test_the_gradient_is_that_of_the_codes_divergences_with_nothing_detached():
    logits = drawn(3, ROWS, CLASSES).requires_grad_()
    loss = made()
    (got,) = torch.autograd.grad(loss.parts(logits, LABELS)["inter"], logits)
    shares = (logits + loss.log_counts).log_softmax(-1)
    mask = torch.zeros(ROWS, CLASSES, dtype=torch.float64)
    for n in range(ROWS):
        mask[n, list(hard_of(logits[0, n].tolist(), int(LABELS[n])))] = 1
    total = 0.0
    for i in range(3):
        for j in range(3):
            if i != j:
                terms = shares[j].exp() * (shares[j] - shares[i])
                total = total + (terms * (1 + mask)).sum() / ROWS
    (expected,) = torch.autograd.grad(0.6 * total / 3, logits)
    torch.testing.assert_close(got, expected)
    assert (got.abs().sum(dim=(1, 2)) > 0).all()


def test_a_picture_without_a_label_takes_part_in_the_agreement_alone():
    logits, labels = drawn(2, ROWS, CLASSES), LABELS.clone()
    labels[1] = -1
    got = made().parts(logits, labels)
    rest = [0, 2, 3]
    known = made().parts(logits[:, rest], labels[rest])
    torch.testing.assert_close(got["individual"], known["individual"])
    assert not torch.isclose(got["inter"], known["inter"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NestedCollaborative(torch.tensor([3, 0])), "a picture of every class"),
        (lambda: NestedCollaborative(COUNTS, hard_classes=7), r"hard_classes must lie in 1..6"),
        (lambda: NestedCollaborative(COUNTS, hard_classes=2, agreement_weight=-1.0), "agreement"),
        (lambda: made()(drawn(2, ROWS, 5), LABELS), r"logits must be \(K, N, 6\)"),
    ],
)
def test_what_does_not_fit_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
