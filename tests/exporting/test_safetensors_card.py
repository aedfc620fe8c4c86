"""A card travels in a safetensors model: tensors untouched, read where it decides."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crossface.app.cli import main
from crossface.core.contract import InputSpec
from crossface.core.errors import ContractMismatch, UsageError, WeightsError
from crossface.exporting import onnx as onnx_export
from crossface.exporting.onnx import export_onnx
from crossface.exporting.safetensors_header import CARD_FIELD
from crossface.exporting.threshold_card import read_threshold_card, write_threshold_card
from crossface.nets import checkpoint, create_model
from crossface.nets.checkpoint import load_model, save_model
from crossface.pipeline.analysis import FaceAnalysis
from crossface.pipeline.detectors import open_detector
from crossface.pipeline.networks import NetworkOptions
from crossface.pipeline.runtimes.torch_runtime import TorchEmbedder
from crossface.pipeline.verify import verify
from crossface.search.gallery import Gallery
from evaluation.card_fakes import CARD
from face_files import encode, pattern
from pipeline.onnx_files import one_face


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    net = create_model("mobilefacenet", width=0.1, embedding_dim=16, last_channels=16)
    file = tmp_path_factory.mktemp("nets") / "net.safetensors"
    save_model(net, file, contract=None, input_spec=InputSpec(), training={"method": "none"})
    return file


@pytest.fixture
def carded(model, tmp_path):
    path = tmp_path / "carded.safetensors"
    write_threshold_card(model, card_of(model), path)
    return path


def card_of(model, **changes):
    return CARD.model_copy(
        update={"contract_id": load_model(model).contract.contract_id, **changes}
    )


def test_a_card_is_read_back_and_no_tensor_changes(model, carded):
    assert read_threshold_card(model) is None
    assert TorchEmbedder(model).threshold_card is None
    assert read_threshold_card(carded) == card_of(model)
    assert TorchEmbedder(carded).threshold_card == card_of(model)
    before, after = load_file(model), load_file(carded)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    one, two = load_model(model), load_model(carded)
    assert one.contract == two.contract
    assert one.training == two.training
    assert (int.from_bytes(carded.read_bytes()[:8], "little")) % 8 == 0


def test_both_rooms_name_the_card_alike():
    assert checkpoint.CARD_FIELD == CARD_FIELD


def test_a_newer_card_replaces_the_older_in_place(model, carded):
    size = carded.stat().st_size
    newer = card_of(model, date="2027-01-01")
    write_threshold_card(carded, newer, carded)
    assert read_threshold_card(carded) == newer
    assert carded.stat().st_size == size
    assert [p.name for p in carded.parent.iterdir()] == [carded.name]


def test_another_models_card_is_refused_when_written_and_when_read(model, tmp_path):
    with pytest.raises(ContractMismatch, match=r"net\.safetensors: the card was measured on m"):
        write_threshold_card(model, CARD, tmp_path / "out.safetensors")
    assert not list(tmp_path.iterdir())
    data = model.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"][CARD_FIELD] = CARD.model_dump_json()
    text = json.dumps(header).encode()
    path = tmp_path / "swapped.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(ContractMismatch, match=r"swapped\.safetensors: carries the threshold card"):
        TorchEmbedder(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "its header is broken"),
        (b"\xff" * 8, "its header is broken"),
        ((10**6).to_bytes(8, "little") + b"{}", "its header is broken"),
        ((4).to_bytes(8, "little") + b"null", "its header is broken"),
        ((2).to_bytes(8, "little") + b"{}", "not one written by crossface"),
        ((20).to_bytes(8, "little") + b'{"__metadata__": 12}', "not one written by crossface"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path, data, said):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    for use in (read_threshold_card, lambda p: write_threshold_card(p, CARD, tmp_path / "o")):
        with pytest.raises(WeightsError, match=rf"x\.safetensors: .*{said}"):
            use(path)
    with pytest.raises(WeightsError, match="there is no such file"):
        read_threshold_card(tmp_path / "nowhere.safetensors")


def test_verify_decides_by_the_card_of_a_safetensors_model(model, carded, tmp_path):
    one_face(tmp_path / "d.onnx")
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(encode(pattern(number, (64, 64))))
    pictures = [tmp_path / "0.png", tmp_path / "1.png"]
    bare = verify(*pictures, model=model, detector=tmp_path / "d.onnx")
    assert (bare.same, bare.threshold) == (None, None)
    found = verify(*pictures, model=carded, detector=tmp_path / "d.onnx")
    row = next(row for row in CARD.operating_points if row.fmr_target <= 1e-3)
    assert found.threshold == row.threshold
    assert found.same == (found.similarity >= row.threshold)
    code = 0
    arguments = ["--quiet", "verify", *pictures, "--model", carded]
    arguments += ["--detector", tmp_path / "d.onnx", "--json", tmp_path / "v.json"]
    try:
        main([*map(str, arguments)])
    except SystemExit as stop:
        code = stop.code
    assert code == (0 if found.same else 1)
    assert json.loads((tmp_path / "v.json").read_text())["threshold"] == row.threshold


def test_a_run_folder_and_a_safetensors_file_analyse_faces_alike(model, tmp_path):
    one_face(tmp_path / "d.onnx")
    run = tmp_path / "run"
    run.mkdir()
    (run / "student.safetensors").write_bytes(model.read_bytes())
    picture = pattern(3, (64, 64))
    (one,) = FaceAnalysis(model, tmp_path / "d.onnx", threads=2).get(picture)
    (two,) = FaceAnalysis(run, tmp_path / "d.onnx", threads=2).get(picture)
    np.testing.assert_allclose(one.embedding, two.embedding, atol=1e-6)
    many = list(FaceAnalysis(model, tmp_path / "d.onnx", threads=2).get_many([picture] * 4))
    for (face,) in many:
        np.testing.assert_allclose(face.embedding, one.embedding, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (NetworkOptions(input_spec=InputSpec()), "takes no input spec"),
        (NetworkOptions(runtime="openvino"), "takes no runtime openvino"),
    ],
)
def test_what_a_model_of_ours_cannot_take_is_refused(model, tmp_path, options, said):
    detector = open_detector(one_face(tmp_path / "d.onnx"), threads=1)
    with pytest.raises(UsageError, match=said):
        FaceAnalysis(model, detector, options=options, threads=1)


def test_an_export_does_not_take_the_card_along_and_says_so(carded, tmp_path, caplog, monkeypatch):
    """Stopped after the warning: what an export writes is tested where exports are."""
    monkeypatch.setattr(onnx_export, "_build", lambda *_: pytest.fail("enough"))
    crops = np.zeros((16, 112, 112, 3), np.uint8)
    with caplog.at_level(logging.WARNING, logger="crossface"), pytest.raises(pytest.fail.Exception):
        export_onnx(carded, tmp_path / "e.onnx", samples=crops)
    assert "threshold card stays behind" in caplog.text


def test_a_gallery_decides_by_the_row_for_its_own_size(carded, tmp_path):
    embedder = TorchEmbedder(carded)
    gallery = Gallery.open(
        tmp_path / "g.db", contract=embedder.contract, card=embedder.threshold_card
    )
    vector = np.eye(16, dtype=np.float32)[:1]
    gallery.enroll("ann", vector)
    assert gallery.identify(vector[0]).threshold == CARD.fpir_by_gallery_size[100][0].threshold
    gallery.close()
