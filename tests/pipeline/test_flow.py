"""The two-stage flow: order, batches across items, bounds, exceptions."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.pipeline.flow import Flow, Prepared


def run(counts, *, workers=2, batch=3, delay=lambda item: 0.0):
    """Each item is a number of parts; the result lists what came back for them."""
    sizes, lock = [], threading.Lock()

    def prepare(item):
        number, count = item
        time.sleep(delay(number))
        return Prepared([(number, k) for k in range(count)], lambda done: (number, done))

    def finish(parts):
        with lock:
            sizes.append(len(parts))
        return [f"{number}.{k}" for number, k in parts]

    flow = Flow(prepare, finish, workers=workers, batch=batch)
    return list(flow.run(enumerate(counts))), sizes


@given(st.lists(st.integers(0, 7), max_size=30), st.integers(1, 4), st.integers(1, 5))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_every_part_comes_back_to_its_item_in_order(counts, workers, batch):
    results, sizes = run(counts, workers=workers, batch=batch)
    assert results == [(n, [f"{n}.{k}" for k in range(c)]) for n, c in enumerate(counts)]
    assert sum(sizes) == sum(counts)
    assert all(size <= batch for size in sizes)


def test_batches_are_filled_across_items():
    _, sizes = run([1] * 12, batch=4)
    assert sizes == [4, 4, 4]


def test_slow_items_do_not_change_the_order():
    results, _ = run([1] * 8, workers=4, delay=lambda n: 0.02 if n % 3 == 0 else 0.0)
    assert [number for number, _ in results] == list(range(8))


def test_a_bounded_number_of_items_is_read_ahead():
    pulled = []

    def endless():
        number = 0
        while True:
            pulled.append(number)
            yield (number, 1)
            number += 1

    flow = Flow(
        lambda item: Prepared([item], lambda done: done),
        lambda parts: parts,
        workers=2,
        batch=3,
    )
    results = flow.run(endless())
    for _ in range(50):
        next(results)
    results.close()
    assert len(pulled) <= 50 + 2 * (2 * 2) + 2 * 3 + 3


def test_an_exception_of_a_stage_reaches_the_reader_and_the_threads_end():
    def prepare(item):
        if item == 5:
            raise KeyError("five")
        return Prepared([item], lambda done: done[0])

    before = threading.active_count()
    results = Flow(prepare, lambda parts: parts, workers=2, batch=2).run(range(10))
    with pytest.raises(KeyError, match="five"):
        list(results)
    assert threading.active_count() == before


def test_an_exception_of_the_items_reaches_the_reader():
    def items():
        yield 1
        raise OSError("the camera went away")

    flow = Flow(lambda i: Prepared([i], lambda d: d[0]), lambda p: p, workers=1, batch=1)
    with pytest.raises(OSError, match="camera"):
        list(flow.run(items()))


def test_workers_and_batch_are_checked():
    with pytest.raises(ValueError, match="workers and batch must be >= 1, got 0, 1"):
        Flow(lambda i: i, lambda p: p, workers=0, batch=1)
