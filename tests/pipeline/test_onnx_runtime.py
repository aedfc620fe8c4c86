"""The ONNX runtime: where the input spec comes from, and one clear sentence when it cannot."""

import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import WeightsError
from crossface.core.files import sha256_file
from crossface.core.geometry import normalise, retarget_crops
from crossface.core.protocols import Embedder
from crossface.core.weights import find_by_sha256, known_weights
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder, available_cores, crops_for

DIM = 5


def build(
    path, *, shape=("N", 3, 112, 112), keep_dims=False, outputs=1, metadata=None, infinite=False
):
    """Mean of each channel over the crop, times a fixed (3, DIM) matrix."""
    weight = np.random.default_rng(0).normal(size=(3, DIM)).astype(np.float32)
    if infinite:
        weight[0, 0] = np.inf
    axes = [2, 3] if shape[1] == 3 else [1, 2]
    nodes = [
        helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weight"], ["flat"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(axes, dtype=np.int64), "axes"),
        numpy_helper.from_array(weight, "weight"),
    ]
    last = "flat"
    if keep_dims:
        nodes.append(helper.make_node("Unsqueeze", ["flat", "ends"], ["deep"]))
        constants.append(numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "ends"))
        last = "deep"
    names = [last, "mean"][:outputs]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return weight


def crops(count, size=(112, 112), seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)


def expected(pictures, spec, weight):
    values = normalise(pictures, spec).astype(np.float64)
    return values.mean(axis=(2, 3) if spec.layout == "nchw" else (1, 2)) @ weight


def test_a_plain_112_file_gets_the_arcface_convention_and_says_so_loudly(tmp_path, caplog):
    weight = build(tmp_path / "plain.onnx")
    with caplog.at_level(logging.WARNING, logger="crossface"):
        model = OnnxEmbedder(tmp_path / "plain.onnx", threads=1)
    assert "assuming the ArcFace convention" in caplog.text
    assert model.input_spec_source == "assumed"
    digest = sha256_file(tmp_path / "plain.onnx")
    assert model.contract == EmbeddingContract(
        model_id="plain",
        digest=digest,
        dim=DIM,
        space_id=f"plain:{digest[:16]}",
        input_digest=InputSpec().digest,
    )
    assert isinstance(model, Embedder)
    out = model.embed(crops(3))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected(crops(3), InputSpec(), weight), atol=1e-4)


def test_metadata_gives_spec_and_contract(tmp_path, caplog):
    spec = InputSpec(size_hw=(96, 80), channel_order="bgr", mean=(1, 2, 3), std=(4, 5, 6))
    contract = EmbeddingContract(
        model_id="student", digest="a" * 64, dim=DIM, space_id="teacher", input_digest=spec.digest
    )
    metadata = {
        "crossface.input_spec": spec.model_dump_json(),
        "crossface.contract": contract.model_dump_json(),
    }
    weight = build(tmp_path / "s.onnx", shape=("N", 3, 96, 80), metadata=metadata)
    model = OnnxEmbedder(tmp_path / "s.onnx", threads=1)
    assert (model.input_spec_source, model.input_spec) == ("metadata", spec)
    assert model.contract == contract
    assert not caplog.records
    pictures = crops(2, (96, 80))
    np.testing.assert_allclose(
        model.embed(pictures), expected(pictures, spec, weight), rtol=1e-4, atol=1e-3
    )


def test_the_argument_wins_over_the_metadata_and_marks_the_contract(tmp_path):
    spec = InputSpec()
    contract = EmbeddingContract(
        model_id="m", digest="a" * 64, dim=DIM, space_id="s", input_digest=spec.digest
    )
    metadata = {
        "crossface.input_spec": spec.model_dump_json(),
        "crossface.contract": contract.model_dump_json(),
    }
    build(tmp_path / "m.onnx", metadata=metadata)
    other = InputSpec(channel_order="bgr")
    model = OnnxEmbedder(tmp_path / "m.onnx", input_spec=other, threads=1)
    assert model.input_spec_source == "argument"
    assert model.contract.input_digest == other.digest
    assert model.contract.contract_id != contract.contract_id


def test_a_known_hash_gives_the_table_s_spec_name_and_licence(tmp_path, monkeypatch):
    build(tmp_path / "renamed.onnx", shape=("N", 3, 128, 128))
    row = next(row for row in known_weights() if row.name == "reidentification_retail_0095")
    monkeypatch.setattr(
        "crossface.pipeline.runtimes.onnx_runtime.find_by_sha256", lambda digest: row
    )
    model = OnnxEmbedder(tmp_path / "renamed.onnx", threads=1)
    assert model.input_spec_source == "table"
    assert model.contract.model_id == "reidentification_retail_0095"
    assert "Apache-2.0" in model.licence


