"""A wider network that starts as a narrower one: the same embedding, with room to learn more."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def widen_into(wide: nn.Module, narrow: nn.Module) -> None:
    """Copy ``narrow`` into the leading channels of ``wide``, so that both say the same.

    The old channels read the old channels only: weights from new to old channels become 0. The new
    channels keep what ``wide`` was made with, so they see the picture at once and the zeros are
    learnt away. In evaluation the embeddings are equal; running statistics of the new channels'
    batch norms are those of a fresh network.

    Paper: Net2Net, arXiv:1511.05641, section 2.1.
    Deviation: new channels are fresh ones that nobody reads yet, not copies of old ones.

    Args:
        wide: a network of the same layout, changed in place.
        narrow: its tensors are nowhere larger.

    Raises:
        ValueError: if the tensors have other names, other ranks, or are larger, or if the
            embeddings have other sizes.
    """
    if getattr(wide, "embedding_dim", None) != getattr(narrow, "embedding_dim", None):
        raise ValueError(
            f"the embeddings have {getattr(narrow, 'embedding_dim', None)} and "
            f"{getattr(wide, 'embedding_dim', None)} numbers"
        )
    new, old = wide.state_dict(), narrow.state_dict()
    if new.keys() != old.keys():
        raise ValueError(f"the networks have other tensors: {sorted(new.keys() ^ old.keys())[0]}")
    for name, target in new.items():
        source = old[name]
        if target.ndim != source.ndim or any(
            t < s for t, s in zip(target.shape, source.shape, strict=True)
        ):
            raise ValueError(
                f"{name} is {tuple(source.shape)} in one and {tuple(target.shape)} in the other"
            )
    for name, target in new.items():
        _fill(target, old[name])


def _fill(target: Tensor, source: Tensor) -> None:
    """Write into the leading corner; rows of old outputs see 0 of new inputs."""
    if source.ndim == 0:
        target.copy_(source)
        return
    if source.ndim > 1:
        target[: len(source), source.shape[1] :] = 0
    target[tuple(slice(size) for size in source.shape)] = source
