"""Batches for training, prepared while the step computes.

The order of pictures depends only on (seed, epoch) and the changes to a picture only on (seed,
epoch, index), so a run that starts at any step sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crossface.core.errors import ConfigError, DataError
from crossface.core.protocols import FaceSource
from crossface.core.seeds import generator
from crossface.core.types import UInt8Batch
from crossface.data.augment import Augment, AugmentConfig, Augmented
from crossface.data.dataset import UNLABELLED, LabelledView
from crossface.data.mixing import draw_mix, mixed

ExtraArray = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step sees.

    Attributes:
        crops: (B, 112, 112, 3) uint8 RGB after augmentation: what a teacher that looks at the
            same picture is given.
        indices: (B,) int64 positions in the source.
        labels: (B,) int64 classes, -1 where unlabelled or mixed: a mixed crop is nobody.
        flipped: (B,) bool, whether the crop is mirrored (cached embeddings have both sides).
        epoch: passes over the set that were finished before.
        step: batches since the start of training, from 0.
        extra: rows of the loader's extra arrays at ``indices``, by name.
    """

    crops: UInt8Batch
    indices: Tensor
    labels: Tensor
    flipped: Tensor
    epoch: int
    step: int
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def images(self) -> Tensor:
        """(B, 3, 112, 112) float32 in [-1, 1], channels-last in memory; computed on each call."""
        return to_input(torch.from_numpy(self.crops))

    def images_on(self, device: torch.device | str) -> Tensor:
        """The same on a device: bytes travel, not floats, which is a quarter of the way."""
        return to_input(torch.from_numpy(self.crops).to(device, non_blocking=True))


