"""CADFR's loss terms on the mapped pair of a Transformer teacher and a CNN student.

Both networks' pixel features are mapped to the same L local features of width d and go through
a multi-head self-attention (MSA). Its attention maps and its outputs are compared here.

Paper: Zhao et al., "Cross Architecture Distillation for Face Recognition", arXiv:2306.14662.
The paper gives L_Attn = MSE(Attn_T, Attn_S) and L_Feat = MSE(MSA(h_T), MSA(h_S)).
Our reading: that Attn is the MSA's own heads x L x L map (URFM's cross-attention maps are L x N_T
and L x N_S and cannot be subtracted); that the prompted teacher is held to the unprompted one by
``prompt_loss``; and every weight, since the paper's were not found.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from crossface.losses.checks import check_same_shape, wide
from crossface.losses.embedding import cosine_distance_loss


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two attention maps.

    Args:
        student: (B, heads, L, L) the MSA's attention over the student's local features.
        teacher: (B, heads, L, L) the same over the teacher's.

    Returns:
        Scalar, in float32 at least. The gradient reaches both sides: the teacher's mapping and
        prompts learn too.

    Raises:
        ValueError: if the shapes differ or there is no row.

    Paper: CADFR, arXiv:2306.14662, L_Attn.
    Deviation: none known; which map is meant is our reading.
    """
    check_same_shape(student, teacher, "attention maps of student and teacher")
    return F.mse_loss(wide(student), wide(teacher))


def centred_attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus the cosine of two attention maps, each less the uniform map.

    The maps of a fresh mapping are nearly uniform, so their squared difference starts next to
    nothing while its slope does not, and no fixed weight suits both ends of a run. This form asks
    for the same pattern, however faint.

    Args:
        student: (B, heads, L, L) attention, rows sum to 1.
        teacher: (B, heads, L, L) likewise.

    Returns:
        Scalar in [0, 2], in float32 at least: the mean over pictures and heads. The gradient
        reaches both sides.

    Raises:
        ValueError: if the shapes differ or there is no row.

    Paper: none; ours, in place of the paper's L_Attn (CADFR, arXiv:2306.14662).
    """
    check_same_shape(student, teacher, "attention maps of student and teacher")
    maps = [wide(attention) - 1.0 / attention.shape[-1] for attention in (student, teacher)]
    patterns = [F.normalize(m.flatten(-2), dim=-1, eps=1e-10) for m in maps]
    return (1.0 - (patterns[0] * patterns[1]).sum(dim=-1)).mean()


def feature_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of two sets of local features after the MSA.

    Args:
        student: (B, L, d).
        teacher: (B, L, d).

    Returns:
        Scalar, in float32 at least. The gradient reaches both sides.

    Raises:
        ValueError: if the shapes differ or there is no row.

    Paper: CADFR, arXiv:2306.14662, L_Feat.
    Deviation: none known.
    """
    check_same_shape(student, teacher, "local features of student and teacher")
    return F.mse_loss(wide(student), wide(teacher))


def prompt_loss(prompted: Tensor, unprompted: Tensor) -> Tensor:
    """Mean of 1 - cos: the prompted teacher stays the recogniser it was.

    Args:
        prompted: (N, D) embeddings of the teacher with prompts.
        unprompted: (N, D) embeddings of the same teacher without; no gradient reaches them.

    Returns:
        Scalar in [0, 2], in float32 at least.

    Raises:
        ValueError: if the shapes differ or there is no row.

    Paper: none; our reading of "adaptable" without labels, where the paper's setting would use
    the teacher's own classification head.
    """
    return cosine_distance_loss(prompted, unprompted.detach())


class CollapseFigures(NamedTuple):
    """How far a mapped pair is from the trivial solution of two learned mappings.

    Attributes:
        spread: mean variance over the batch of a local feature's numbers; 0 when all pictures
            look the same.
        attention_entropy: mean entropy of an attention row over log(keys), in [0, 1]; 1 when the
            attention looks at everything alike.
        rank: effective rank of the features, exp of the entropy of the singular values; 1 when
            all features point one way.
    """

    spread: float
    attention_entropy: float
    rank: float


@torch.no_grad()
def collapse_figures(features: Tensor, attention: Tensor) -> CollapseFigures:
    """Watch for collapse: two learnable mappings agree perfectly when both are constant.

    Args:
        features: (B, L, d) local features, B >= 2.
        attention: (B, heads, L, K) or (B, L, K) attention whose last axis sums to 1.

    Raises:
        ValueError: if the shapes are others.
    """
    if features.ndim != 3 or len(features) < 2 or attention.ndim < 3:
        raise ValueError(
            f"features must be (B >= 2, L, d) and attention (B, ..., L, K), "
            f"got {tuple(features.shape)} and {tuple(attention.shape)}"
        )
    x, rows = wide(features), wide(attention)
    entropy = -torch.xlogy(rows, rows).sum(dim=-1).mean()
    most = torch.log(torch.tensor(float(max(rows.shape[-1], 2))))
    singular = torch.linalg.svdvals((x - x.mean(dim=0)).flatten(0, 1))
    share = singular / singular.sum().clamp_min(torch.finfo(x.dtype).tiny)
    return CollapseFigures(
        spread=float(x.var(dim=0).mean()),
        attention_entropy=float(entropy / most),
        rank=float(torch.exp(-torch.xlogy(share, share).sum())),
    )
