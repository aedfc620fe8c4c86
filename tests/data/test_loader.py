"""The loader: exact positions, complete epochs, honest waiting, errors that reach the caller."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest
import torch

from crossface.core.contract import InputSpec
from crossface.core.errors import ConfigError, DataError, ImageError
from crossface.core.geometry import normalise
from crossface.data.augment import Augment
from crossface.data.dataset import LabelledView
from crossface.data.loader import Batch, TrainLoader
from face_files import pattern


class Patterns:
    """Pictures of their own number, labelled by its last digit."""

    name = "patterns"

    def __init__(self, size: int = 23, *, broken: int | None = None, delay_s: float = 0.0) -> None:
        self.pictures = [pattern(index) for index in range(size)]
        self.broken = broken
        self.delay_s = delay_s

    def __len__(self) -> int:
        return len(self.pictures)

    def key(self, index: int) -> str:
        return f"{index:04d}"

    def identity(self, index: int) -> str | None:
        return f"id{index % 10}"

    def read(self, index: int) -> np.ndarray:
        time.sleep(self.delay_s)
        if index == self.broken:
            raise ImageError(f"patterns: {self.key(index)}: broken")
        return self.pictures[index]

    def digest(self) -> str:
        return "0" * 64


def _loader(source: Patterns | None = None, **options: object) -> TrainLoader:
    settings: dict[str, object] = {"batch_size": 5, "seed": 3, "augment": "strong"}
    return TrainLoader(source or Patterns(), **(settings | options))  # type: ignore[arg-type]


def _assert_equal(first: Batch, second: Batch) -> None:
    assert (first.step, first.epoch) == (second.step, second.epoch)
    np.testing.assert_array_equal(first.crops, second.crops)
    assert torch.equal(first.indices, second.indices)
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(first.flipped, second.flipped)


@pytest.mark.parametrize("start", [0, 1, 3, 4, 9])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_resumed_run_sees_what_an_uninterrupted_one_would_have_seen(
    start: int, workers: int
) -> None:
    whole = list(_loader().batches(0, 12))
    resumed = list(_loader(workers=workers, prefetch=2).batches(start, 12))
    assert [batch.step for batch in whole] == list(range(12))
    assert len(resumed) == 12 - start
    for first, second in zip(whole[start:], resumed, strict=True):
        _assert_equal(first, second)


def test_a_single_batch_can_be_asked_for() -> None:
    loader = _loader()
    for wanted in loader.batches(5, 8):
        _assert_equal(loader.batch(wanted.step), wanted)


def test_an_epoch_shows_every_picture_once() -> None:
    loader = _loader(drop_last=False)
    assert loader.batches_per_epoch == 5
    seen = torch.cat([batch.indices for batch in loader.epoch(2)])
    assert sorted(seen.tolist()) == list(range(23))
    assert [len(batch) for batch in loader.epoch(0)] == [5, 5, 5, 5, 3]


def test_drop_last_leaves_out_other_pictures_in_other_epochs() -> None:
    loader = _loader()
    assert loader.batches_per_epoch == 4
    left_out = [
        set(range(23)) - {i for batch in loader.epoch(e) for i in batch.indices.tolist()}
        for e in range(3)
    ]
    assert all(len(missing) == 3 for missing in left_out)
    assert len({frozenset(missing) for missing in left_out}) > 1


def test_order_and_augmentation_change_with_epoch_and_seed() -> None:
    orders = {
        tuple(batch.indices.tolist())
        for loader, epoch in [(_loader(), 0), (_loader(), 1), (_loader(seed=4), 0)]
        for batch in list(loader.epoch(epoch))[:1]
    }
    assert len(orders) == 3
    straight = _loader(shuffle=False)
    assert next(iter(straight.epoch(1))).indices.tolist() == [0, 1, 2, 3, 4]


def test_crops_are_the_augmented_pictures_and_images_their_normalised_form() -> None:
    batch = _loader().batch(6)
    augment = Augment("strong")
    for row, index in enumerate(batch.indices.tolist()):
        expected = augment.apply(pattern(index), seed=3, epoch=1, index=index)
        np.testing.assert_array_equal(batch.crops[row], expected.image)
        assert bool(batch.flipped[row]) == expected.flipped
    images = batch.images
    np.testing.assert_array_equal(images.numpy(), normalise(batch.crops, InputSpec()))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch.images_on("cpu"), images)
    assert (batch.labels == batch.indices % 10).all()


def test_extra_rows_come_with_their_pictures() -> None:
    rows = np.arange(46, dtype=np.float16).reshape(23, 2)
    for batch in _loader(extra={"teacher": rows}).batches(0, 6):
        assert batch.extra["teacher"].dtype == torch.float16
        np.testing.assert_array_equal(batch.extra["teacher"].numpy(), rows[batch.indices.numpy()])


def test_an_unreadable_picture_reaches_the_caller_and_the_threads_end() -> None:
    before = threading.active_count()
    with pytest.raises(ImageError, match="patterns: 0007: broken"):
        list(_loader(Patterns(broken=7), drop_last=False).epoch(0))
    assert threading.active_count() == before


def test_an_abandoned_iterator_ends_its_threads() -> None:
    before = threading.active_count()
    batches = _loader().batches()
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


def test_waiting_is_counted_and_a_slow_step_does_not_wait() -> None:
    slow = _loader(Patterns(delay_s=0.01), augment="none")
    list(slow.batches(0, 4))
    assert slow.wait_seconds > 0.15
    idle = _loader(augment="none", prefetch=2)
    batches = idle.batches(0, 6)
    next(batches)
    first = idle.wait_seconds
    for _ in batches:
        time.sleep(0.1)
    # Six batches of patterns take milliseconds; the bound leaves room for a busy machine.
    assert idle.wait_seconds - first < 0.4


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"batch_size": 24}, "patterns: a batch takes 24 pictures, the set has 23"),
        ({"augment": "heavy"}, "none, flip, light, strong"),
        ({"mix": 1.5}, "mix must lie in 0..1, got 1.5"),
    ],
)
def test_a_loader_that_cannot_work_is_refused(options: dict, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        _loader(**options)


def test_extra_rows_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match="expected 23 rows in 'teacher', got 22"):
        _loader(extra={"teacher": np.zeros((22, 2))})


def test_pictures_of_an_identity_come_in_groups_and_an_epoch_is_still_complete() -> None:
    loader = _loader(Patterns(46), batch_size=6, per_identity=3, drop_last=False)
    orders = []
    for epoch in (0, 1):
        batches = list(loader.epoch(epoch))
        indices = torch.cat([batch.indices for batch in batches]).tolist()
        assert sorted(indices) == list(range(46))
        names = [index % 10 for index in indices]
        lengths = [len(list(group)) for _, group in itertools.groupby(names)]
        # Ten identities of four or five: one group of three each, and a rest of one or two.
        assert sum(length >= 3 for length in lengths) >= 10
        assert len(lengths) <= 20
        orders.append(indices)
    assert orders[0] != orders[1]
    again = [batch.indices.tolist() for batch in loader.batches(3, 6)]
    assert again == [orders[0][18:24], orders[0][24:30], orders[0][30:36]]


def test_pictures_without_an_identity_are_groups_of_one() -> None:
    view = LabelledView(Patterns(20), identities=["a"] * 8 + [None] * 12)
    loader = _loader(view, per_identity=4)
    starts = set()
    for epoch in range(6):
        known = [index < 8 for batch in loader.epoch(epoch) for index in batch.indices.tolist()]
        runs = [(key, len(list(group))) for key, group in itertools.groupby(known)]
        assert sorted(length for key, length in runs if key) in ([4, 4], [8])
        starts.add(known.index(True) % 4)
    assert len(starts) > 1  # groups of four unlabelled pictures would leave only 0
