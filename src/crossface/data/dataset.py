"""Views of a face source: a part of it, in memory, with classes, without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from crossface.core.errors import DataError
from crossface.core.progress import Progress
from crossface.core.protocols import FaceSource
from crossface.core.types import UInt8Batch, UInt8Image

Int64Array = npt.NDArray[np.int64]

UNLABELLED = -1


class View:
    """A source that forwards to another one; the base of the views below."""

    def __init__(self, source: FaceSource) -> None:
        self.source = source

    @property
    def name(self) -> str:
        """Name of the source."""
        return self.source.name

    def __len__(self) -> int:
        return len(self.source)

    def key(self, index: int) -> str:
        """Key of the picture."""
        return self.source.key(index)

    def identity(self, index: int) -> str | None:
        """Identity of the picture, None where unlabelled."""
        return self.source.identity(index)

    def read(self, index: int) -> UInt8Image:
        """(112, 112, 3) uint8 RGB."""
        return self.source.read(index)

    def digest(self) -> str:
        """Digest of the source."""
        return self.source.digest()


class Subset(View):
    """The pictures at ``indices`` of a source, in that order.

    Raises:
        DataError: if an index lies outside the source.
    """

    def __init__(self, source: FaceSource, indices: Iterable[int]) -> None:
        super().__init__(source)
        self.indices = np.fromiter(indices, dtype=np.int64)
        outside = self.indices[(self.indices < 0) | (self.indices >= len(source))]
        if outside.size:
            raise DataError(
                f"{source.name}: subset index must lie in 0..{len(source) - 1}, got {outside[0]}"
            )

    def __len__(self) -> int:
        return len(self.indices)

    def key(self, index: int) -> str:
        """Key of the picture in the whole set."""
        return self.source.key(int(self.indices[index]))

    def identity(self, index: int) -> str | None:
        """Identity of the picture, None where unlabelled."""
        return self.source.identity(int(self.indices[index]))

    def read(self, index: int) -> UInt8Image:
        """(112, 112, 3) uint8 RGB."""
        return self.source.read(int(self.indices[index]))

    def digest(self) -> str:
        """Digest of the source and the indices, in order."""
        parts = self.source.digest().encode() + self.indices.astype("<i8").tobytes()
        return hashlib.sha256(parts).hexdigest()


class Unlabelled(View):
    """The same pictures without identities."""

    def identity(self, index: int) -> str | None:
        """Always None."""
        return None


class MemoryFaces(View):
    """A source decoded once into one array, for sets that fit: 37.6 kB a crop, 40,000 = 1.5 GB.

    Attributes:
        crops: (N, 112, 112, 3) uint8 RGB.

    Args:
        source: where the pictures come from.
        threads: decoders at work; decoding leaves the interpreter lock.
        progress: show progress on stderr.
        crops: all its pictures, if they were decoded before (``decode_into``).

    Raises:
        ImageError: naming the first picture that cannot be read.
    """

    def __init__(
        self,
        source: FaceSource,
        *,
        threads: int = 2,
        progress: bool = True,
        crops: UInt8Batch | None = None,
    ) -> None:
        super().__init__(source)
        if crops is None:
            crops = np.empty((len(source), 112, 112, 3), dtype=np.uint8)
            decode_into(crops, source, threads=threads, progress=progress)
            crops.flags.writeable = False
        self.crops = crops

    def read(self, index: int) -> UInt8Image:
        """(112, 112, 3) uint8 RGB, a read-only view."""
        crop: UInt8Image = self.crops[index]
        return crop


def decode_into(
    crops: UInt8Batch, source: FaceSource, *, threads: int = 2, progress: bool = True
) -> None:
    """Decode every picture of a source into an array; the arguments are ``MemoryFaces``'."""

    def decode(index: int) -> None:
        crops[index] = source.read(index)

    pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        with Progress(f"reading {source.name}", len(source), enabled=progress) as shown:
            for _ in pool.map(decode, range(len(source))):
                shown.advance()
    finally:
        pool.shutdown(cancel_futures=True)


class LabelledView(View):
    """A source with class numbers for training.

    Attributes:
        classes: the identities, sorted; a label is a position here.
        labels: (N,) int64, -1 where unlabelled.

    Args:
        source: the pictures.
        identities: one per picture in place of the source's own (pseudo-identities from
            clusters, say).
        classes: fixed class order in place of the sorted one; pictures of others get -1.
    """

    def __init__(
        self,
        source: FaceSource,
        *,
        identities: Sequence[str | None] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        super().__init__(source)
        if identities is None:
            identities = identities_of(source)
        if len(identities) != len(source):
            raise DataError(
                f"{source.name}: expected {len(source)} identities, got {len(identities)}"
            )
        self._identities = tuple(identities)
        known = {name for name in self._identities if name is not None}
        self.classes: tuple[str, ...] = tuple(sorted(known) if classes is None else classes)
        position = {name: number for number, name in enumerate(self.classes)}
        self.labels: Int64Array = np.array(
            [position.get(name, UNLABELLED) if name is not None else UNLABELLED
             for name in self._identities],
            dtype=np.int64,
        )  # fmt: skip

    def identity(self, index: int) -> str | None:
        """Identity of the picture, None where unlabelled."""
        return self._identities[index]


def identities_of(source: FaceSource) -> list[str | None]:
    """Identity of every picture of a source."""
    return [source.identity(index) for index in range(len(source))]
