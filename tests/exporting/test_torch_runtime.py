"""The torch runtime: one of our networks as an embedder."""

import numpy as np
import pytest
import torch

from crossface.core.contract import InputSpec
from crossface.core.errors import ConfigError, MissingExtra, WeightsError
from crossface.core.protocols import Embedder
from crossface.nets import create_model
from crossface.nets.checkpoint import load_model, save_model
from crossface.pipeline.runtimes import torch_runtime
from crossface.pipeline.runtimes.torch_runtime import TorchEmbedder

CROPS = np.random.default_rng(0).integers(0, 256, (70, 112, 112, 3), dtype=np.uint8)
SPEC = InputSpec(channel_order="bgr", mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    torch.manual_seed(0)
    net = create_model("mobilefacenet", width=0.1, embedding_dim=16, last_channels=16)
    file = tmp_path_factory.mktemp("nets") / "net.safetensors"
    save_model(net, file, contract=None, input_spec=SPEC, training={})
    return file


def by_hand(path, crops):
    """Plain NCHW batches of one through the network, normalised by a loop over channels."""
    net = load_model(path).net.eval()
    rows = []
    for crop in crops:
        planes = [
            (crop[:, :, 2 - c].astype(np.float64) - SPEC.mean[c]) / SPEC.std[c] for c in range(3)
        ]
        with torch.no_grad():
            rows.append(net(torch.tensor(np.stack(planes))[None].float())[0].numpy())
    return np.stack(rows)


def test_torch_embedder_gives_what_the_network_gives_picture_by_picture(path):
    embedder = TorchEmbedder(path)
    assert isinstance(embedder, Embedder)
    got, expected = embedder.embed(CROPS), by_hand(path, CROPS)
    assert got.shape == (70, 16)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-4 * np.abs(expected).max())


def test_no_crops_give_no_embeddings(path):
    assert TorchEmbedder(path).embed(CROPS[:0]).shape == (0, 16)


def test_embedder_of_a_loaded_model_is_a_snapshot_in_eval_mode(path):
    loaded = load_model(path)
    loaded.net.train()
    embedder = TorchEmbedder(loaded)
    before = embedder.embed(CROPS[:4])
    with torch.no_grad():
        for parameter in loaded.net.parameters():
            parameter.add_(1.0)
    np.testing.assert_array_equal(embedder.embed(CROPS[:4]), before)
    assert loaded.net.training
    assert embedder.contract == loaded.contract
    assert embedder.input_spec == SPEC


def test_threads_of_the_process_are_put_back(path):
    before = torch.get_num_threads()
    TorchEmbedder(path, threads=before + 1).embed(CROPS[:1])
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_device_that_is_not_there_is_refused_in_one_sentence(path, device):
    with pytest.raises(ConfigError, match=f"device '{device}' cannot be used here"):
        TorchEmbedder(path, device=device)


def test_threads_below_one_are_refused(path):
    with pytest.raises(ValueError, match="threads must be >= 1, got 0"):
        TorchEmbedder(path, threads=0)


def test_missing_torch_says_what_to_install(path, monkeypatch):
    monkeypatch.setattr(torch_runtime, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"crossface\[train\]"):
        TorchEmbedder(path)


def test_crops_of_another_size_are_refused(path):
    with pytest.raises(ValueError, match=r"crops must be \(N, 112, 112, 3\)"):
        TorchEmbedder(path).embed(np.zeros((1, 64, 64, 3), dtype=np.uint8))


def test_network_that_gives_nan_is_refused_by_row(path):
    loaded = load_model(path)
    with torch.no_grad():
        loaded.net.project.weight[0, 0] = float("nan")
    with pytest.raises(WeightsError, match="mobilefacenet: expected finite embeddings, row 0 of 2"):
        TorchEmbedder(loaded).embed(CROPS[:2])
