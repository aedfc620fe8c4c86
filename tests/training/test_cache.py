"""Cached teacher embeddings: right, keyed by everything that matters, and safe against crashes."""

import json

import numpy as np
import pytest

from crossface.core.contract import InputSpec
from crossface.core.errors import DataError, ImageError
from crossface.core.geometry import ARCFACE_POINTS_112, apply_transform, umeyama, warp
from crossface.training import cache
from crossface.training.cache import cache_key, cached_embeddings, decoded_faces, unit_rows
from crossface.training.teachers import SameViewTargets, clean_targets
from training.fakes import MeanColours, PatternFaces

FACES = PatternFaces(people=5, each=4, labelled=False)
POINTS = tuple((float(x) * 0.8 + 5, float(y) * 0.8 + 3) for x, y in ARCFACE_POINTS_112)
SMALL = InputSpec(size_hw=(96, 100), reference_points_px=POINTS)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(cache, "_CHUNK", 4)


def embed(teacher, tmp_path, faces=FACES):
    return cached_embeddings(teacher, faces, folder=tmp_path, progress=False)


def by_hand(teacher, faces, matrix=None):
    """(N, 2, D) from the definition, one picture at a time."""
    height, width = teacher.input_spec.size_hw
    rows = []
    for n in range(len(faces)):
        sides = []
        for crop in (faces.read(n), np.ascontiguousarray(faces.read(n)[:, ::-1])):
            seen = crop if matrix is None else warp(crop, matrix, (height, width))
            vector = teacher.embed(seen[None])[0].astype(np.float64)
            sides.append(vector / np.linalg.norm(vector))
        rows.append(sides)
    return np.array(rows)


def test_both_flips_are_those_of_direct_embedding(tmp_path):
    found = embed(MeanColours(), tmp_path)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, by_hand(MeanColours(), FACES), atol=1e-3)
    assert np.abs(found[:, 0] - found[:, 1]).max() > 0.05  # a mirror is another picture


def test_a_teacher_of_another_template_gets_its_crop_by_one_resampling(tmp_path):
    teacher = MeanColours(SMALL)
    matrix = umeyama(ARCFACE_POINTS_112, SMALL.reference_points_px)
    np.testing.assert_allclose(apply_transform(matrix, ARCFACE_POINTS_112), POINTS, atol=1e-6)
    expected = by_hand(teacher, FACES, matrix)
    np.testing.assert_allclose(embed(teacher, tmp_path), expected, atol=1e-3)


def test_clean_targets_are_the_unit_sum_of_both_flips(tmp_path):
    both = by_hand(MeanColours(), FACES).sum(axis=1)
    expected = both / np.linalg.norm(both, axis=1, keepdims=True)
    found = clean_targets(MeanColours(), FACES, folder=tmp_path, progress=False)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_the_second_run_asks_the_teacher_nothing(tmp_path):
    first = np.array(embed(MeanColours(), tmp_path))
    again = MeanColours()
    np.testing.assert_array_equal(embed(again, tmp_path), first)
    assert again.calls == 0


