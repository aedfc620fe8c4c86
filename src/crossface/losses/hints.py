"""FitNet's hint: a student's map should say what the teacher's says at the same place."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from crossface.losses.checks import check_same_shape, wide


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Half the mean squared difference of features of unit length, over rows and places.

    Args:
        student: (B, ..., d) features after the regressor, or embeddings (B, d).
        teacher: (B, ..., d); no gradient reaches them.

    Returns:
        Scalar in [0, 2], in float32 at least.

    Raises:
        ValueError: if the shapes differ or there is no row.

    Paper: Romero et al., "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550, Eq. 3.
    Deviation: features are normalised, as in GKD's code for embeddings (sum / 2B); TFace's code
    does not normalise.
    """
    check_same_shape(student, teacher, "features of student and teacher")
    pair = [F.normalize(wide(side), dim=-1) for side in (student, teacher.detach())]
    return 0.5 * (pair[0] - pair[1]).square().sum(dim=-1).mean()
