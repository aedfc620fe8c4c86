"""UNPG against a loop that appends every pair to every row, and its memory."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from crossface.losses.unpg import Unpg, negative_cosines

CLASSES, DIM = 5, 8
LABELS = torch.tensor([0, 1, 1, 2, 4, -1, 0, 3])


def drawn(rows=8, dim=DIM, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dim, generator=generator, dtype=torch.float64)


def made(**options):
    torch.manual_seed(0)
    return Unpg(CLASSES, DIM, **options).double()


def loop_pairs(x, labels, whisker):
    """Cosines of unlike pairs inside the box plot's whiskers, in sorted order."""
    found = []
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            if -1 not in {int(labels[i]), int(labels[j])} and labels[i] != labels[j]:
                found.append(float(x[i] @ x[j] / (x[i].norm() * x[j].norm())))
    found.sort()
    low, high = found[int(0.25 * len(found))], found[int(0.75 * len(found))]
    reach = whisker * (high - low)
    return [v for v in found if low - reach <= v <= high + reach]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), whisker=st.floats(0, 2), scale=st.floats(1, 64))
def test_unpg_is_the_loop_that_appends_the_pairs_to_every_row(seed, whisker, scale):
    head, x = made(whisker=whisker, scale=scale, margin=0.3), drawn(seed=seed)
    pairs = [scale * value for value in loop_pairs(x, LABELS, whisker)]
    losses = []
    for row, label in zip(head(x, LABELS).tolist(), LABELS.tolist(), strict=True):
        if label >= 0:
            every = [*row, *pairs]
            top = max(every)
            losses.append(math.log(sum(math.exp(v - top) for v in every)) + top - row[label])
    expected = sum(losses) / len(losses)
    assert head.loss(x, LABELS)["loss"].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("whisker", [0.2, 1.0, 1.5, math.inf])
def test_the_pairs_kept_are_those_of_the_loop(whisker):
    x = drawn(seed=3)
    got = negative_cosines(x, LABELS, whisker=whisker).sort().values
    everything = whisker if whisker < math.inf else 1e9
    expected = torch.tensor(loop_pairs(x, LABELS, everything), dtype=torch.float64)
    torch.testing.assert_close(got, expected)


def test_a_batch_of_one_person_leaves_the_base_heads_loss():
    head, x = made(), drawn()
    labels = torch.full_like(LABELS, 2)
    expected = head.head.loss(x, labels)["loss"]
    torch.testing.assert_close(head.loss(x, labels)["loss"], expected, rtol=0, atol=0)
    assert head.loss(x, LABELS)["loss"] > head.head.loss(x, LABELS)["loss"]


def test_magface_keeps_its_regulariser_under_unpg():
    head, x = made(base="magface"), drawn() * 9
    losses = head.loss(x, LABELS)
    plain = head.head.loss(x, LABELS)
    torch.testing.assert_close(losses["magnitude"], plain["magnitude"])
    assert losses["ce"] > plain["ce"]
    torch.testing.assert_close(losses["loss"], losses["ce"] + 35 * losses["magnitude"])


class Largest(TorchDispatchMode):
    """Remembers the most bytes of any tensor that an operation gave."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return out


@pytest.mark.parametrize("rows", [128, 512])
def test_no_tensor_is_larger_than_two_indices_for_every_pair_of_the_batch(rows):
    labels = torch.arange(rows) // 2
    head = Unpg(rows, 16)
    x = drawn(rows, 16).float().requires_grad_()
    with Largest() as largest:
        head.loss(x, labels)["loss"].backward()
    # int64 row and column of every pair; appended to every row they were rows / 4 times as much.
    assert largest.bytes <= 2 * 8 * rows * (rows - 1) / 2
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(
    ("options", "words"),
    [({"base": "unpg"}, "another head"), ({"whisker": -1.0}, "whisker must not be negative")],
)
def test_options_that_cannot_be_meant_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Unpg(CLASSES, DIM, **options)
