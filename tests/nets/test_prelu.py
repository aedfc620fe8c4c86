"""The vectorised PReLU gives what torch's gives."""

import pytest
import torch
from torch import nn

from crossface.nets.layers import PReLU


def twins(channels):
    torch.manual_seed(0)
    ours, plain = PReLU(channels).train(), nn.PReLU(channels).train()
    with torch.no_grad():
        ours.weight.copy_(torch.randn(channels))
        plain.weight.copy_(ours.weight)
    return ours, plain


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("shape", [(4, 6, 5, 3), (4, 6)], ids=["map", "vector"])
def test_values_and_gradients_are_those_of_torch(shape, bf16):
    ours, plain = twins(6)
    x = torch.randn(shape)
    x.view(-1)[::7] = 0  # the kink belongs to the sloped side
    if len(shape) == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    results = []
    for layer in (ours, plain):
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16 and layer is ours):
            out = layer(given.bfloat16() if bf16 and layer is ours else given)
        turned = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
        gradients = torch.autograd.grad((out.float() * turned).sum(), [given, layer.weight])
        results.append([out.float(), *gradients])
    for mine, theirs in zip(*results, strict=True):
        error = (mine - theirs).abs().max() / theirs.abs().max()
        assert error < (0.02 if bf16 else 1e-6)


def test_an_inverted_slope_keeps_its_sign():
    ours, _ = twins(1)
    with torch.no_grad():
        ours.weight.fill_(-2.0)
    x = torch.tensor([[-3.0], [0.0], [4.0]], requires_grad=True)
    ours(x).sum().backward()
    assert x.grad.flatten().tolist() == [-2.0, -2.0, 1.0]
    assert ours.weight.grad.tolist() == [-3.0]


def test_one_slope_for_all_channels_is_learnt_too():
    layer = PReLU().train()
    layer(-torch.ones(2, 3, 4, 4)).sum().backward()
    assert layer.weight.grad.tolist() == [-96.0]


def test_weights_and_evaluation_are_torchs():
    ours, plain = twins(3)
    assert list(ours.state_dict()) == list(plain.state_dict())
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(ours.eval()(x), plain.eval()(x))
