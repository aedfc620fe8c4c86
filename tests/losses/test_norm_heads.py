"""AdaFace and MagFace against loops over their formulas, and the heads against another library."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import ArcFaceLoss, CosFaceLoss

from crossface.losses.adaface import AdaFace
from crossface.losses.magface import MagFace
from crossface.losses.margin import ArcFace, CosFace

ROWS, CLASSES, DIM = 6, 5, 8
LABELS = torch.tensor([0, 1, 2, 3, 4, -1])
KNOWN = LABELS != -1


def drawn(lengths, seed=0):
    """(ROWS, DIM) float64 rows of given lengths."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(ROWS, DIM, generator=generator, dtype=torch.float64)
    return (
        rows / rows.norm(dim=1, keepdim=True) * torch.tensor(lengths, dtype=torch.float64)[:, None]
    )


def made(kind, **options):
    torch.manual_seed(0)
    return kind(CLASSES, DIM, **options).double()


def cosines(x, centres):
    """Lists of cosines, one by one."""
    return [[float(row @ centre / (row.norm() * centre.norm())) for centre in centres] for row in x]


def loop_adaface(x, centres, mean, std, margin, h, scale):
    out = cosines(x, centres)
    for n, label in enumerate(LABELS.tolist()):
        if label >= 0:
            length = min(max(float(x[n].norm()), 0.001), 100)
            z = min(max((length - mean) / (std + 1e-3) * h, -1), 1)
            angle = math.acos(min(max(out[n][label], -1 + 1e-3), 1 - 1e-3)) - margin * z
            angle = min(max(angle, 1e-3), math.pi - 1e-3)
            out[n][label] = math.cos(angle) - (margin + margin * z)
        out[n] = [scale * value for value in out[n]]
    return torch.tensor(out, dtype=torch.float64)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    margin=st.floats(0, 0.9),
    h=st.floats(0, 2),
    lengths=st.lists(st.floats(0.01, 150), min_size=ROWS, max_size=ROWS),
)
def test_adaface_is_the_loop_over_its_formula(seed, margin, h, lengths):
    head = made(AdaFace, margin=margin, concentration=h).eval()
    x = drawn(lengths, seed)
    expected = loop_adaface(x, head.centres.detach(), 20, 100, margin, h, 64)
    torch.testing.assert_close(head(x, LABELS), expected)


def test_adaface_follows_the_norms_of_labelled_rows_and_uses_the_new_statistics():
    head = made(AdaFace, rate=0.25)
    x = drawn([1, 2, 4, 8, 300, 50])
    got = head(x, LABELS)
    seen = [1.0, 2.0, 4.0, 8.0, 100.0]  # clipped at 100, the last row has no label
    average = sum(seen) / 5
    deviation = math.sqrt(sum((v - average) ** 2 for v in seen) / 4)
    mean, std = 0.75 * 20 + 0.25 * average, 0.75 * 100 + 0.25 * deviation
    assert head.mean.item() == pytest.approx(mean)
    assert head.std.item() == pytest.approx(std)
    expected = loop_adaface(x, head.centres.detach(), mean, std, 0.4, 0.333, 64)
    torch.testing.assert_close(got, expected)
    head.eval()(x, LABELS)
    assert head.mean.item() == pytest.approx(mean)


def test_one_row_moves_the_mean_and_not_the_deviation_and_none_moves_nothing():
    head = made(AdaFace)
    head(drawn([5] * ROWS)[:1], torch.tensor([0]))
    assert head.mean.item() == pytest.approx(0.99 * 20 + 0.01 * 5)
    assert head.std.item() == 100
    before = head.mean.item()
    head(drawn([5] * ROWS), torch.full((ROWS,), -1))
    assert head.mean.item() == before


def test_no_gradient_reaches_the_length_of_an_embedding_through_adaface():
    head = made(AdaFace)
    x = drawn([3, 9, 20, 30, 60, 9]).requires_grad_()
    head.loss(x, LABELS)["loss"].backward()
    along = (x.grad * x).sum(dim=1)
    assert along.abs().max() < 1e-12 < x.grad.norm(dim=1)[:5].min()


def theirs(kind, centres, **options):
    """A loss of pytorch-metric-learning over our centres; its weights are (D, C)."""
    loss = kind(CLASSES, DIM, **options)
    loss.W = torch.nn.Parameter(centres.detach().T.clone())
    return loss


