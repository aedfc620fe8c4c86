"""What every backbone owes, over the whole table."""

import copy
import json
from pathlib import Path

import pytest
import torch

from crossface.core.contract import InputSpec
from crossface.core.errors import ConfigError, UnknownName
from crossface.nets import create_model, list_models
from crossface.nets.checkpoint import load_model, model_digest, save_model
from crossface.nets.layers import map_to_tokens, tokens_to_map

GOLDEN = json.loads(
    (Path(__file__).parent.parent / "golden" / "backbone_parameters.json").read_text()
)
LARGE = {"iresnet34", "iresnet50", "iresnet100", "swin_s", "swin_t", "vit_s"}
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in list_models()
]


@pytest.fixture(scope="module", params=NAMES)
def net(request):
    torch.manual_seed(7)
    return _with_lived_in_norms(create_model(request.param)).eval()


@pytest.fixture(scope="module")
def seen(net):
    """Embedding and features of three faces, in eval mode."""
    with torch.no_grad():
        return net.forward_both(_faces(3))


def _with_lived_in_norms(net):
    """Small weights and statistics that are not 0 and 1, as after training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("running_mean"):
                value.normal_(0, 0.1, generator=generator)
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):  # keeps IResNet's activations small
            torch.nn.init.kaiming_normal_(layer.weight, generator=generator)
    return net


def _faces(count, seed=0):
    return torch.rand(count, 3, 112, 112, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_crops_become_embeddings_of_the_stated_size(net, seen):
    embedding, _ = seen
    assert embedding.shape == (3, 512) == (3, net.embedding_dim)
    assert embedding.isfinite().all()


@pytest.mark.parametrize("name", list_models())
def test_the_embedding_size_is_an_option(name):
    with torch.device("meta"):
        net = create_model(name, embedding_dim=96)
        assert net.eval()(torch.empty(2, 3, 112, 112)).shape == (2, 96)
    assert net.arch == {"name": name, "options": {"embedding_dim": 96}}


def test_forward_is_the_embedding_of_the_features(net, seen):
    embedding, features = seen
    with torch.no_grad():
        torch.testing.assert_close(net.embed_features(features), embedding)
        torch.testing.assert_close(net(_faces(3)), embedding)
    rows, columns = features.grid_hw
    assert features.grid_hw == net.grid_hw
    assert features.tokens.shape == (3, rows * columns + features.extra, net.feature_dim)


def test_every_parameter_gets_a_finite_gradient(net):
    net = copy.deepcopy(net).train()
    net(_faces(2)).square().mean().backward()
    for key, parameter in net.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key


def test_in_eval_a_face_is_embedded_alike_whatever_stands_beside_it(net, seen):
    together, _ = seen
    with torch.no_grad():
        alone = net(_faces(3)[:1])
    scale = float(alone.abs().max())
    torch.testing.assert_close(alone, together[:1], rtol=1e-4, atol=1e-4 * scale)


def test_a_network_survives_its_file(net, tmp_path):
    path = tmp_path / "net.safetensors"
    save_model(net, path, contract=None, input_spec=InputSpec(), training={"steps": 3})
    loaded = load_model(path)
    assert not loaded.net.training
    assert model_digest(loaded.net) == model_digest(net) == loaded.contract.digest
    with torch.no_grad():  # the same weights; buffers that are not stored must be rebuilt alike
        torch.testing.assert_close(loaded.net(_faces(1)), net(_faces(1)))


@pytest.mark.parametrize("name", list_models())
def test_parameters_are_as_many_as_the_source_says(name):
    with torch.device("meta"):
        net = create_model(name)
    assert sum(p.numel() for p in net.parameters()) == GOLDEN[name]["parameters"]
    assert GOLDEN[name]["source"]


def test_tokens_run_row_by_row():
    picture = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    features = map_to_tokens(picture)
    assert features.grid_hw == (4, 5)
    assert torch.equal(features.tokens[:, 1 * 5 + 3], picture[:, :, 1, 3])
    assert torch.equal(tokens_to_map(features), picture)


def test_a_misspelt_network_is_named_with_its_neighbour():
    with pytest.raises(UnknownName, match="did you mean swin_nano"):
        create_model("swin_nan0")


def test_an_unknown_option_is_refused_by_name():
    with pytest.raises(ConfigError, match="depth"):
        create_model("swin_nano", depth=3)
