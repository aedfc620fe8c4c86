"""Quantisation: layers that cannot bear it stay, the file says what it is, or there is none."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crossface.core.errors import DataError, ParityError, WeightsError
from crossface.core.vectors import unit
from crossface.data.drawn import DrawnFaces
from crossface.data.sampling import even_crops, mixed_crops
from crossface.exporting.quantize import QUANTIZATION_KEY, quantize_onnx
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder

FACES = DrawnFaces(identities=40, per_identity=2, seed=6)


def network(path, *, wild=1.0):
    """Two convolutions, the mean over places, a matrix; ``wild`` spreads the second one's channels.

    Large and small channels share one range of the activations, so the small ones drown; the
    matrix undoes the scale, so in float32 nothing changes.
    """
    rng = np.random.default_rng(0)
    scale = np.geomspace(1, wild, 8).astype(np.float32)
    arrays = {
        "w1": rng.normal(size=(8, 3, 5, 5)) / 9,
        "b1": rng.normal(size=8) / 4,
        "w2": rng.normal(size=(8, 8, 3, 3)) / 9 * scale[:, None, None, None],
        "b2": rng.normal(size=8) / 4 * scale,
        "w3": rng.normal(size=(8, 6)) / scale[:, None],
    }
    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["a"], "first", strides=[4, 4]),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "w2", "b2"], ["c"], "second", strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"], "relu2"),
        helper.make_node("GlobalAveragePool", ["d"], ["e"], "pool"),
        helper.make_node("Flatten", ["e"], ["f"], "flat"),
        helper.make_node("MatMul", ["f", "w3"], ["embedding"], "last"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 6])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def crops():
    return mixed_crops(FACES, 80)


def test_a_file_that_bears_it_is_near_and_says_what_it_is(tmp_path, crops):
    original = network(tmp_path / "m.onnx")
    made = quantize_onnx(original, tmp_path / "q.onnx", crops=crops, progress=False)
    assert made.kept == ()
    assert made.layers == 3
    assert made.mean_cosine >= 0.995
    old = OnnxEmbedder(original, threads=1)
    new = OnnxEmbedder(tmp_path / "q.onnx", threads=1)
    cosines = (unit(old.embed(crops[40:])) * unit(new.embed(crops[40:]))).sum(1)
    assert cosines.mean() == pytest.approx(made.mean_cosine, abs=1e-5)
    assert cosines.min() == pytest.approx(made.least_cosine, abs=1e-5)
    assert new.contract.comparable_with(old.contract)
    assert new.contract.contract_id != old.contract.contract_id
    assert new.contract.model_id == "m_int8"
    assert new.input_spec == old.input_spec
    assert new.input_spec_source == "metadata"
    assert new.threshold_card is None
    model = onnx.load(tmp_path / "q.onnx")
    kinds = [node.op_type for node in model.graph.node]
    assert "QuantizeLinear" in kinds
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(told[QUANTIZATION_KEY])["original"] == old.contract.digest
    assert made.size_bytes == (tmp_path / "q.onnx").stat().st_size


def test_the_layer_that_cannot_bear_it_stays(tmp_path, crops):
    original = network(tmp_path / "m.onnx", wild=3000.0)
    made = quantize_onnx(
        original, tmp_path / "q.onnx", crops=crops, mean_cosine=0.98, progress=False
    )
    assert made.kept == (max(made.sensitivity, key=made.sensitivity.get),)
    assert made.kept[0] in {"second", "last"}
    assert made.mean_cosine >= 0.98
    weights = {i.name for i in onnx.load(tmp_path / "q.onnx").graph.initializer}
    assert {"second": "w2", "last": "w3"}[made.kept[0]] in weights  # as it was


def test_a_model_that_cannot_bear_it_is_refused_and_nothing_is_written(tmp_path, crops):
    original = network(tmp_path / "m.onnx", wild=3000.0)
    with pytest.raises(ParityError, match=r"q.onnx: expected a mean cosine of 1 to the original"):
        quantize_onnx(original, tmp_path / "q.onnx", crops=crops, mean_cosine=1.0, progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_too_few_crops_and_files_without_layers_are_refused(tmp_path, crops):
    with pytest.raises(DataError, match="at least 64 crops, got 10"):
        quantize_onnx(tmp_path / "m.onnx", tmp_path / "q.onnx", crops=crops[:10])
    pool = helper.make_node("GlobalAveragePool", ["input"], ["p"])
    flat = helper.make_node("Flatten", ["p"], ["embedding"])
    graph = helper.make_graph(
        [pool, flat],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, tmp_path / "flat.onnx")
    with pytest.raises(WeightsError, match=r"flat.onnx: has no layer that can be quantised"):
        quantize_onnx(tmp_path / "flat.onnx", tmp_path / "q.onnx", crops=crops, progress=False)


def test_samples_of_a_set_are_always_the_same():
    mixed = mixed_crops(FACES, 20)
    assert (mixed == mixed_crops(FACES, 20)).all()
    assert (mixed[:10] == mixed_crops(FACES, 10)).all()
    assert len(mixed_crops(FACES, 1000)) == 80
    assert (even_crops(FACES, 40) == np.stack([FACES.read(i) for i in range(0, 80, 2)])).all()
