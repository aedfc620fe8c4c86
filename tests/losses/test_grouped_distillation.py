"""GKD against loops over the formulas and against its identities with KD and DKD."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.losses.gkd import (
    GroupedDistillation,
    adaptive_group_size,
    group_decomposition,
    hinton_kd,
    primary_group,
)


def drawn(rows=4, classes=12, seed=0, spread=6.0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(rows, classes, generator=generator, dtype=torch.float64) * spread
    teacher = torch.randn(rows, classes, generator=generator, dtype=torch.float64) * spread
    labels = torch.randint(0, classes, (rows,), generator=generator)
    return student, teacher, labels


def loop_softmax(values, temperature):
    exps = [math.exp((v - max(values)) / temperature) for v in values]
    return [e / sum(exps) for e in exps]


def loop_kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def loop_parts(teacher_row, student_row, members, temperature):
    """(binary, primary, secondary, teacher mass) of one row, straight from the definition."""
    p, q = loop_softmax(teacher_row, temperature), loop_softmax(student_row, temperature)
    rest = [i for i in range(len(p)) if i not in members]
    p_in, q_in = sum(p[i] for i in members), sum(q[i] for i in members)
    p_out, q_out = sum(p[i] for i in rest), sum(q[i] for i in rest)
    binary = loop_kl([p_in, p_out], [q_in, q_out]) if rest else 0.0
    primary = loop_kl([p[i] / p_in for i in members], [q[i] / q_in for i in members])
    secondary = loop_kl([p[i] / p_out for i in rest], [q[i] / q_out for i in rest]) if rest else 0.0
    return binary, primary, secondary, p_in


def loop_members(scores, label, size):
    order = sorted(range(len(scores)), key=lambda i: (i != label, -scores[i]))
    return set(order[:size])


def loop_gkd(student, teacher, labels, size, weights, temperature, by_teacher):
    total = 0.0
    for s, t, label in zip(student.tolist(), teacher.tolist(), labels.tolist(), strict=True):
        members = loop_members(t if by_teacher else s, label, size)
        binary, primary, secondary, _ = loop_parts(t, s, members, temperature)
        total += weights[0] * primary + weights[1] * binary + weights[2] * secondary
    return temperature**2 * total / len(labels)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 12),
    temperature=st.floats(0.5, 8),
    weights=st.tuples(st.floats(0, 9), st.floats(0, 9), st.floats(0, 9)),
    by_teacher=st.booleans(),
)
def test_gkd_is_the_loop_over_its_formula(seed, size, temperature, weights, by_teacher):
    student, teacher, labels = drawn(seed=seed)
    loss = GroupedDistillation(
        primary_weight=weights[0],
        binary_weight=weights[1],
        secondary_weight=weights[2],
        temperature=temperature,
        group=size,
        select_by="teacher" if by_teacher else "student",
    )
    expected = loop_gkd(student, teacher, labels, size, weights, temperature, by_teacher)
    assert loss(student, teacher, labels).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), chance=st.floats(0, 1), temperature=st.floats(0.5, 8))
def test_decomposition_is_the_loop_and_adds_up_to_kd(seed, chance, temperature):
    student, teacher, _ = drawn(seed=seed)
    mask = torch.rand(student.shape, generator=torch.Generator().manual_seed(seed)) < chance
    mask[:, 0] = True
    parts = group_decomposition(teacher, student, mask, temperature)
    for row in range(len(student)):
        members = set(torch.nonzero(mask[row]).flatten().tolist())
        expected = loop_parts(teacher[row].tolist(), student[row].tolist(), members, temperature)
        got = [part[row].item() for part in parts]
        assert got == pytest.approx(list(expected), rel=1e-9, abs=1e-9)
    total = (
        parts.binary
        + parts.teacher_mass * parts.primary
        + (1 - parts.teacher_mass) * parts.secondary
    )
    kd = hinton_kd(student, teacher, temperature)
    torch.testing.assert_close(temperature**2 * total.mean(), kd, rtol=1e-12, atol=1e-12)


def test_hinton_kd_is_torch_kl_times_temperature_squared():
    student, teacher, _ = drawn()
    expected = 16 * F.kl_div(
        F.log_softmax(student / 4, 1), F.softmax(teacher / 4, 1), reduction="batchmean"
    )
    torch.testing.assert_close(hinton_kd(student, teacher, 4.0), expected)


def test_group_of_all_classes_has_no_binary_and_its_primary_is_kd():
    student, teacher, labels = drawn()
    whole = torch.ones_like(student, dtype=torch.bool)
    parts = group_decomposition(teacher, student, whole)
    assert parts.binary.eq(0).all()
    assert parts.secondary.eq(0).all()
    assert parts.teacher_mass.eq(1).all()
    loss = GroupedDistillation(primary_weight=1, group=12)
    torch.testing.assert_close(loss(student, teacher, labels), hinton_kd(student, teacher))


def test_group_of_one_is_dkd():
    """Decoupled KD (arXiv:2203.08679): target-class and non-target-class terms."""
    student, teacher, labels = drawn()
    p, q = F.softmax(teacher / 4, 1), F.softmax(student / 4, 1)
    target, others = 0.0, 0.0
    for row, label in enumerate(labels.tolist()):
        target += loop_kl([p[row, label], 1 - p[row, label]], [q[row, label], 1 - q[row, label]])
        rest = [i for i in range(12) if i != label]
        others += loop_kl(
            F.softmax(teacher[row, rest] / 4, 0).tolist(),
            F.softmax(student[row, rest] / 4, 0).tolist(),
        )
    rows = len(labels)
    tckd = GroupedDistillation(primary_weight=0, binary_weight=1, group=1)
    nckd = GroupedDistillation(primary_weight=0, binary_weight=0, secondary_weight=1, group=1)
    inner = GroupedDistillation(primary_weight=1, binary_weight=0, group=1)
    assert tckd(student, teacher, labels).item() == pytest.approx(16 * float(target) / rows)
    assert nckd(student, teacher, labels).item() == pytest.approx(16 * others / rows)
    assert inner(student, teacher, labels).item() == 0


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 12))
def test_label_is_always_in_the_primary_group(seed, size):
    student, _, labels = drawn(seed=seed)
    student[torch.arange(len(labels)), labels] = -1e4
    members = primary_group(student, labels, size)
    assert members.shape == (len(labels), size)
    for row, label in zip(members.tolist(), labels.tolist(), strict=True):
        assert label in row
        assert len(set(row)) == size


def test_row_without_label_takes_its_top_classes():
    student, _, _ = drawn()
    members = primary_group(student, torch.full((4,), -1), 3)
    for row, values in zip(members.tolist(), student.tolist(), strict=True):
        assert set(row) == loop_members(values, -1, 3)


def test_classes_outside_the_group_get_gradient_only_through_binary():
    student, teacher, labels = drawn()
    members = primary_group(student, labels, 5)
    outside = torch.ones_like(student, dtype=torch.bool).scatter(1, members, False)

    def gradient(**weights):
        leaf = student.clone().requires_grad_()
        GroupedDistillation(group=5, **weights)(leaf, teacher, labels).backward()
        return leaf.grad

    assert gradient(primary_weight=8, binary_weight=0)[outside].eq(0).all()
    both = gradient(primary_weight=8, binary_weight=1)
    binary = gradient(primary_weight=0, binary_weight=1)
    torch.testing.assert_close(both[outside], binary[outside])
    assert binary[outside].abs().min() > 0


def test_teacher_logits_get_no_gradient():
    student, teacher, labels = drawn()
    student.requires_grad_()
    teacher.requires_grad_()
    (
        GroupedDistillation(group=5)(student, teacher, labels) + hinton_kd(student, teacher)
    ).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("gap", [60.0, 4000.0])
def test_a_rest_of_vanishing_probability_stays_finite_and_right(gap):
    """Where 1 - P(M) rounds to 0 in float32: the binary term is P(M) times nothing, not log 0."""
    student = torch.full((1, 50), -gap)
    student[0, 0] = gap
    student.requires_grad_()
    teacher = torch.zeros(1, 50)
    teacher[0, 0] = 8.0
    loss = GroupedDistillation(primary_weight=0, temperature=1, group=1)
    value = loss(student, teacher, torch.tensor([0]))
    p_out = 49 / (49 + math.exp(8.0))
    log_q_out = math.log(49) - 2 * gap
    expected = (1 - p_out) * math.log(1 - p_out) + p_out * (math.log(p_out) - log_q_out)
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert torch.isfinite(student.grad).all()
    assert student.grad[0, 0].item() == pytest.approx(p_out, rel=1e-4)


def loop_adaptive(logits, rate, step):
    rows = [loop_softmax(row, 1.0) for row in logits.tolist()]
    mass = sorted((sum(column) for column in zip(*rows, strict=True)), reverse=True)
    size = 1
    while size <= len(mass):
        if sum(mass[:size]) >= rate * len(rows):
            return size
        size += step
    return len(mass)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 10_000),
    rate=st.floats(0.05, 0.999),
    step=st.integers(1, 9),
    spread=st.floats(0.1, 8),
)
def test_adaptive_size_is_the_loop_over_the_published_rule(seed, rate, step, spread):
    logits, _, _ = drawn(rows=5, classes=40, seed=seed, spread=spread)
    assert adaptive_group_size(logits, rate=rate, step=step) == loop_adaptive(logits, rate, step)


@pytest.mark.parametrize(("classes", "step"), [(40, 1), (2_000, 2), (85_742, 100)])
def test_adaptive_step_scales_with_the_classes_and_is_the_published_one_at_theirs(classes, step):
    flat = torch.zeros(1, classes)
    size = adaptive_group_size(flat, rate=0.5)
    assert (size - 1) % step == 0
    assert classes / 2 <= size < classes / 2 + step + 1


def test_adaptive_group_is_logged_and_used():
    student, teacher, labels = drawn(rows=8, classes=40, spread=2.0)
    loss = GroupedDistillation(group="adaptive")
    value = loss(student, teacher, labels)
    assert loss.last_group_size == loop_adaptive(student, 0.93, 1)
    fixed = GroupedDistillation(group=loss.last_group_size)
    torch.testing.assert_close(value, fixed(student, teacher, labels))


@pytest.mark.parametrize(("classes", "size"), [(1, 1), (4, 1), (1000, 117), (85_742, 10_032)])
def test_default_group_is_the_published_share_of_the_classes(classes, size):
    loss = GroupedDistillation()
    loss(torch.zeros(1, classes), torch.zeros(1, classes), torch.tensor([0]))
    assert loss.last_group_size == size


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GroupedDistillation(group=0), "group must be"),
        (lambda: GroupedDistillation(group="all"), "group must be"),
        (lambda: GroupedDistillation(select_by="both"), "select_by must be"),
        (lambda: GroupedDistillation(binary_weight=-1.0), "must not be negative"),
        (lambda: hinton_kd(torch.zeros(2, 3), torch.zeros(2, 4)), "one shape"),
        (lambda: hinton_kd(torch.zeros(0, 3), torch.zeros(0, 3)), "N >= 1"),
        (lambda: hinton_kd(torch.zeros(2, 3), torch.zeros(2, 3), 0.0), "temperature"),
        (lambda: hinton_kd(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)), r"must be \(N, C\)"),
        (
            lambda: group_decomposition(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(2, 3)),
            "bool",
        ),
        (lambda: adaptive_group_size(torch.zeros(2, 3), rate=1.5), "rate must lie"),
        (lambda: adaptive_group_size(torch.zeros(3)), r"logits must be \(N, C\)"),
    ],
)
def test_gkd_refuses_what_cannot_be_meant(make, words):
    with pytest.raises(ValueError, match=words):
        make()
