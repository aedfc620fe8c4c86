"""What rooms expect of each other, so that they need not import each other."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.types import FloatArray, UInt8Batch, UInt8Image


@runtime_checkable
class Embedder(Protocol):
    """Anything that turns aligned face crops into embeddings."""

    @property
    def contract(self) -> EmbeddingContract:
        """Who this is and which space it embeds into."""
        ...

    @property
    def input_spec(self) -> InputSpec:
        """How its crops must be aligned and normalised."""
        ...

    def embed(self, crops: UInt8Batch) -> FloatArray:
        """Raw embeddings.

        Args:
            crops: (N, H, W, 3) uint8 RGB, already in this embedder's own template
                (see ``core.geometry.retarget_crops`` for crops in another one).

        Returns:
            (N, D) float32, *not* normalised: flips are summed before the length is taken.
        """
        ...


@runtime_checkable
class FaceSource(Protocol):
    """A set of aligned 112x112 RGB crops, labelled or not, read by position."""

    @property
    def name(self) -> str:
        """Short name for messages, never a whole path."""
        ...

    def __len__(self) -> int: ...

    def key(self, index: int) -> str:
        """Stable name of the picture inside the set ("Ann_Lee/Ann_Lee_0001")."""
        ...

    def identity(self, index: int) -> str | None:
        """Identity of the picture, None where unlabelled."""
        ...

    def read(self, index: int) -> UInt8Image:
        """(112, 112, 3) uint8 RGB.

        Raises:
            ImageError: naming the picture.
        """
        ...

    def digest(self) -> str:
        """Hex sha256 that changes when keys or bytes change; the key of every cache."""
        ...