def to_input(crops: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 on any device to (B, 3, H, W) float32 in [-1, 1], channels-last.

    The same values as ``core.geometry.normalise`` with a default ``InputSpec``.
    """
    return crops.to(torch.float32).sub_(127.5).div_(127.5).permute(0, 3, 1, 2)


class TrainLoader:
    """Batches of a source, without end or from any step to any other.

    The next batches are prepared by background threads: the codecs and the warping leave the
    interpreter lock. Read a set that fits into memory once (``data.dataset.MemoryFaces``).

    Attributes:
        batches_per_epoch: batches in one pass.
        labels: (N,) int64, -1 where unlabelled.
        classes: identities in the order of the labels.
        wait_seconds: how long the consumer has waited for data so far.

    Args:
        source: pictures; a ``LabelledView`` fixes the classes, else identities are sorted.
        batch_size: B.
        seed: fixes order and augmentation.
        augment: what is done to each picture.
        extra: arrays of N rows whose rows come with the batch, cached embeddings say.
        drop_last: leave out the pictures that do not fill a batch (others are left out in the
            next epoch).
        shuffle: a new order in each epoch; else the order of the source.
        workers: background threads.
        prefetch: batches prepared ahead.
        augment_period: epochs after which the changes to a picture repeat, so that a teacher's
            embeddings of changed pictures can be reused; 0: never. The order never repeats.
        mix: share of pictures that another one, changed likewise, is laid over (``data.mixing``).
        per_identity: pictures of one identity that follow each other, so that a batch holds
            pairs; what an identity has beyond a multiple of it comes as a smaller group.

    Raises:
        ConfigError: if a batch cannot be filled or a number is not positive.
        DataError: if an extra array has another length than the source.
    """

    def __init__(
        self,
        source: FaceSource,
        *,
        batch_size: int,
        seed: int,
        augment: Augment | AugmentConfig | str = "light",
        extra: Mapping[str, ExtraArray] | None = None,
        drop_last: bool = True,
        shuffle: bool = True,
        workers: int = 1,
        prefetch: int = 4,
        augment_period: int = 0,
        mix: float = 0.0,
        per_identity: int = 1,
    ) -> None:
        self.source = source
        self.batch_size = batch_size
        self.seed = seed
        self.augment = augment if isinstance(augment, Augment) else Augment(augment)
        self.extra = dict(extra or {})
        self.drop_last = drop_last
        self.shuffle = shuffle
        self.workers = workers
        self.prefetch = prefetch
        self.augment_period = augment_period
        self.mix = mix
        self.per_identity = per_identity
        self.wait_seconds = 0.0
        self._check()
        view = source if isinstance(source, LabelledView) else LabelledView(source)
        self.labels = view.labels
        self.classes = view.classes
        whole, rest = divmod(len(source), batch_size)
        self.batches_per_epoch = whole if drop_last else whole + (rest > 0)
        self._order: tuple[int, npt.NDArray[np.int64]] = (-1, np.empty(0, dtype=np.int64))

    def batches(self, start_step: int = 0, stop_step: int | None = None) -> Iterator[Batch]:
        """Batches ``start_step`` (from 0) up to ``stop_step`` (exclusive; None: without end).

        Close the iterator, or let it be collected, to stop the threads.

        Raises:
            ImageError: at the batch whose picture cannot be read.
        """
        steps = iter(_steps(start_step, stop_step))
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="loader")
        ahead: deque[Future[Batch]] = deque()
        try:
            while True:
                while len(ahead) < self.prefetch and (step := next(steps, None)) is not None:
                    ahead.append(pool.submit(self.batch, step, self._indices(step)))
                if not ahead:
                    return
                started = time.perf_counter()
                batch = ahead.popleft().result()
                self.wait_seconds += time.perf_counter() - started
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The batches of one pass."""
        first = epoch * self.batches_per_epoch
        return self.batches(first, first + self.batches_per_epoch)

    def batch(self, step: int, indices: npt.NDArray[np.int64] | None = None) -> Batch:
        """The batch of one step, prepared here and now."""
        if indices is None:
            indices = self._indices(step)
        epoch = step // self.batches_per_epoch
        view = epoch % self.augment_period if self.augment_period else epoch
        crops = np.empty((len(indices), 112, 112, 3), dtype=np.uint8)
        flipped = np.empty(len(indices), dtype=np.bool_)
        labels = self.labels[indices]
        for row, index in enumerate(indices.tolist()):
            crops[row], flipped[row] = self._changed(index, view)
            mix = draw_mix(
                seed=self.seed,
                epoch=view,
                index=index,
                size=len(self.source),
                probability=self.mix,
            )
            if mix is not None:
                other = self._changed(mix.partner, view).image
                crops[row] = mixed(crops[row], other, mix.share)
                labels[row] = UNLABELLED
        return Batch(
            crops=crops,
            indices=torch.from_numpy(indices),
            labels=torch.from_numpy(labels),
            flipped=torch.from_numpy(flipped),
            epoch=epoch,
            step=step,
            extra={name: torch.from_numpy(rows[indices]) for name, rows in self.extra.items()},
        )

    def _changed(self, index: int, view: int) -> Augmented:
        return self.augment.apply(self.source.read(index), seed=self.seed, epoch=view, index=index)

    def _indices(self, step: int) -> npt.NDArray[np.int64]:
        epoch, position = divmod(step, self.batches_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, self._order_of(epoch))
        first = position * self.batch_size
        return self._order[1][first : first + self.batch_size].copy()

    def _order_of(self, epoch: int) -> npt.NDArray[np.int64]:
        size = len(self.source)
        if not self.shuffle:
            return np.arange(size, dtype=np.int64)
        draw = generator(self.seed, "order", epoch)
        order = draw.permutation(size).astype(np.int64)
        if self.per_identity == 1:
            return order
        # Pictures without an identity are groups of one.
        by_label = order[np.argsort(self.labels[order], kind="stable")]
        labels = self.labels[by_label]
        starts = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
        rank = np.arange(size) - np.repeat(starts, np.diff(np.append(starts, size)))
        groups = np.split(
            by_label, np.flatnonzero((rank % self.per_identity == 0) | (labels < 0))[1:]
        )
        return np.concatenate([groups[n] for n in draw.permutation(len(groups))])

    def _check(self) -> None:
        for name in ("batch_size", "workers", "prefetch", "per_identity"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.mix <= 1:
            raise ConfigError(f"mix must lie in 0..1, got {self.mix}")
        size = len(self.source)
        if size == 0 or (self.drop_last and size < self.batch_size):
            raise ConfigError(
                f"{self.source.name}: a batch takes {self.batch_size} pictures, the set has {size}"
            )
        for name, rows in self.extra.items():
            if len(rows) != size:
                raise DataError(
                    f"{self.source.name}: expected {size} rows in {name!r}, got {len(rows)}"
                )


def _steps(start: int, stop: int | None) -> Iterator[int]:
    step = start
    while stop is None or step < stop:
        yield step
        step += 1
