"""Two stages in several threads, batches across items, results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Part = TypeVar("Part")
Done = TypeVar("Done")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Prepared(Generic[Part, Done, Result]):
    """What the first stage makes of an item: parts for the second, and how to put them together."""

    parts: Sequence[Part]
    build: Callable[[list[Done]], Result]


@dataclass(slots=True)
class _Batch(Generic[Part, Done]):
    parts: list[Part] = field(default_factory=list)
    future: Future[list[Done]] | None = None


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Part, Done, Result]):
    """An item whose parts lie in batches, by position."""

    places: list[tuple[_Batch[Part, Done], int]]
    build: Callable[[list[Done]], Result]

    def sent(self) -> bool:
        return all(batch.future is not None for batch, _ in self.places)

    def open_futures(self) -> list[Future[list[Done]]]:
        sent = (batch.future for batch, _ in self.places)
        return [future for future in sent if future is not None and not future.done()]

    def ready(self) -> bool:
        return self.sent() and not self.open_futures()

    def finish(self) -> Result:
        done = []
        for batch, position in self.places:
            if batch.future is not None:
                done.append(batch.future.result()[position])
        return self.build(done)


class Flow(Generic[Item, Part, Done, Result]):
    """Runs ``prepare`` on items and ``finish`` on batches of their parts.

    At most ``2 * workers`` items are being prepared and at most ``ahead`` finished ones wait, so
    memory is bounded however long the stream is; the items are read that far ahead.

    Args:
        prepare: the first stage, one item in one worker thread.
        finish: the second stage: parts of consecutive items in, as many results out.
        workers: threads; each stage must be safe to run in several at once.
        batch: parts given to ``finish`` at once; fewer at the end of the stream.
    """

    def __init__(
        self,
        prepare: Callable[[Item], Prepared[Part, Done, Result]],
        finish: Callable[[list[Part]], list[Done]],
        *,
        workers: int,
        batch: int,
    ) -> None:
        if workers < 1 or batch < 1:
            raise ValueError(f"workers and batch must be >= 1, got {workers}, {batch}")
        self._prepare = prepare
        self._finish = finish
        self._workers = workers
        self._size = batch
        self._ahead = 2 * workers + 2 * batch

    def run(self, items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items; an exception of a stage or of the items ends them."""
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="crossface")
        try:
            yield from self._results(enumerate(items), pool)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _results(
        self, source: Iterator[tuple[int, Item]], pool: ThreadPoolExecutor
    ) -> Iterator[Result]:
        first: deque[Future[Prepared[Part, Done, Result]]] = deque()
        second: deque[_Waiting[Part, Done, Result]] = deque()
        batch: _Batch[Part, Done] = _Batch()
        more = True
        while more or first or second:
            while more and len(first) < 2 * self._workers and len(second) < self._ahead:
                entry = next(source, None)
                more = entry is not None
                if entry is not None:
                    first.append(pool.submit(self._prepare, entry[1]))
            while first and first[0].done():
                batch = self._gather(first.popleft().result(), second, batch, pool)
            if not second:
                wait([first[0]] if first else [])
                continue
            oldest = second[0]
            if oldest.ready():
                yield second.popleft().finish()
            elif not oldest.sent() and not first:
                self._submit(batch, pool)  # nothing more can fill it for now
                batch = _Batch()
            else:
                futures: list[Future[Any]] = [*oldest.open_futures(), *list(first)[:1]]
                wait(futures, return_when=FIRST_COMPLETED)

    def _gather(
        self,
        prepared: Prepared[Part, Done, Result],
        second: deque[_Waiting[Part, Done, Result]],
        batch: _Batch[Part, Done],
        pool: ThreadPoolExecutor,
    ) -> _Batch[Part, Done]:
        """Put an item's parts into batches, send the full ones off; the batch still open."""
        places = []
        for part in prepared.parts:
            batch.parts.append(part)
            places.append((batch, len(batch.parts) - 1))
            if len(batch.parts) == self._size:
                self._submit(batch, pool)
                batch = _Batch()
        second.append(_Waiting(places, prepared.build))
        return batch

    def _submit(self, batch: _Batch[Part, Done], pool: ThreadPoolExecutor) -> None:
        batch.future = pool.submit(self._finish, batch.parts)