# Their margin of ArcFace is in degrees, ours in radians.
PAIRS = [
    pytest.param(
        lambda: made(ArcFace, margin_rad=0.5, scale=64.0),
        lambda c: theirs(ArcFaceLoss, c, margin=math.degrees(0.5), scale=64),
        id="arcface",
    ),
    pytest.param(
        lambda: made(CosFace, margin=0.35, scale=30.0),
        lambda c: theirs(CosFaceLoss, c, margin=0.35, scale=30),
        id="cosface",
    ),
    pytest.param(  # z' = -1: lengths far below the mean
        lambda: made(AdaFace, margin=0.4, concentration=1e4).eval(),
        lambda c: theirs(ArcFaceLoss, c, margin=math.degrees(0.4), scale=64),
        id="adaface of poor pictures is arcface",
    ),
    pytest.param(  # z' = 0 whatever the length
        lambda: made(AdaFace, margin=0.4, concentration=0.0).eval(),
        lambda c: theirs(CosFaceLoss, c, margin=0.4, scale=64),
        id="adaface of usual pictures is cosface",
    ),
    pytest.param(
        lambda: made(MagFace, low_margin_rad=0.5, high_margin_rad=0.5, regulariser_weight=0.0),
        lambda c: theirs(ArcFaceLoss, c, margin=math.degrees(0.5), scale=64),
        id="magface of one margin is arcface",
    ),
]


@pytest.mark.parametrize(("ours", "other"), PAIRS)
def test_heads_agree_with_pytorch_metric_learning_in_loss_and_gradients(ours, other):
    head = ours()
    other = other(head.centres)
    a = drawn([3, 4, 5, 6, 7, 8])[KNOWN].requires_grad_()
    b = a.detach().clone().requires_grad_()
    mine, expected = head.loss(a, LABELS[KNOWN])["loss"], other(b, LABELS[KNOWN])
    torch.testing.assert_close(mine, expected)
    mine.backward()
    expected.backward()
    torch.testing.assert_close(a.grad, b.grad)
    torch.testing.assert_close(head.centres.grad, other.W.grad.T)


def loop_magface(x, centres, scale=64.0):
    out, prices = cosines(x, centres), []
    for n, label in enumerate(LABELS.tolist()):
        if label >= 0:
            length = min(max(float(x[n].norm()), 10), 110)
            margin = 0.45 + (0.8 - 0.45) / (110 - 10) * (length - 10)
            angle = math.acos(out[n][label])
            beyond = angle + margin > math.pi
            fallback = out[n][label] - margin * math.sin(margin)
            out[n][label] = fallback if beyond else math.cos(angle + margin)
            prices.append(length / 110**2 + 1 / length)
        out[n] = [scale * value for value in out[n]]
    return torch.tensor(out, dtype=torch.float64), sum(prices) / len(prices)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    lengths=st.lists(st.floats(1, 150), min_size=ROWS, max_size=ROWS),
)
def test_magface_is_the_loop_over_its_formula(seed, lengths):
    head = made(MagFace)
    x = drawn(lengths, seed)
    logits, price = loop_magface(x, head.centres.detach())
    torch.testing.assert_close(head(x, LABELS), logits)
    losses = head.loss(x, LABELS)
    entropies = [
        math.log(sum(math.exp(v - max(row)) for v in row)) + max(row) - row[label]
        for row, label in zip(logits.tolist(), LABELS.tolist(), strict=True)
        if label >= 0
    ]
    assert losses["magnitude"].item() == pytest.approx(price)
    assert losses["ce"].item() == pytest.approx(sum(entropies) / 5)
    assert losses["loss"].item() == pytest.approx(sum(entropies) / 5 + 35 * price)


def test_magface_falls_with_the_angle_over_all_angles():
    head = MagFace(1, 2, init="normal").double()
    with torch.no_grad():
        head.centres.copy_(torch.tensor([[1.0, 0.0]]))
    angles = torch.linspace(0, math.pi, 1001, dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], 1) * 60
    target = head(x, torch.zeros(len(x), dtype=torch.int64))[:, 0]
    assert (target.diff() < 0).all()


def test_magface_sends_its_gradient_to_the_length_too():
    head, x = made(MagFace), drawn([12, 30, 60, 100, 109, 50]).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: head.loss(x, LABELS)["loss"], (x,))


def test_the_regulariser_of_magface_asks_for_length_up_to_the_upper_norm():
    head = made(MagFace)
    x = drawn([12, 30, 60, 100, 109, 50]).requires_grad_()
    head.loss(x, LABELS)["magnitude"].backward()
    along = (x.grad * x).sum(dim=1)
    assert (along[:5] < 0).all()
    assert along[5] == 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AdaFace(3, 4, margin=1.0), r"margin must lie in \[0, 1\)"),
        (lambda: AdaFace(3, 4, rate=0.0), r"rate must lie in \(0, 1\]"),
        (lambda: AdaFace(3, 4, concentration=-1.0), "concentration must not be negative"),
        (lambda: MagFace(3, 4, low_norm=110.0), "0 < low < high"),
        (lambda: MagFace(3, 4, high_margin_rad=0.4), "0 <= low <= high < pi"),
        (lambda: MagFace(3, 4, regulariser_weight=-1.0), "regulariser_weight must not be negative"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
