"""A card travels in an ONNX file: written whole, read without onnx, refused for another model."""

from __future__ import annotations

import onnx
import pytest

from crossface.core.contract import InputSpec
from crossface.core.errors import ContractMismatch, WeightsError
from crossface.exporting.threshold_card import read_threshold_card, write_threshold_card
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder
from evaluation.card_fakes import CARD
from pipeline.test_onnx_runtime import build, crops


def card_of(contract, **changes):
    return CARD.model_copy(update={"contract_id": contract.contract_id, **changes})


def test_a_card_written_into_somebody_elses_file_is_read_back(tmp_path):
    build(tmp_path / "m.onnx")
    before = OnnxEmbedder(tmp_path / "m.onnx", threads=1)
    assert before.threshold_card is None
    card = card_of(before.contract)
    write_threshold_card(tmp_path / "m.onnx", card, tmp_path / "out.onnx")
    after = OnnxEmbedder(tmp_path / "out.onnx", threads=1)
    assert after.threshold_card == card
    assert after.contract == before.contract  # the bytes differ, the model does not
    assert (after.embed(crops(3)) == before.embed(crops(3))).all()
    assert read_threshold_card(tmp_path / "out.onnx") == card
    assert read_threshold_card(tmp_path / "m.onnx") is None


def test_a_newer_card_replaces_the_older_in_place(tmp_path):
    path = tmp_path / "m.onnx"
    build(path)
    card = card_of(OnnxEmbedder(path, threads=1).contract)
    write_threshold_card(path, card, path)
    newer = card.model_copy(update={"date": "2027-01-01"})
    write_threshold_card(path, newer, path)
    assert OnnxEmbedder(path, threads=1).threshold_card == newer
    keys = [entry.key for entry in onnx.load(path).metadata_props]
    assert len(keys) == len(set(keys)) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_another_models_card_is_refused_and_nothing_is_left(tmp_path):
    build(tmp_path / "m.onnx")
    with pytest.raises(ContractMismatch, match="the card was measured on m"):
        write_threshold_card(tmp_path / "m.onnx", CARD, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_file_that_carries_another_models_card_is_not_opened(tmp_path):
    path = tmp_path / "m.onnx"
    build(path, metadata={"crossface.threshold_card": CARD.model_dump_json()})
    with pytest.raises(ContractMismatch, match=r"m\.onnx: carries the threshold card of m"):
        OnnxEmbedder(path, threads=1)


def test_with_another_input_spec_the_file_has_no_card(tmp_path):
    path = tmp_path / "m.onnx"
    build(path)
    write_threshold_card(path, card_of(OnnxEmbedder(path, threads=1).contract), path)
    other = InputSpec(channel_order="bgr")
    assert OnnxEmbedder(path, input_spec=other, threads=1).threshold_card is None


def test_a_broken_file_or_card_is_one_sentence(tmp_path):
    path = tmp_path / "m.onnx"
    build(path, metadata={"crossface.threshold_card": "{}"})
    for read in (read_threshold_card, OnnxEmbedder):
        with pytest.raises(WeightsError, match=r"m\.onnx: bad ThresholdCard"):
            read(path)
    (tmp_path / "x.onnx").write_bytes(b"no model at all")
    for name in ("x.onnx", "nowhere.onnx"):
        with pytest.raises(WeightsError, match=rf"{name}: expected an ONNX"):
            read_threshold_card(tmp_path / name)
