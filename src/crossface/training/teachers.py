"""Teachers: frozen by construction, asked for targets one batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crossface.core.contract import InputSpec
from crossface.core.errors import ConfigError, ContractMismatch
from crossface.core.geometry import retarget_crops
from crossface.core.protocols import Embedder, FaceSource
from crossface.data.loader import Batch
from crossface.nets.layers import Backbone, PixelFeatures
from crossface.pipeline.runtimes.opening import is_own_model, model_file, open_embedder
from crossface.training.cache import cached_embeddings, unit_rows
from crossface.training.schema import TeacherConfig

Targets = Callable[[Batch], Tensor]


class FrozenBackbone(Backbone):
    """One of our networks as a teacher: no gradient, always in eval mode, whatever is asked.

    Args:
        net: the network; its parameters stop requiring gradients.
    """

    def __init__(self, net: Backbone) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False)
        net.is_frozen_teacher = True
        self.embedding_dim = net.embedding_dim
        self.feature_dim = net.feature_dim
        self.grid_hw = net.grid_hw
        self.train(False)

    def train(self, mode: bool = True) -> FrozenBackbone:
        """Stay in eval mode."""
        del mode
        return super().train(False)

    def forward_features(self, x: Tensor) -> PixelFeatures:
        """Pixel features without a graph."""
        with torch.no_grad():
            return self.net.forward_features(x)

    def embed_features(self, features: PixelFeatures) -> Tensor:
        """Embedding without a graph."""
        with torch.no_grad():
            return self.net.embed_features(features)


def clean_targets(
    teacher: Embedder, source: FaceSource, *, folder: Path | None = None, progress: bool = True
) -> npt.NDArray[np.float32]:
    """(N, D) float32 unit targets: the cached embeddings of picture and mirror image, summed.

    The flip-sum is what the field deploys; regressing to it gives a student one target per
    picture whichever way the augmentation turns it.
    """
    both = cached_embeddings(teacher, source, folder=folder, progress=progress)
    return unit_rows(np.asarray(both, dtype=np.float32).sum(axis=1))


class CleanTargets:
    """Targets looked up by picture."""

    def __init__(self, embeddings: npt.NDArray[np.float32]) -> None:
        self._embeddings = torch.from_numpy(np.ascontiguousarray(embeddings))

    def __call__(self, batch: Batch) -> Tensor:
        """(B, D) float32 unit targets of a batch."""
        return self._embeddings[batch.indices]


class SameViewTargets:
    """The teacher sees the very crop the student sees.

    Args:
        teacher: the embedder.
        pictures: number of pictures in the set.
        views: rounds of augmentation that are embedded before they are reused (the loader must
            repeat its augmentation with the same period); 0 embeds every batch afresh.

    Paper: Beyer et al., "Knowledge distillation: A good teacher is patient and consistent",
    arXiv:2106.05237. Deviation: embeddings instead of class logits; mixing (the loader's ``mix``)
    is that of ``data.mixing``.
    """

    def __init__(self, teacher: Embedder, *, pictures: int, views: int = 0) -> None:
        self._teacher = teacher
        self._views = views
        dim = teacher.contract.dim
        self._store = np.zeros((views, pictures, dim), np.float16) if views else None
        self._known = np.zeros((views, pictures), np.bool_) if views else None

    def __call__(self, batch: Batch) -> Tensor:
        """(B, D) float32 unit targets of a batch."""
        if self._store is None or self._known is None:
            return torch.from_numpy(self._embed(batch.crops))
        view, rows = batch.epoch % self._views, batch.indices.numpy()
        if not self._known[view, rows].all():
            self._store[view, rows] = self._embed(batch.crops)
            self._known[view, rows] = True
        return torch.from_numpy(self._store[view, rows].astype(np.float32))

    def _embed(self, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return unit_rows(self._teacher.embed(retarget_crops(crops, self._teacher.input_spec)))


def open_target(config: TeacherConfig, threads: int | None) -> Embedder:
    """The teacher whose embedding is the target."""
    return open_embedder(
        config.path, input_spec=config.input_spec, threads=threads, runtime=config.runtime
    )


def open_others(config: TeacherConfig, threads: int | None) -> list[Embedder]:
    """The further teachers, each an embedder of its own input and space."""
    return [
        open_embedder(
            path,
            threads=threads,
            runtime="onnxruntime" if is_own_model(path) else config.runtime,
        )
        for path in config.others
    ]


def open_feature_teacher(path: str, target: Embedder | None) -> FrozenBackbone:
    """A safetensors model of ours, frozen, for its pixel features.

    Raises:
        ConfigError: for an ONNX file, which shows no features.
        ContractMismatch: if its space is not that of the target teacher, or its crop not the
            student's.
    """
    if Path(path).suffix == ".onnx":
        raise ConfigError(
            f"{Path(path).name}: an ONNX teacher shows no pixel features; train one of ours from "
            "it first (crossface distill --student swin_nano) and pass it as teacher.features"
        )
    from crossface.nets.checkpoint import load_model

    loaded = load_model(model_file(path))
    theirs = loaded.contract
    if loaded.input_spec != InputSpec():
        raise ContractMismatch(
            f"{Path(path).name}: a teacher of features must see the student's own crop (RGB, "
            "112x112, (value - 127.5) / 127.5), its InputSpec says otherwise"
        )
    if target is not None and theirs is not None and not target.contract.comparable_with(theirs):
        raise ContractMismatch(
            f"{Path(path).name}: its space is {theirs.space_id}, the target teacher's is "
            f"{target.contract.space_id}; features and targets must come from one space"
        )
    return FrozenBackbone(loaded.net)


def make_targets(
    teacher: Embedder,
    source: FaceSource,
    *,
    view: Literal["clean", "same"],
    views: int,
    folder: Path | None = None,
    progress: bool = True,
) -> Targets:
    """The callable that gives a batch its targets."""
    if view == "clean":
        return CleanTargets(clean_targets(teacher, source, folder=folder, progress=progress))
    return SameViewTargets(teacher, pictures=len(source), views=views)
