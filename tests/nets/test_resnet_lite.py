"""The student of dense convolutions."""

import pytest
import torch
from torch import nn

from crossface.core.errors import ConfigError
from crossface.nets import create_model


def test_shapes_and_size_of_the_packaged_student():
    net = create_model("resnet_lite", embedding_dim=256).eval()
    embedding, features = net.forward_both(torch.randn(2, 3, 112, 112))
    assert embedding.shape == (2, 256)
    assert features.tokens.shape == (2, 49, 256)
    # stem and strided convolutions, 2 and 3 basic units, 2 bottlenecks, head; norms are 2 a channel
    weights = 27 * 16 + 9 * (16 * 32 + 32 * 64 + 64 * 128)
    weights += 2 * 2 * 9 * 32**2 + 3 * 2 * 9 * 64**2 + 2 * (2 * 128 * 64 + 9 * 64**2)
    weights += 128 * 256 + 49 * 256 + 256 * 256
    norms = 16 + 32 * 5 + 64 * 7 + 128 * 3 + 64 * 4 + 256 * 3
    assert sum(p.numel() for p in net.parameters()) == weights + 2 * norms


def test_width_scales_channels_in_steps_of_eight_and_units_are_counted():
    net = create_model("resnet_lite", width=0.7, units_28=1, units_14=0, units_7=3)
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions if c.stride == (2, 2)] == [8, 24, 48, 88]
    assert len(convolutions) == 4 + 2 + 0 + 9 + 2  # strided, units, head


def test_gradients_reach_every_weight():
    net = create_model("resnet_lite", width=0.5, units_14=1).train()
    net(torch.randn(4, 3, 112, 112)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@pytest.mark.parametrize("options", [{"width": 0.1}, {"units_7": -1}])
def test_what_cannot_be_made_is_refused(options):
    with pytest.raises(ConfigError, match="must"):
        create_model("resnet_lite", **options)


def test_the_narrowest_has_channels_everywhere():
    net = create_model("resnet_lite", width=0.25, embedding_dim=16)
    assert min(p.numel() for p in net.parameters()) > 0
    assert net.eval()(torch.zeros(1, 3, 112, 112)).shape == (1, 16)