@pytest.mark.parametrize("fail_at", [3, 9, 20, 39])
def test_a_cache_that_crashed_goes_on_and_equals_the_uninterrupted_one(fail_at, tmp_path):
    whole = np.array(embed(MeanColours(), tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        embed(MeanColours(fail_at=fail_at), tmp_path / "pieces")
    rest = MeanColours()
    np.testing.assert_array_equal(embed(rest, tmp_path / "pieces"), whole)
    assert rest.calls == 40 - 8 * (fail_at // 8)  # whole chunks of four pictures are kept


def test_the_key_changes_with_teacher_input_and_data():
    keys = [
        cache_key(MeanColours(), FACES),
        cache_key(MeanColours(salt="b"), FACES),
        cache_key(MeanColours(InputSpec(channel_order="bgr")), FACES),
        cache_key(MeanColours(SMALL), FACES),
        cache_key(MeanColours(), PatternFaces(people=5, each=5)),
    ]
    assert len(set(keys)) == len(keys)
    assert cache_key(MeanColours(), PatternFaces(people=5, each=4)) == keys[0]


def _files(tmp_path):
    (data,), (record,) = tmp_path.rglob("*.npy"), tmp_path.rglob("*.json")
    return data, record


@pytest.mark.parametrize(
    "damage",
    [
        lambda data, record: data.write_bytes(data.read_bytes()[:-7]),
        lambda data, record: data.write_bytes(b""),
        lambda data, record: data.unlink(),
        lambda data, record: record.unlink(),
        lambda data, record: record.write_text("{"),
        lambda data, record: record.write_text("[1]"),
        lambda data, record: record.write_text(json.dumps({"done": 99})),
        lambda data, record: record.write_text(json.dumps({"done": -4})),
        lambda data, record: np.save(data, np.zeros((20, 2, 12), np.float32)),
        lambda data, record: np.save(data, np.zeros((3, 2, 12), np.float16)),
    ],
)
def test_a_damaged_cache_is_filled_again(damage, tmp_path):
    whole = np.array(embed(MeanColours(), tmp_path))
    damage(*_files(tmp_path))
    np.testing.assert_array_equal(embed(MeanColours(), tmp_path), whole)


def test_a_record_never_speaks_for_data_that_was_started_anew(tmp_path):
    """Crash in the first chunk of a refill: the old record must not vouch for zeros."""
    whole = np.array(embed(MeanColours(), tmp_path))
    data, _ = _files(tmp_path)
    data.write_bytes(data.read_bytes()[:-7])
    with pytest.raises(KeyboardInterrupt):
        embed(MeanColours(fail_at=2), tmp_path)
    np.testing.assert_array_equal(embed(MeanColours(), tmp_path), whole)


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    faces = PatternFaces(people=5, each=4, broken=[6])
    with pytest.raises(DataError, match=r"patterns: .*readable: 001/002: broken"):
        embed(MeanColours(), tmp_path, faces)


def test_a_zero_vector_stays_zero_instead_of_not_a_number():
    rows = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]], atol=1e-7)


@pytest.mark.parametrize("mix", [0.0, 0.5, 1.0])
def test_same_view_targets_see_the_very_crop_and_reuse_a_round(mix):
    import torch

    from crossface.data.loader import TrainLoader

    faces = PatternFaces(people=4, each=4)
    loader = TrainLoader(faces, batch_size=4, seed=0, augment="strong", augment_period=1, mix=mix)
    teacher = MeanColours()
    fresh = SameViewTargets(teacher, pictures=16)
    reused = SameViewTargets(MeanColours(), pictures=16, views=1)
    for batch in loader.batches(0, 8):
        expected = torch.from_numpy(unit_rows(teacher.embed(batch.crops)))
        torch.testing.assert_close(fresh(batch), expected)
        torch.testing.assert_close(reused(batch), expected, atol=1e-3, rtol=0)
    assert reused._teacher.calls == 16  # the second epoch came from the store


def test_pictures_are_decoded_once_and_shared(tmp_path):
    faces = PatternFaces(people=3, each=2)
    first = decoded_faces(faces, folder=tmp_path, progress=False)
    assert faces.reads == 6
    second = decoded_faces(faces, folder=tmp_path, progress=False)
    assert faces.reads == 6
    for index in range(6):
        np.testing.assert_array_equal(second.read(index), PatternFaces(3, 2).read(index))
    assert second.digest() == first.digest() == faces.digest()
    with pytest.raises(ValueError, match="read-only"):
        second.read(0)[0, 0, 0] = 1
    decoded_faces(PatternFaces(people=3, each=3), folder=tmp_path, progress=False)
    assert len(list((tmp_path / "pictures").glob("*.npy"))) == 2


def test_a_picture_that_cannot_be_decoded_is_named_and_leaves_no_file(tmp_path):
    with pytest.raises(ImageError, match="001/000: broken"):
        decoded_faces(PatternFaces(3, 2, broken=[2]), folder=tmp_path, progress=False)
    assert [f.suffix for f in (tmp_path / "pictures").iterdir()] == [".lock"]


def test_a_run_from_shared_pictures_ends_as_one_from_its_own(tmp_path):
    from crossface.training.launch import launch
    from training.fakes import assert_same_tensors, people_folder, supervised

    data = people_folder(tmp_path / "people")
    runs = [
        launch(
            supervised(data, data={"path": str(data), "memory": memory}),
            tmp_path / memory,
            show_progress=False,
            cache=tmp_path / "cache",
        )
        for memory in ("always", "shared")
    ]
    assert_same_tensors(runs[0].best, runs[1].best)
