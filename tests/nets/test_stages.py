"""Maps of stages: the network's own, in one pass, also compiled, and nothing left behind."""

import copy

import pytest
import torch

from crossface.core.errors import ConfigError
from crossface.nets import create_model
from crossface.nets.stages import StagedForward, stage_paths

SMALL = {"width": 0.1, "last_channels": 32, "embedding_dim": 16}


def pictures(count=2, seed=0):
    return torch.randn(count, 3, 112, 112, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return create_model("mobilefacenet", **SMALL).eval()


@pytest.mark.parametrize(
    ("name", "options", "paths", "sides"),
    [
        ("mobilefacenet", SMALL, ("blocks.4", "blocks.11", "blocks.14"), (28, 14, 7)),
        ("swin_nano", {}, ("stages.0", "stages.1", "stages.2"), (28, 14, 7)),
        ("iresnet18", {}, ("units.1", "units.3", "units.5", "units.7"), (56, 28, 14, 7)),
        ("vit_t", {}, ("blocks.2", "blocks.5", "blocks.8", "blocks.11"), (12, 12, 12, 12)),
        ("resnet_lite", {}, ("body.2", "body.7", "body.13", "body.21"), (56, 28, 14, 7)),
    ],
)
def test_stages_are_the_last_blocks_of_each_grid(name, options, paths, sides):
    net = create_model(name, **options)
    assert stage_paths(net) == paths
    shapes = StagedForward(net, paths).shapes
    assert tuple(shape[1] for shape in shapes) == sides
    assert all(shape[1] == shape[2] for shape in shapes)


def test_the_embedding_and_the_maps_are_those_of_the_plain_pass(net):
    x = pictures()
    plain = net(x)
    half = net.blocks[:12](net.stem(x))
    whole = net.blocks(net.stem(x))
    embedding, maps = StagedForward(net, ["blocks.11", "blocks.14"]).forward(x)
    torch.testing.assert_close(embedding, plain)
    torch.testing.assert_close(maps[0], half)
    torch.testing.assert_close(maps[1], whole)


def test_a_transformers_cells_keep_their_places():
    torch.manual_seed(0)
    net = create_model("swin_micro", embedding_dim=16).eval()
    x = pictures()
    _, (found,) = StagedForward(net, ["stages.0"]).forward(x)
    cells = net.stages[0](net.embed_patches(x))
    torch.testing.assert_close(found[1, :, 3, 5], cells[1, 3, 5])
    torch.manual_seed(0)
    vit = create_model("vit_t", embedding_dim=16).eval()
    _, (found,) = StagedForward(vit, ["blocks.11"]).forward(x)
    tokens = vit.norm(found.flatten(2).transpose(1, 2))
    torch.testing.assert_close(tokens, vit.forward_features(x).tokens)


def test_compiled_as_a_whole_it_gives_the_same_and_the_gradient_reaches_early_stages(net):
    """In one graph: a break would make the compiled student slower than the plain one."""
    staged = StagedForward(net, ["blocks.4", "blocks.14"])
    compiled = torch.compile(staged.forward, backend="eager", fullgraph=True)
    for seed in range(2):
        x = pictures(seed=seed)
        embedding, maps = compiled(x)
        expected, expected_maps = staged.forward(x)
        torch.testing.assert_close(embedding, expected)
        for found, wanted in zip(maps, expected_maps, strict=True):
            torch.testing.assert_close(found, wanted)
    maps[0].sum().backward()
    assert float(net.blocks[0].body[0][0].weight.grad.abs().sum()) > 0


def test_looking_for_stages_changes_nothing_of_the_network(net):
    net.train()
    before = copy.deepcopy(net.state_dict())
    paths = stage_paths(net)
    staged = StagedForward(net, paths)
    assert net.training
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    staged.close()
    assert not any(module._forward_hooks for module in net.modules())


def test_a_copy_of_the_network_keeps_no_maps(net):
    """The weight average is such a copy; it must hold no graph."""
    staged = StagedForward(net, ["blocks.14"])
    twin = copy.deepcopy(net)
    twin(pictures())
    taps = [hook for module in twin.modules() for hook in module._forward_hooks.values()]
    assert taps
    assert all(tap.output is None for tap in taps)
    staged.forward(pictures())
    assert all(tap.output is None for tap in taps)


def test_what_is_no_stage_is_refused(net):
    with pytest.raises(ConfigError, match=r"'block.3': .* blocks.4, blocks.11, blocks.14"):
        StagedForward(net, ["block.3"])
    with pytest.raises(ConfigError, match="'project' gives no square map"):
        StagedForward(net, ["project"])
    with pytest.raises(ConfigError, match="name its stages"):
        stage_paths(torch.nn.Linear(2, 2))
