"""One of our own networks on torch: uint8 crops in, raw float32 embeddings out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossface.core.card import ThresholdCard
from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import ConfigError, MissingExtra, WeightsError
from crossface.core.geometry import normalise
from crossface.core.types import FloatArray, UInt8Batch

if TYPE_CHECKING:
    from crossface.nets.checkpoint import LoadedModel

_BATCH_SIZE = 64


class TorchEmbedder:
    """An embedder over a network of ours, frozen as it is when this is made.

    Args:
        model: a file written by ``save_model``, or what ``load_model`` gave; the network of the
            latter is copied, so that training it further does not change this embedder.
        device: where it runs ("cpu", "cuda", "cuda:1").
        threads: of one inference on the CPU; torch's own choice by default.

    Attributes:
        contract: who this is and which space it embeds into.
        input_spec: how its crops must be aligned and normalised.
        threshold_card: thresholds measured on this model, None where the file carries none.

    Raises:
        MissingExtra: if torch is not installed.
        WeightsError: if the file cannot be used.
        ContractMismatch: if the file carries the threshold card of another model.
        ConfigError: if the device cannot be used.
    """

    def __init__(
        self, model: str | Path | LoadedModel, *, device: str = "cpu", threads: int | None = None
    ) -> None:
        if find_spec("torch") is None:
            raise MissingExtra("torch", "train")
        import torch

        if threads is not None and threads < 1:
            raise ValueError(f"threads must be >= 1, got {threads}")
        if isinstance(model, str | Path):
            from crossface.nets.checkpoint import load_model

            loaded, net = load_model(model), None
            self.name = Path(model).name
        else:
            loaded, net = model, copy.deepcopy(model.net)
            self.name = loaded.contract.model_id
        self._device = _usable_device(device)
        self._threads = threads
        self._contract = loaded.contract
        self._input_spec = loaded.input_spec
        self._threshold_card = loaded.threshold_card
        self._net = (net or loaded.net).eval().requires_grad_(False)
        self._net.to(self._device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def contract(self) -> EmbeddingContract:
        """Who this is and which space it embeds into."""
        return self._contract

    @property
    def input_spec(self) -> InputSpec:
        """How its crops must be aligned and normalised."""
        return self._input_spec

    @property
    def threshold_card(self) -> ThresholdCard | None:
        """Thresholds measured on this model, None where the file carries none."""
        return self._threshold_card

    def embed(self, crops: UInt8Batch) -> FloatArray:
        """Raw embeddings.

        Args:
            crops: (N, H, W, 3) uint8 RGB, in this embedder's own template.

        Returns:
            (N, D) float32, not normalised.

        Raises:
            ValueError: if the crops have another size.
            WeightsError: if the network gives a value that is not finite.
        """
        out = np.empty((len(crops), self._contract.dim), dtype=np.float32)
        with _threads(self._threads):
            for start in range(0, len(crops), _BATCH_SIZE):
                part = crops[start : start + _BATCH_SIZE]
                out[start : start + len(part)] = self._run(normalise(part, self._input_spec))
        if not np.isfinite(out).all():
            row = int(np.flatnonzero(~np.isfinite(out).all(axis=1))[0])
            raise WeightsError(
                f"{self.name}: expected finite embeddings, row {row} of {len(out)} is not"
            )
        return out

    def _run(self, values: FloatArray) -> FloatArray:
        """(n, 3, H, W) normalised pixels to (n, D)."""
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(values).to(device=self._device, memory_format=torch.channels_last)
            result: FloatArray = self._net(x).float().cpu().numpy()
        return result


def _usable_device(device: str) -> str:
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ConfigError(f"device {device!r} cannot be used here: {reason}") from None
    return device


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Run with so many threads; torch's number is one per process and is put back."""
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count is not None:
            torch.set_num_threads(before)