def test_the_table_holds_the_four_embedders_and_the_retail_template():
    names = {row.name for row in known_weights() if row.task == "embedding"}
    assert names >= {"edgeface_xs", "edgeface_xxs", "w600k_mbf", "reidentification_retail_0095"}
    retail = next(row for row in known_weights() if row.name.startswith("reid"))
    fractions = [
        (0.3156, 0.4616),
        (0.6826, 0.4616),
        (0.5003, 0.6405),
        (0.3495, 0.8247),
        (0.6534, 0.8233),
    ]
    np.testing.assert_allclose(retail.input_spec.reference_points_px, np.array(fractions) * 128)
    assert retail.input_spec.channel_order == "bgr"
    assert find_by_sha256("0" * 64) is None
    assert find_by_sha256(retail.sha256) is retail


@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_run_in_its_own_steps(tmp_path, batch):
    weight = build(tmp_path / "fixed.onnx", shape=(batch, 3, 112, 112))
    model = OnnxEmbedder(tmp_path / "fixed.onnx", threads=1)
    out = model.embed(crops(6))
    np.testing.assert_allclose(out, expected(crops(6), InputSpec(), weight), atol=1e-4)


def test_the_batch_size_does_not_change_the_embeddings(tmp_path):
    build(tmp_path / "m.onnx")
    one = OnnxEmbedder(tmp_path / "m.onnx", threads=1, batch_size=1).embed(crops(5))
    all_ = OnnxEmbedder(tmp_path / "m.onnx", threads=1, batch_size=64).embed(crops(5))
    np.testing.assert_allclose(one, all_, atol=1e-5)
    assert OnnxEmbedder(tmp_path / "m.onnx").threads == available_cores()
    assert OnnxEmbedder(tmp_path / "m.onnx").embed(crops(0)).shape == (0, DIM)


def test_outputs_with_trailing_ones_are_flattened(tmp_path):
    build(tmp_path / "deep.onnx", keep_dims=True)
    assert OnnxEmbedder(tmp_path / "deep.onnx", threads=1).embed(crops(2)).shape == (2, DIM)


def test_nhwc_models_get_nhwc(tmp_path):
    spec = InputSpec(layout="nhwc")
    weight = build(tmp_path / "nhwc.onnx", shape=("N", 112, 112, 3))
    model = OnnxEmbedder(tmp_path / "nhwc.onnx", input_spec=spec, threads=1)
    np.testing.assert_allclose(model.embed(crops(2)), expected(crops(2), spec, weight), atol=1e-4)


def test_crops_for_resamples_into_the_model_s_template(tmp_path):
    spec = next(row.input_spec for row in known_weights() if row.name.startswith("reid"))
    build(tmp_path / "m.onnx", shape=("N", 3, 128, 128))
    model = OnnxEmbedder(tmp_path / "m.onnx", input_spec=spec, threads=1)
    want = model.embed(retarget_crops(crops(3), spec))
    np.testing.assert_array_equal(crops_for(model, crops(3)), want)


def test_another_input_size_without_a_spec_names_the_size_and_the_option(tmp_path):
    build(tmp_path / "m.onnx", shape=("N", 3, 96, 96))
    with pytest.raises(WeightsError, match=r"m\.onnx.*\(N, 3, 96, 96\).*--input-spec"):
        OnnxEmbedder(tmp_path / "m.onnx", threads=1)


def test_a_spec_of_another_size_names_both(tmp_path):
    build(tmp_path / "m.onnx", shape=("N", 3, 96, 96))
    with pytest.raises(WeightsError, match=r"112x112.*\(N, 3, 96, 96\)"):
        OnnxEmbedder(tmp_path / "m.onnx", input_spec=InputSpec(), threads=1)


def test_files_that_are_no_onnx_model_are_refused_in_one_sentence(tmp_path):
    build(tmp_path / "m.onnx")
    whole = (tmp_path / "m.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.onnx").write_text("this is a text file\n")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("cut.onnx", "text.onnx", "empty.onnx", "absent.onnx"):
        with pytest.raises(WeightsError, match=rf"^{name}: expected an ONNX") as caught:
            OnnxEmbedder(tmp_path / name, threads=1)
        assert "\n" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_several_outputs_are_refused(tmp_path):
    build(tmp_path / "m.onnx", outputs=2)
    with pytest.raises(WeightsError, match="one input and one output, got 1 and 2"):
        OnnxEmbedder(tmp_path / "m.onnx", threads=1)


def test_embeddings_that_are_not_finite_are_refused(tmp_path):
    build(tmp_path / "m.onnx", infinite=True)
    model = OnnxEmbedder(tmp_path / "m.onnx", threads=1)
    with pytest.raises(WeightsError, match=r"m\.onnx: expected finite embeddings, row 0 of 2"):
        model.embed(crops(2))


def test_broken_metadata_names_the_file(tmp_path):
    build(tmp_path / "m.onnx", metadata={"crossface.input_spec": "{"})
    with pytest.raises(WeightsError, match=r"m\.onnx: bad InputSpec"):
        OnnxEmbedder(tmp_path / "m.onnx", threads=1)


def test_crops_of_another_size_are_refused(tmp_path):
    build(tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"\(N, 112, 112, 3\)"):
        OnnxEmbedder(tmp_path / "m.onnx", threads=1).embed(crops(2, (96, 96)))
