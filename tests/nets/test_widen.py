"""A widened network says what the narrow one said."""

import copy

import pytest
import torch

from crossface import create_model
from crossface.nets.widen import widen_into

NARROW = {
    "resnet_lite": {"width": 0.25, "last_channels": 32},
    "mobilefacenet": {"width": 0.25, "last_channels": 64},
}
WIDE = {
    "resnet_lite": {"width": 0.5, "last_channels": 48},
    "mobilefacenet": {"width": 0.375, "last_channels": 96},
}


def lively(name, **options):
    """A network whose batch norms have statistics and affine maps of their own."""
    net = create_model(name, embedding_dim=24, **options)
    generator = torch.Generator().manual_seed(3)
    for value in net.state_dict().values():
        if value.ndim == 1 and value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return net.eval(), generator


@pytest.mark.parametrize("name", NARROW)
def test_the_embedding_stays_and_new_channels_can_learn(name):
    narrow, generator = lively(name, **NARROW[name])
    wide, _ = lively(name, **WIDE[name])
    widen_into(wide, narrow)
    pictures = torch.randn(2, 3, 112, 112, generator=generator)
    with torch.no_grad():
        assert torch.allclose(wide(pictures), narrow(pictures), rtol=1e-4, atol=1e-4)
    wide(pictures).square().sum().backward()
    last = wide.project if hasattr(wide, "project") else None
    if last is not None:
        assert (last.weight[:, narrow.feature_dim :] == 0).all()
        assert last.weight.grad[:, narrow.feature_dim :].abs().max() > 0


def test_the_same_size_is_a_copy():
    narrow, _ = lively("resnet_lite", **NARROW["resnet_lite"])
    other = create_model("resnet_lite", embedding_dim=24, **NARROW["resnet_lite"])
    widen_into(other, narrow)
    for key, value in narrow.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_networks_that_do_not_fit_are_refused_untouched():
    narrow, _ = lively("resnet_lite", **NARROW["resnet_lite"])
    wide, _ = lively("resnet_lite", **WIDE["resnet_lite"])
    before = copy.deepcopy(narrow.state_dict())
    with pytest.raises(ValueError, match="in the other"):
        widen_into(narrow, wide)
    assert all(torch.equal(before[key], value) for key, value in narrow.state_dict().items())
    deeper, _ = lively("resnet_lite", units_28=3, **WIDE["resnet_lite"])
    with pytest.raises(ValueError, match="other tensors"):
        widen_into(deeper, narrow)
