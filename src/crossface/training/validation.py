"""How close a student is to its teacher on held-out pictures, without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from crossface.core.protocols import FaceSource
from crossface.nets.layers import Backbone

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Holdout:
    """Held-out pictures with what the teacher says of them.

    Attributes:
        crops: (N, 112, 112, 3) uint8 RGB.
        targets: (N, D) float32 unit teacher embeddings; None without a teacher.
        identities: identity per picture, None where unlabelled.
    """

    crops: npt.NDArray[np.uint8]
    targets: FloatArray | None
    identities: tuple[str | None, ...]


def read_holdout(source: FaceSource, targets: FloatArray | None) -> Holdout:
    """Decode a held-out set once."""
    crops = np.stack([source.read(i) for i in range(len(source))])
    return Holdout(crops, targets, tuple(source.identity(i) for i in range(len(source))))


def embed_crops(net: Backbone, crops: npt.NDArray[np.uint8], *, batch: int = 128) -> FloatArray:
    """(N, D) float32 unit embeddings of aligned crops, without flips.

    Args:
        net: in eval mode.
        crops: (N, 112, 112, 3) uint8 RGB.
        batch: crops per pass.
    """
    device = next(net.parameters()).device
    rows = []
    with torch.inference_mode():
        for start in range(0, len(crops), batch):
            pixels = torch.from_numpy(crops[start : start + batch]).to(device)
            x = pixels.permute(0, 3, 1, 2).float().sub_(127.5).div_(127.5)
            x = x.contiguous(memory_format=torch.channels_last)
            rows.append(torch.nn.functional.normalize(net(x).float()).cpu().numpy())
    return np.concatenate(rows)


def agreement(
    embeddings: FloatArray, targets: FloatArray, *, pairs: int = 500_000
) -> dict[str, float]:
    """Mean cosine to the teacher, and Spearman's correlation of pair similarities.

    Args:
        embeddings: (N, D) unit rows of the student.
        targets: (N, D) unit rows of the teacher.
        pairs: at most so many pairs (fixed, evenly spaced over all pairs).

    Returns:
        "cosine" in [-1, 1]; "rank_correlation" in [-1, 1], ties ranked by order, from three
        pictures on.
    """
    cosine = float(np.einsum("nd,nd->n", embeddings, targets).mean())
    if len(embeddings) < 3:
        return {"cosine": cosine}  # one pair has no order
    rows, columns = np.triu_indices(len(embeddings), 1)
    if len(rows) > pairs:
        chosen = np.linspace(0, len(rows) - 1, pairs).astype(np.int64)
        rows, columns = rows[chosen], columns[chosen]
    student = (embeddings @ embeddings.T)[rows, columns]
    teacher = (targets @ targets.T)[rows, columns]
    return {"cosine": cosine, "rank_correlation": spearman(student, teacher)}


def spearman(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Spearman's rank correlation; ties keep their order, which random reals hardly have."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    ranks = np.empty(len(values), dtype=np.float64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def separation(embeddings: FloatArray, identities: tuple[str | None, ...]) -> dict[str, float]:
    """AUC of genuine against impostor pairs of a labelled hold-out set (ties count half).

    Empty where the set has no genuine or no impostor pair.
    """
    labels = np.unique(np.asarray(identities, dtype=str), return_inverse=True)[1]
    rows, columns = np.triu_indices(len(embeddings), 1)
    scores = (embeddings @ embeddings.T)[rows, columns]
    same = labels[rows] == labels[columns]
    if same.all() or not same.any():
        return {}  # one person, or nobody twice: no pair of one kind
    genuine, impostor = np.sort(scores[same]), np.sort(scores[~same])
    below = np.searchsorted(impostor, genuine, "left") + np.searchsorted(impostor, genuine, "right")
    return {"auc": float(below.mean() / (2 * len(impostor)))}


def validate(net: Backbone, holdout: Holdout) -> dict[str, float]:
    """All figures a hold-out set supports, each prefixed by ``val_``."""
    was_training = net.training
    embeddings = embed_crops(net.eval(), holdout.crops)
    net.train(was_training)
    figures: dict[str, float] = {}
    if holdout.targets is not None and holdout.targets.shape[1] == embeddings.shape[1]:
        figures |= agreement(embeddings, holdout.targets)
    if all(identity is not None for identity in holdout.identities):
        figures |= separation(embeddings, holdout.identities)
    return {f"val_{name}": value for name, value in figures.items()}
