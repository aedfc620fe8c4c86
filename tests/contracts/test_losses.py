"""What every head and every loss of the tables must do."""

import pytest
import torch
import torch.nn.functional as F

from crossface.losses import HEADS, LOSSES

ROWS, CLASSES, DIM = 5, 7, 6
LABELS = torch.tensor([0, 3, 6, 2, -1])
LABELLED = LABELS != -1

LOGIT_LOSSES = {"dkd", "gkd", "hinton_kd", "ofa"}
TAKES_LABELS = {"dkd", "ekd", "gkd", "ofa"}
OPTIONS = {"gkd": {"group": 3}, "rpsd": {"dim": DIM, "bank": 8, "mined": 2}}
MAP_SHAPES = {
    "cadfr_attention": (ROWS, 2, 4, 4),
    "cadfr_feature": (ROWS, 4, DIM),
    "hint": (ROWS, 2, 2, DIM),
}


def drawn(*shape, seed=0, dtype=torch.float64, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * spread).to(dtype)


def make_head(name, dtype=torch.float64):
    torch.manual_seed(0)
    head = HEADS.resolve(name)(CLASSES, DIM, scale=8.0)
    return head.to(dtype).eval()  # statistics that follow the batches stand still


def still(x):
    """The rows with lengths that do not change: AdaFace sends no gradient to them on purpose."""
    return F.normalize(x) * torch.tensor([[2.0], [9.0], [20.0], [60.0], [5.0]], dtype=x.dtype)


def shape_of(name):
    fallback = (ROWS, CLASSES) if name in LOGIT_LOSSES else (ROWS, DIM)
    return MAP_SHAPES.get(name, fallback)


def call(name, student, teacher, labels=LABELS):
    """A loss of the table, whatever else it takes."""
    made = LOSSES.resolve(name)
    if isinstance(made, type):
        made = made(**OPTIONS.get(name, {})).eval()  # what a batch leaves behind stays out of it
    return made(student, teacher, labels) if name in TAKES_LABELS else made(student, teacher)


@pytest.mark.parametrize("name", HEADS.names())
def test_head_gradient_is_right_by_finite_differences(name):
    head = make_head(name)
    embeddings = drawn(ROWS, DIM).requires_grad_()

    ((centres_name, centres),) = head.named_parameters()

    def logits(x, centres):
        return torch.func.functional_call(head, {centres_name: centres}, (still(x), LABELS))

    centres = centres.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(logits, (embeddings, centres))


@pytest.mark.parametrize("name", HEADS.names())
def test_loss_of_a_head_is_right_by_finite_differences(name):
    head = make_head(name)
    embeddings = drawn(ROWS, DIM).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: head.loss(still(x), LABELS)["loss"], (embeddings,))


@pytest.mark.parametrize("name", HEADS.names())
def test_loss_of_a_head_is_named_and_zero_without_labels_but_for_its_own_terms(name):
    head, x = make_head(name), drawn(ROWS, DIM).requires_grad_()
    losses = head.loss(x, LABELS)
    assert all(value.ndim == 0 and value.isfinite() for value in losses.values())
    assert losses["loss"] > 0
    nothing = head.loss(x, torch.full_like(LABELS, -1))["loss"]
    nothing.backward()
    assert nothing.item() == 0
    assert x.grad.eq(0).all()


@pytest.mark.parametrize("name", HEADS.names())
def test_loss_of_a_head_leaves_unlabelled_rows_out(name):
    head, x = make_head(name), drawn(ROWS, DIM)
    whole, labelled = head.loss(x, LABELS), head.loss(x[LABELLED], LABELS[LABELLED])
    for part, value in whole.items():
        torch.testing.assert_close(value, labelled[part])


@pytest.mark.parametrize("name", HEADS.names())
def test_twenty_steps_lower_the_loss_of_a_head_and_its_state_goes_on(name):
    torch.manual_seed(0)
    first, second = (HEADS.resolve(name)(CLASSES, DIM, scale=8.0) for _ in range(2))
    x = (drawn(ROWS, DIM, dtype=torch.float32) * 3).requires_grad_()
    optimizer = torch.optim.SGD([x, *first.parameters()], lr=0.3)
    history = []
    for _ in range(20):
        loss = first.loss(x, LABELS)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < history[0]
    second.load_state_dict(first.state_dict())
    assert second.loss(x, LABELS)["loss"].item() == first.loss(x, LABELS)["loss"].item()


