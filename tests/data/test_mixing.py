"""Mixed crops: the weighted sum of two changed pictures, drawn again from (seed, epoch, index)."""

from __future__ import annotations

import numpy as np
import pytest

from crossface.data.augment import Augment
from crossface.data.loader import TrainLoader
from crossface.data.mixing import draw_mix, mixed
from face_files import pattern


class Patterns:
    """Twelve pictures of two people."""

    name = "patterns"

    def __len__(self) -> int:
        return 12

    def key(self, index: int) -> str:
        return f"{index:02d}"

    def identity(self, index: int) -> str | None:
        return f"id{index % 2}"

    def read(self, index: int) -> np.ndarray:
        return pattern(index)

    def digest(self) -> str:
        return "0" * 64


def loader(mix: float, **options: object) -> TrainLoader:
    return TrainLoader(Patterns(), batch_size=4, seed=5, augment="strong", mix=mix, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("mix", [0.5, 1.0])
def test_a_mixed_crop_is_the_weighted_sum_of_both_changed_pictures(mix: float) -> None:
    augment, count = Augment("strong"), 0
    for batch in loader(mix).batches(0, 6):
        for row, index in enumerate(batch.indices.tolist()):
            own = augment(pattern(index), seed=5, epoch=batch.epoch, index=index)
            drawn = draw_mix(seed=5, epoch=batch.epoch, index=index, size=12, probability=mix)
            if drawn is None:
                np.testing.assert_array_equal(batch.crops[row], own)
                assert batch.labels[row] == index % 2
                continue
            partner = drawn.partner
            other = augment(pattern(partner), seed=5, epoch=batch.epoch, index=partner)
            expected = drawn.share * own.astype(float) + (1 - drawn.share) * other.astype(float)
            assert np.abs(batch.crops[row] - expected).max() <= 0.5 + 1e-6
            assert batch.labels[row] == -1
            count += 1
    assert count == 24 if mix == 1 else 4 < count < 20


def test_the_loader_without_mixing_is_as_it_was() -> None:
    for plain, other in zip(loader(0.0).batches(0, 3), loader(0.0).batches(0, 3), strict=True):
        np.testing.assert_array_equal(plain.crops, other.crops)
        assert (plain.labels >= 0).all()


def test_a_crop_is_the_same_in_whichever_batch_it_comes_while_its_view_is() -> None:
    """So that a teacher's embedding of it can be kept, though the order never repeats."""
    seen: dict[int, np.ndarray] = {}
    for batch in loader(1.0, augment_period=1).batches(0, 9):
        for row, index in enumerate(batch.indices.tolist()):
            first = seen.setdefault(index, batch.crops[row].copy())
            np.testing.assert_array_equal(first, batch.crops[row])
    assert len(seen) == 12


def test_shares_are_uniform_above_one_half_and_partners_are_everybody() -> None:
    drawn = [
        draw_mix(seed=0, epoch=e, index=n, size=7, probability=0.25)
        for e in range(40)
        for n in range(100)
    ]
    mixes = [mix for mix in drawn if mix is not None]
    assert len(mixes) == pytest.approx(1000, abs=4 * np.sqrt(4000 * 0.25 * 0.75))
    shares = np.array([mix.share for mix in mixes])
    assert shares.min() >= 0.5
    assert shares.max() <= 1
    assert shares.mean() == pytest.approx(0.75, abs=0.02)
    assert {mix.partner for mix in mixes} == set(range(7))


def test_mixing_leaves_its_pictures_alone() -> None:
    first, second = pattern(0), pattern(1)
    before = first.copy(), second.copy()
    blend = mixed(first, second, 0.75)
    assert blend.dtype == np.uint8
    np.testing.assert_array_equal(first, before[0])
    np.testing.assert_array_equal(second, before[1])
