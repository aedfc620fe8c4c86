"""The faster ways of a depth-wise convolution give what the plain one gives."""

import pytest
import torch
from torch.nn import functional as F

from crossface.nets.layers import DepthwiseConv2d

SHAPES = {
    "whole map": (7, 1, 0, 7),
    "stride 2": (3, 2, 1, 8),
    "stride 2, odd side": (3, 2, 1, 9),
    "stride 1": (3, 1, 1, 8),
    "whole map larger than the kernel": (7, 1, 0, 9),
}


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_a_plain_convolution(shape, bf16):
    kernel, stride, padding, side = SHAPES[shape]
    torch.manual_seed(0)
    layer = DepthwiseConv2d(6, kernel, stride, padding).train()
    x = torch.randn(4, 6, side, side).contiguous(memory_format=torch.channels_last)
    results = []
    for way in (layer, lambda v: F.conv2d(v, layer.weight, None, stride, padding, 1, 6)):
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16 and way is layer):
            out = way(given)
        turned = torch.linspace(-1, 1, out.numel()).reshape(out.shape)
        gradients = torch.autograd.grad((out.float() * turned).sum(), [given, layer.weight])
        results.append([out.float(), *gradients])
    for ours, plain in zip(*results, strict=True):
        error = (ours - plain).abs().max() / plain.abs().max()
        assert error < (0.02 if bf16 else 1e-5)


def test_evaluation_is_a_plain_convolution():
    layer = DepthwiseConv2d(4, 7).eval()
    x = torch.randn(2, 4, 7, 7)
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, groups=4))
