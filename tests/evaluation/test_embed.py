"""Embedding a source: order, flips, template, failures."""

import numpy as np
import pytest
from fakes import ConstantEmbedder, MeanEmbedder, NoiseFaces, contract

from crossface.core.contract import InputSpec
from crossface.core.errors import WeightsError
from crossface.core.geometry import retarget_crops
from crossface.evaluation.embed import embed_faces


def test_embeddings_are_unit_and_in_the_order_of_the_source():
    source = NoiseFaces((3, 2, 4))
    faces = embed_faces(MeanEmbedder(), source, flip=False, batch_size=4, progress=False)
    crops = np.stack([source.read(i) for i in range(9)])
    raw = MeanEmbedder().embed(crops)
    want = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(faces.embeddings, want, atol=1e-6)
    assert faces.embeddings.dtype == np.float32
    assert faces.keys == tuple(source.key(i) for i in range(9))
    assert faces.identities == tuple(source.identity(i) for i in range(9))
    assert (faces.fta, faces.source_digest) == (0.0, source.digest())


def test_flip_sums_the_raw_embeddings_before_the_length_is_taken():
    source = NoiseFaces((3, 3))
    faces = embed_faces(MeanEmbedder(), source, progress=False)
    crops = np.stack([source.read(i) for i in range(6)])
    raw = MeanEmbedder().embed(crops) + MeanEmbedder().embed(crops[:, :, ::-1])
    np.testing.assert_allclose(
        faces.embeddings, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6
    )


def test_crops_are_retargeted_and_the_retargeted_crop_is_mirrored():
    spec = InputSpec(
        size_hw=(128, 128), reference_points_px=((40, 59), (87, 59), (64, 82), (45, 106), (84, 105))
    )

    class Wide:
        input_spec = spec
        contract = contract(128)
        input_spec_source = "argument"

        def embed(self, crops):
            assert crops.shape[1:] == (128, 128, 3)
            return crops.astype(np.float32).mean(axis=(1, 3))

    source = NoiseFaces((2,))
    faces = embed_faces(Wide(), source, progress=False)
    crops = retarget_crops(np.stack([source.read(i) for i in range(2)]), spec)
    raw = crops.astype(np.float64).mean(axis=(1, 3))
    raw = raw + raw[:, ::-1]
    np.testing.assert_allclose(
        faces.embeddings, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6
    )
    assert faces.input_spec_source == "argument"


def test_the_batch_size_does_not_matter():
    one = embed_faces(MeanEmbedder(), NoiseFaces(), batch_size=1, progress=False)
    many = embed_faces(MeanEmbedder(), NoiseFaces(), batch_size=1000, progress=False)
    np.testing.assert_allclose(one.embeddings, many.embeddings, atol=1e-6)
    assert one.keys == many.keys


def test_pictures_that_cannot_be_read_are_counted_not_raised():
    source = NoiseFaces((4, 4), broken=(0, 5))
    faces = embed_faces(MeanEmbedder(), source, batch_size=3, progress=False)
    assert [f.name for f in faces.failures] == [source.key(0), source.key(5)]
    assert "truncated" in faces.failures[0].reason
    assert faces.fta == pytest.approx(2 / 8)
    assert len(faces.embeddings) == len(faces.keys) == 6
    all_broken = embed_faces(MeanEmbedder(), NoiseFaces((2,), broken=(0, 1)), progress=False)
    assert all_broken.embeddings.shape == (0, MeanEmbedder().contract.dim)
    assert all_broken.fta == 1.0


def test_a_zero_embedding_is_a_failure_of_that_picture():
    class Half(ConstantEmbedder):
        def embed(self, crops):
            out = super().embed(crops)
            out[crops[:, 0, 0, 0] < 128] = 0
            return out

    source = NoiseFaces((2,) * 8)
    dark = [source.key(i) for i in range(16) if source.read(i)[0, 0, 0] < 128]
    faces = embed_faces(Half(), source, flip=False, progress=False)
    assert [f.name for f in faces.failures] == dark
    assert 0 < len(dark) < 16


def test_an_embedder_that_breaks_its_contract_is_named():
    class Broken(ConstantEmbedder):
        def embed(self, crops):
            return super().embed(crops)[:, :4]

    with pytest.raises(WeightsError, match=r"constant: expected \(4, 8\) float32"):
        embed_faces(Broken(), NoiseFaces((2,)), progress=False)

    class NotFinite(ConstantEmbedder):
        def embed(self, crops):
            return np.full((len(crops), 8), np.nan, dtype=np.float32)

    with pytest.raises(WeightsError, match="not finite"):
        embed_faces(NotFinite(), NoiseFaces((2,)), progress=False)
