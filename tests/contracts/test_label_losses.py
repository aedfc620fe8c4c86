"""What every loss over outputs and labels must do."""

import pytest
import torch

from crossface.losses import LABEL_LOSSES

ROWS, DIM, CLASSES = 7, 6, 5
LABELS = torch.tensor([0, 0, 1, 1, 2, 4, -1])
ORDER = torch.tensor([3, 1, 6, 4, 0, 2, 5])


def drawn(*shape, seed=0, dtype=torch.float64, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(*shape, generator=generator, dtype=torch.float64) * spread).to(dtype)


def outputs_of(name, **options):
    """What the loss is a function of; rows along dimension -2."""
    return drawn(2, ROWS, CLASSES, **options) if name == "ncl" else drawn(ROWS, DIM, **options)


def call(name, outputs, labels=LABELS, order=None):
    """A loss of the table, whatever else it takes."""
    made = LABEL_LOSSES.resolve(name)
    if name == "harmonic_triplet":
        old = drawn(ROWS, DIM, seed=1, dtype=outputs.dtype)
        return made(outputs, labels, old if order is None else old[order])
    if name == "ncl":
        made = made(torch.tensor([9, 4, 1, 2, 30]), hard_classes=3)
    return made(outputs, labels)


NAMES = LABEL_LOSSES.names()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_right_by_finite_differences(name):
    x = outputs_of(name).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: call(name, y), (x,))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_positive_scalar_that_does_not_depend_on_the_order_of_rows(name):
    x = outputs_of(name)
    value = call(name, x)
    assert value.ndim == 0
    assert value > 0
    mixed = call(name, x.index_select(-2, ORDER), LABELS[ORDER], order=ORDER)
    torch.testing.assert_close(mixed, value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_it_is_finite_in_low_precision(name, dtype):
    x = outputs_of(name, dtype=dtype, spread=20.0).requires_grad_()
    value = call(name, x)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_any_label_teaches_no_class_and_breaks_nothing(name):
    x = outputs_of(name).requires_grad_()
    value = call(name, x, torch.full_like(LABELS, -1))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_twenty_steps_lower_it(name):
    x = outputs_of(name).requires_grad_()
    optimizer = torch.optim.SGD([x], lr=1.0)
    history = []
    for _ in range(20):
        value = call(name, x)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.append(value.item())
    assert history[-1] < history[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "labels", [LABELS[:3], LABELS.float(), torch.full_like(LABELS, -2)], ids=["few", "real", "low"]
)
def test_labels_that_do_not_fit_are_refused(name, labels):
    with pytest.raises(ValueError, match="labels must"):
        call(name, outputs_of(name), labels)