@pytest.mark.parametrize("name", HEADS.names())
def test_head_gives_permuted_logits_for_permuted_rows(name):
    head, order = make_head(name), torch.tensor([3, 1, 4, 0, 2])
    x = drawn(ROWS, DIM)
    torch.testing.assert_close(head(x[order], LABELS[order]), head(x, LABELS)[order])


@pytest.mark.parametrize("name", HEADS.names())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_head_is_finite_in_sixteen_bits_at_the_published_scale(name, dtype):
    torch.manual_seed(0)
    head = HEADS.resolve(name)(CLASSES, DIM).to(dtype)
    x = drawn(ROWS, DIM, dtype=dtype, spread=30.0)
    x[0] = head.centres[0].detach()  # on its centre
    x[1] = -head.centres[3].detach()  # opposite to it
    x.requires_grad_()
    loss = head.loss(x, LABELS)["loss"]
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(head.centres.grad).all()


@pytest.mark.parametrize("name", HEADS.names())
def test_head_lowers_only_the_target_of_labelled_rows(name):
    head, x = make_head(name), drawn(ROWS, DIM)
    change = head(x, LABELS) - head(x, torch.full_like(LABELS, -1))
    target = F.one_hot(LABELS.clamp_min(0), CLASSES).bool() & LABELLED[:, None]
    assert (change[target] < 0).all()
    assert change[~target].eq(0).all()


@pytest.mark.parametrize("name", HEADS.names())
def test_head_comes_back_from_its_state(name):
    first, second = make_head(name), make_head(name)
    with torch.no_grad():
        first.centres.add_(1.0)
    second.load_state_dict(first.state_dict())
    x = drawn(ROWS, DIM)
    torch.testing.assert_close(first(x, LABELS), second(x, LABELS), rtol=0, atol=0)


@pytest.mark.parametrize("name", LOSSES.names())
def test_loss_gradient_is_right_by_finite_differences(name):
    student, teacher = drawn(*shape_of(name)).requires_grad_(), drawn(*shape_of(name), seed=1)
    assert torch.autograd.gradcheck(lambda x: call(name, x, teacher), (student,))


@pytest.mark.parametrize("name", LOSSES.names())
def test_loss_is_zero_when_student_is_teacher_and_positive_otherwise(name):
    student, teacher = drawn(*shape_of(name)), drawn(*shape_of(name), seed=1)
    assert call(name, teacher, teacher).item() == pytest.approx(0, abs=1e-12)
    assert call(name, student, teacher).item() > 1e-3


@pytest.mark.parametrize("name", LOSSES.names())
def test_loss_does_not_depend_on_the_order_of_rows(name):
    student, teacher = drawn(*shape_of(name)), drawn(*shape_of(name), seed=1)
    order = torch.tensor([3, 1, 4, 0, 2])
    mixed = call(name, student[order], teacher[order], LABELS[order])
    torch.testing.assert_close(mixed, call(name, student, teacher))


@pytest.mark.parametrize("name", LOSSES.names())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loss_is_finite_in_sixteen_bits(name, dtype):
    spread = 60.0 if name in LOGIT_LOSSES else 20.0
    student = drawn(*shape_of(name), dtype=dtype, spread=spread).requires_grad_()
    teacher = drawn(*shape_of(name), seed=1, dtype=dtype, spread=spread)
    value = call(name, student, teacher)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", LOSSES.names())
def test_loss_is_the_same_number_under_autocast(name):
    """A bf16 run computes its losses in float32: differences of similarities have few digits."""
    student = drawn(*shape_of(name), dtype=torch.float32)
    teacher = drawn(*shape_of(name), seed=1, dtype=torch.float32)
    plain = call(name, student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(call(name, student, teacher), plain, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", LOSSES.names())
def test_loss_takes_a_batch_without_any_label(name):
    student, teacher = drawn(*shape_of(name)), drawn(*shape_of(name), seed=1)
    assert torch.isfinite(call(name, student, teacher, torch.full_like(LABELS, -1)))
