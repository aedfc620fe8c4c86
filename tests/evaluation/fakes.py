"""Stand-ins for the rooms below: noise faces in memory and embedders that need no weights."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import ImageError


@dataclass(frozen=True)
class Pair:
    """A row of a pair list."""

    fold: int
    a: str
    b: str
    same: bool


@dataclass(frozen=True)
class PairList:
    """What the protocols ask of a pair list, and no more."""

    pairs: tuple[Pair, ...]


class NoiseFaces:
    """A FaceSource of coarse noise: the same block pattern per identity, fine noise per picture."""

    name = "noise"

    def __init__(self, sizes=(4,) * 12, *, seed=0, broken=(), labelled=True, noise=40.0):
        self.labels = [i for i, n in enumerate(sizes) for _ in range(n)]
        self.seed, self.broken, self.labelled, self.noise = seed, set(broken), labelled, noise

    def __len__(self):
        return len(self.labels)

    def key(self, index):
        return f"p{self.labels[index]:03d}/{index:05d}"

    def identity(self, index):
        return f"p{self.labels[index]:03d}" if self.labelled else None

    def read(self, index):
        if index in self.broken:
            raise ImageError(f"{self.key(index)}: broken or truncated image")
        base = np.random.default_rng((self.seed, self.labels[index])).uniform(0, 255, (7, 7, 3))
        big = np.kron(base, np.ones((16, 16, 1)))
        fine = np.random.default_rng((self.seed, 1, index)).normal(0, self.noise, big.shape)
        return np.clip(big + fine, 0, 255).astype(np.uint8)

    def digest(self):
        return hashlib.sha256(repr((self.labels, self.seed, self.noise)).encode()).hexdigest()


def contract(dim, name="fake"):
    return EmbeddingContract(
        model_id=name, digest="0" * 64, dim=dim, space_id=name, input_digest=InputSpec().digest
    )


class MeanEmbedder:
    """Block means of the crop, centred: nearly perfect on NoiseFaces."""

    input_spec = InputSpec()

    def __init__(self, grid=7):
        self.grid = grid
        self.contract = contract(grid * grid * 3, f"mean{grid}")

    def embed(self, crops):
        step = 112 // self.grid
        blocks = crops.reshape(len(crops), self.grid, step, self.grid, step, 3)
        means = blocks.mean(axis=(2, 4), dtype=np.float64).reshape(len(crops), -1) - 127.5
        return means.astype(np.float32)


class RandomEmbedder:
    """Noise that depends on the pixels only: chance level."""

    input_spec = InputSpec()
    contract = contract(16, "random")

    def embed(self, crops):
        seeds = [int.from_bytes(hashlib.sha256(c.tobytes()).digest()[:8], "big") for c in crops]
        return np.stack([np.random.default_rng(s).normal(size=16) for s in seeds]).astype(
            np.float32
        )


class ConstantEmbedder:
    """The same vector for everybody."""

    input_spec = InputSpec()
    contract = contract(8, "constant")

    def embed(self, crops):
        return np.ones((len(crops), 8), dtype=np.float32)


def flat(report, *, leave=("seconds", "versions", "contract_id", "model")):
    """The numbers of a report by their path."""
    found = {}
    for key, value in report.items():
        if key in leave:
            continue
        if isinstance(value, dict):
            found |= {f"{key}/{rest}": one for rest, one in flat(value, leave=leave).items()}
        elif isinstance(value, list):
            found |= {f"{key}/{place}": one for place, one in enumerate(value)}
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[key] = value
    return found
