import json
import pickle
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import ConfigError, WeightsError
from crossface.nets import create_model
from crossface.nets.checkpoint import load_model, make_contract, model_digest, save_model


@pytest.fixture
def net():
    torch.manual_seed(0)
    return create_model("swin_micro", embedding_dim=32)


@pytest.fixture
def saved(net, tmp_path):
    path = tmp_path / "net.safetensors"
    save_model(net, path, contract=None, input_spec=InputSpec(), training={"lr": 0.1})
    return path


def _metadata(path):
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length])["__metadata__"]


def _rewrite(path, *, weights=None, **changed):
    metadata = _metadata(path) | changed
    weights = weights or load_file(path)
    save_file(weights, path, metadata={k: v for k, v in metadata.items() if v is not None})
    return path


def test_what_travels_with_a_network_comes_back(net, tmp_path):
    spec = InputSpec(mean=(0.0, 0.0, 0.0), channel_order="bgr")
    contract = make_contract(net, spec, space_id="teacher-7")
    path = tmp_path / "net.safetensors"
    assert save_model(net, path, contract=contract, input_spec=spec, training={"a": [1]}) == (
        contract
    )
    loaded = load_model(path)
    assert (loaded.contract, loaded.input_spec) == (contract, spec)
    assert loaded.training == {"a": [1]}
    assert loaded.net.arch == {"name": "swin_micro", "options": {"embedding_dim": 32}}
    assert not loaded.net.training


def test_a_contract_made_on_saving_names_the_weights(net, saved):
    contract = load_model(saved).contract
    assert contract.model_id == "swin_micro"
    assert contract.digest == model_digest(net)
    assert contract.dim == 32
    assert contract.input_digest == InputSpec().digest
    other = create_model("swin_micro", embedding_dim=32)
    assert not make_contract(other, InputSpec()).comparable_with(contract)
    assert make_contract(other, InputSpec(), space_id=contract.space_id).comparable_with(contract)


def test_the_digest_changes_with_any_bit_name_dtype_or_shape():
    def digest(**tensors):
        module = torch.nn.Module()
        for name, value in tensors.items():
            module.register_buffer(name, value)
        return model_digest(module)

    base = torch.zeros(2, 3)
    digests = {
        digest(a=base),
        digest(b=base),
        digest(a=base.reshape(3, 2)),
        digest(a=base.to(torch.int32)),
        digest(a=-base),  # minus zero: equal values, other bits
    }
    assert len(digests) == 5
    assert digest(a=base, b=base + 1) == digest(b=base + 1, a=base.clone())
    assert digest(a=base.T) == digest(a=base.T.contiguous())


def test_loading_leaves_the_random_numbers_alone(saved):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_model(saved)
    assert torch.equal(torch.rand(3), expected)


def _drop(weights):
    weights.pop("norm.bias")


def _add(weights):
    weights["extra"] = torch.zeros(1)


def _reshape(weights):
    weights["norm.bias"] = torch.zeros(5)


def _retype(weights):
    weights["norm.bias"] = weights["norm.bias"].half()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_drop, "lacks tensor norm.bias"),
        (_add, "unknown tensor extra"),
        (_reshape, r"expected norm.bias \(96,\).*got \(5,\)"),
        (_retype, "torch.float16"),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved, change, sentence):
    weights = load_file(saved)
    change(weights)
    with pytest.raises(WeightsError, match=sentence):
        load_model(_rewrite(saved, weights=weights))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"format": "pt"}, "not one written by crossface"),
        ({"version": "9"}, "expected format version 1, got 9"),
        ({"contract": None}, "lacks contract"),
        ({"contract": "{}"}, "bad EmbeddingContract: model_id"),
        ({"input_spec": "[1"}, "bad InputSpec"),
        ({"arch": "[]"}, "architecture must be a JSON object"),
        ({"arch": "{"}, "architecture is not JSON"),
        ({"arch": '{"name": 3}'}, "must have a name and options"),
        ({"arch": '{"name": "swin_mikro", "options": {}}'}, "did you mean swin_micro"),
        ({"arch": '{"name": "swin_micro", "options": {"x": 1}}'}, "cannot be made"),
        ({"training": "7"}, "training card must be a JSON object"),
    ],
)
def test_metadata_that_cannot_be_meant_is_one_sentence(saved, changed, sentence):
    with pytest.raises(WeightsError, match=sentence) as error:
        load_model(_rewrite(saved, **changed))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("net.safetensors: ")


def test_a_contract_of_another_dimension_is_refused(saved):
    contract = load_model(saved).contract.model_copy(update={"dim": 64})
    with pytest.raises(WeightsError, match="64-d"):
        load_model(_rewrite(saved, contract=contract.model_dump_json()))


@pytest.mark.parametrize("kept", [0, 4, 8, 200, -1])
def test_a_truncated_file_is_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"net\.safetensors"):
        load_model(saved)


def test_a_missing_file_and_a_text_file_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="found none"):
        load_model(tmp_path / "none.safetensors")
    text = tmp_path / "words.safetensors"
    text.write_text("hello, this is not a model at all")
    with pytest.raises(WeightsError, match="expected a whole safetensors file"):
        load_model(text)


class _Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("pickle-was-read"),))


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_a_pickle_is_refused_unread(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    bare, zipped = tmp_path / name, tmp_path / f"zip-{name}"
    bare.write_bytes(pickle.dumps(_Bomb()))
    torch.save({"a": torch.zeros(2)}, zipped)
    for path in (bare, zipped):
        with pytest.raises(WeightsError, match="pickle"):
            load_model(path)
    assert not (tmp_path / "pickle-was-read").exists()


def test_a_refused_save_leaves_no_file(net, tmp_path):
    path = tmp_path / "net.safetensors"
    contract = EmbeddingContract(
        model_id="m", digest="0" * 64, dim=7, space_id="s", input_digest=InputSpec().digest
    )
    with pytest.raises(ConfigError, match="7-d"):
        save_model(net, path, contract=contract, input_spec=InputSpec(), training={})
    with pytest.raises(ConfigError, match="training card must be JSON"):
        save_model(net, path, contract=None, input_spec=InputSpec(), training={"a": object()})
    with pytest.raises(ConfigError, match="training card must be JSON"):
        save_model(net, path, contract=None, input_spec=InputSpec(), training={"a": float("nan")})
    assert not list(tmp_path.iterdir())
