"""Export to ONNX: equal embeddings or no file."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from crossface.core.contract import InputSpec
from crossface.core.errors import MissingExtra, ParityError, WeightsError
from crossface.exporting import onnx as export_module
from crossface.exporting.onnx import export_onnx
from crossface.exporting.rewrite import replace_prelu
from crossface.nets import create_model
from crossface.nets.checkpoint import LoadedModel, make_contract
from crossface.nets.layers import Backbone, map_to_tokens, tokens_to_map
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder
from crossface.pipeline.runtimes.torch_runtime import TorchEmbedder

CROPS = np.random.default_rng(0).integers(0, 256, (20, 112, 112, 3), dtype=np.uint8)


class TinyNet(Backbone):
    """A convolution, a batch norm and an average: quick to export."""

    def __init__(self, dim=8):
        super().__init__()
        self.embedding_dim = self.feature_dim = dim
        self.grid_hw = (7, 7)
        self.body = nn.Sequential(nn.Conv2d(3, dim, 16, 16), nn.BatchNorm2d(dim), nn.PReLU(dim))
        self.arch = {"name": "tiny", "options": {"dim": dim}}

    def forward_features(self, x):
        return map_to_tokens(self.body(x))

    def embed_features(self, features):
        return tokens_to_map(features).mean((2, 3))


def settle(net):
    """Give the batch norms the statistics of the crops, so that embeddings have a usual size."""
    for layer in net.modules():
        if isinstance(layer, nn.PReLU):
            nn.init.uniform_(layer.weight, -0.5, 1.5)
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            layer.momentum = None
    pixels = torch.from_numpy(CROPS).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        net.train()(pixels)
    return net.eval()


def loaded_model(net):
    contract = make_contract(net, InputSpec(), space_id="teacher:0123456789abcdef")
    return LoadedModel(net, contract, InputSpec(), {"data": "drawn:ids=4", "seed": 0})


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return loaded_model(settle(TinyNet()))


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "tiny.onnx"
    return export_onnx(tiny, path, samples=CROPS)


@pytest.fixture(scope="module")
def mobile(tmp_path_factory):
    torch.manual_seed(0)
    net = settle(create_model("mobilefacenet", width=0.25, embedding_dim=64, last_channels=64))
    path = tmp_path_factory.mktemp("export") / "mobile.onnx"
    return export_onnx(loaded_model(net), path, samples=CROPS)


def test_mobilefacenet_export_gives_its_embeddings_at_batch_one_and_sixteen(mobile):
    assert mobile.parity.crops == 20
    assert set(mobile.parity.max_abs_difference) == {1, 16}
    assert mobile.parity.worst < 1e-4
    assert mobile.parity.max_abs_reference > 0.1
    assert mobile.parity.min_cosine > 1 - 1e-6
    mobile.raise_if_different(1e-4)


def test_batch_norms_and_slow_prelus_are_gone(mobile):
    kinds = {node.op_type for node in onnx.load(mobile.path).graph.node}
    assert not kinds & {"BatchNormalization", "PRelu"}


def one_prelu(slope_is_stored):
    """A graph of one PRelu over (batch, 3, 2, 2) with slopes below 0, in 0..1 and above 1."""
    slope = np.array([-0.5, 0.3, 1.7], dtype=np.float32).reshape(3, 1, 1)
    tensor = onnx.numpy_helper.from_array(slope, "slope")
    floats = onnx.TensorProto.FLOAT
    inputs = [onnx.helper.make_tensor_value_info("x", floats, ["batch", 3, 2, 2])]
    if not slope_is_stored:
        inputs.append(onnx.helper.make_tensor_value_info("slope", floats, [3, 1, 1]))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("PRelu", ["x", "slope"], ["y"])],
        "one",
        inputs,
        [onnx.helper.make_tensor_value_info("y", floats, ["batch", 3, 2, 2])],
        [tensor] if slope_is_stored else [],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)


def test_prelu_is_replaced_by_operators_that_give_the_same_numbers():
    proto = one_prelu(slope_is_stored=True)
    assert replace_prelu(proto) == 1
    onnx.checker.check_model(proto, full_check=True)
    x = np.random.default_rng(0).standard_normal((5, 3, 2, 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (got,) = session.run(None, {"x": x})
    expected = x.copy()
    for channel, slope in enumerate((-0.5, 0.3, 1.7)):
        part = expected[:, channel]
        part[part < 0] *= slope
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7)


def test_prelu_with_a_slope_that_is_computed_stays():
    proto = one_prelu(slope_is_stored=False)
    before = proto.SerializeToString()
    assert replace_prelu(proto) == 0
    assert proto.SerializeToString() == before


def test_graph_has_one_named_input_and_output_and_any_batch(exported):
    session = onnxruntime.InferenceSession(str(exported.path), providers=["CPUExecutionProvider"])
    (entry,), (out,) = session.get_inputs(), session.get_outputs()
    assert (entry.name, entry.shape, entry.type) == (
        "input",
        ["batch", 3, 112, 112],
        "tensor(float)",
    )
    assert (out.name, out.shape, out.type) == ("embedding", ["batch", 8], "tensor(float)")
    pixels = np.zeros((3, 3, 112, 112), dtype=np.float32)
    assert session.run(None, {"input": pixels})[0].shape == (3, 8)


def test_export_carries_its_input_spec_its_space_and_its_training_card(tiny, exported):
    embedder = OnnxEmbedder(exported.path)
    assert embedder.input_spec_source == "metadata"
    assert embedder.input_spec == tiny.input_spec
    assert embedder.contract == exported.contract
    assert embedder.contract.comparable_with(tiny.contract)
    assert embedder.contract.digest != tiny.contract.digest
    metadata = {entry.key: entry.value for entry in onnx.load(exported.path).metadata_props}
    assert set(metadata) == {"crossface.input_spec", "crossface.contract", "crossface.training"}
    assert metadata["crossface.training"] == '{"data": "drawn:ids=4", "seed": 0}'


def test_export_of_other_weights_has_another_digest_and_of_the_same_the_same(
    tiny, exported, tmp_path
):
    again = export_onnx(tiny, tmp_path / "again.onnx", samples=CROPS)
    assert again.contract == exported.contract
    torch.manual_seed(1)
    other = export_onnx(loaded_model(settle(TinyNet())), tmp_path / "b.onnx", samples=CROPS)
    assert other.contract.digest != exported.contract.digest


def test_file_holds_no_path_of_the_machine_that_made_it(exported):
    """The exporter writes stack traces into every node; they must not travel."""
    content = exported.path.read_bytes()
    assert b".py" not in content
    assert b"/site-packages" not in content
    assert b"stack_trace" not in content


def test_export_leaves_the_network_as_it_was(tmp_path):
    torch.manual_seed(0)
    net = settle(TinyNet()).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    export_onnx(loaded_model(net), tmp_path / "a.onnx", samples=CROPS)
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_export_says_nothing(tiny, tmp_path, capfd):
    export_onnx(tiny, tmp_path / "a.onnx", samples=CROPS)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


def damage_weights(monkeypatch, by):
    build = export_module._build

    def damaged(loaded, opset):
        proto, contract = build(loaded, opset)
        tensor = max(proto.graph.initializer, key=lambda t: np.prod(t.dims))
        values = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values + np.float32(by), tensor.name))
        return proto, contract

    monkeypatch.setattr(export_module, "_build", damaged)


def test_export_that_differs_is_refused_and_nothing_is_left(tiny, tmp_path, monkeypatch):
    damage_weights(monkeypatch, 0.01)
    with pytest.raises(
        ParityError, match=r"a\.onnx differs from the original by more than 0\.0001"
    ):
        export_onnx(tiny, tmp_path / "a.onnx", samples=CROPS)
    assert list(tmp_path.iterdir()) == []


def test_refused_export_keeps_the_file_that_was_there(tiny, tmp_path, monkeypatch):
    (tmp_path / "a.onnx").write_text("the old one")
    damage_weights(monkeypatch, 0.01)
    with pytest.raises(ParityError):
        export_onnx(tiny, tmp_path / "a.onnx", samples=CROPS)
    assert (tmp_path / "a.onnx").read_text() == "the old one"


def test_tighter_bound_asked_of_the_report_removes_the_file(tiny, tmp_path, monkeypatch):
    damage_weights(monkeypatch, 1e-4)
    report = export_onnx(tiny, tmp_path / "a.onnx", samples=CROPS, atol=1.0)
    report.raise_if_different(1.0)
    assert report.path.exists()
    with pytest.raises(ParityError, match="at batch 16"):
        report.raise_if_different(1e-6)
    assert not report.path.exists()


def test_network_with_a_fixed_batch_is_refused(tmp_path):
    class FixedBatch(TinyNet):
        def forward(self, x):
            return super().forward(x).reshape(2, 8)

    with pytest.raises((WeightsError, ParityError)):
        export_onnx(loaded_model(settle_tiny(FixedBatch)), tmp_path / "a.onnx", samples=CROPS)
    assert list(tmp_path.iterdir()) == []


def settle_tiny(kind):
    """A subclass that only works at batch 2 has its statistics set by the plain network."""
    net = kind()
    net.load_state_dict(settle(TinyNet()).state_dict())
    return net.eval()


def test_network_the_exporter_cannot_follow_is_refused_by_name(tmp_path):
    class Branching(TinyNet):
        def forward(self, x):
            out = super().forward(x)
            return out if out.sum() > 0 else -out

    with pytest.raises(WeightsError, match="tiny cannot be written as ONNX"):
        export_onnx(loaded_model(settle_tiny(Branching)), tmp_path / "a.onnx", samples=CROPS)
    assert list(tmp_path.iterdir()) == []


def test_missing_export_extra_says_what_to_install(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "find_spec", lambda name: None if name == "onnx" else name)
    with pytest.raises(MissingExtra, match=r"onnx is not installed.*crossface\[export\]"):
        export_onnx(tiny, tmp_path / "a.onnx", samples=CROPS)


def test_exported_and_torch_embedder_meet_in_one_space(tiny, exported):
    torch_rows, onnx_rows = (
        TorchEmbedder(tiny).embed(CROPS),
        OnnxEmbedder(exported.path).embed(CROPS),
    )
    np.testing.assert_allclose(torch_rows, onnx_rows, atol=1e-5)


def test_importing_the_export_room_needs_no_torch():
    code = (
        "import sys, crossface.exporting.onnx, crossface.exporting.card, "
        "crossface.pipeline.runtimes.torch_runtime; "
        "sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
