"""The adaptable prompting teacher (APT) of CADFR: a frozen Swin steered by prompts.

Method: "CADFR", notes section 1(a). The paper's code is not public: what its text does not fix
is our reading and is marked so. Prompted windows follow Jia et al., "Visual Prompt Tuning",
arXiv:2203.12119, whose batch mix-up (prompts laid out window by window, cells image by image) is
not repeated.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor, nn

from crossface.nets.layers import Backbone, PixelFeatures
from crossface.nets.swin import Swin, SwinBlock


class PromptedSwin(Backbone):
    """A frozen Swin with ``prompts`` learnable tokens in every stage.

    Fresh prompts enter each stage, take part in its window attention, and are dropped before
    patch merging; those of the last stage are kept and follow the image tokens in the pixel
    features. The embedding comes from the image tokens alone.

    The backbone is frozen by construction: it stays in eval mode whatever ``train`` is told, and
    its parameters ask for no gradient whatever ``requires_grad_`` is told. Only ``prompts``
    learns.

    Args:
        swin: the teacher; it is frozen in place, not copied.
        prompts: prompts per stage, 0 or more. With 0 this is the Swin itself. The default of 8
            is our reading: the paper's number was not found.

    Paper: CADFR, forward pass of APT: [x_{i+1}, p_{i+1}] = B_i([x_i, p_i]).
    Deviation: prompts also pass through the final norm; a prompt's copies in the windows of an
    image are averaged after attention (our readings).
    """

    def __init__(self, swin: Swin, *, prompts: int = 8) -> None:
        super().__init__()
        if prompts < 0:
            raise ValueError(f"prompts must be 0 or more, got {prompts}")
        self.embedding_dim = swin.embedding_dim
        self.feature_dim = swin.feature_dim
        self.grid_hw = swin.grid_hw
        self.swin = swin.eval()
        self.swin.requires_grad_(False)
        bound = _init_bound(swin)
        self.prompts = nn.ParameterList(
            nn.Parameter(torch.empty(prompts, stage.dim).uniform_(-bound, bound))
            for stage in swin.basic_layers
        )
        for stage_at, stage in enumerate(swin.basic_layers):
            for block_at, block in enumerate(stage.typed_blocks):
                mask = block.plan.mask(prompts)
                if mask is not None:
                    mask = mask.to(swin.norm.weight.device)
                self.register_buffer(_mask_name(stage_at, block_at), mask, persistent=False)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of everything but the backbone, which stays in eval mode."""
        super().train(mode)
        self.swin.eval()
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether the prompts learn; the backbone never does."""
        for prompt in self.prompts:
            prompt.requires_grad_(requires_grad)
        return self

    def forward_features(self, x: Tensor) -> PixelFeatures:
        """(B, 3, 112, 112) to (B, N + prompts, feature_dim): image tokens, then prompts."""
        cells = self.swin.embed_patches(x)
        for at, stage in enumerate(self.swin.basic_layers):
            if at:
                cells = self.swin.merges[at - 1](cells)
            prompts = self.prompts[at].expand(cells.shape[0], -1, -1)
            for n, block in enumerate(stage.typed_blocks):
                mask = getattr(self, _mask_name(at, n))
                cells, prompts = prompted_block(block, cells, prompts, mask)
        tokens = self.swin.norm(torch.cat([cells.flatten(1, 2), prompts], 1))
        return PixelFeatures(tokens, self.grid_hw, prompts.shape[1])

    def embed_features(self, features: PixelFeatures) -> Tensor:
        """(B, embedding_dim) from the image tokens, not normalised."""
        return self.swin.embed_features(features)


def prompted_block(
    block: SwinBlock, cells: Tensor, prompts: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One Swin block over cells and prompts.

    Args:
        block: the block; its stochastic depth is not used.
        cells: (B, H, W, C).
        prompts: (B, t, C); each window of image b sees a copy of the prompts of image b.
        mask: ``block.plan.mask(t)``.

    Returns:
        Cells and prompts of the same shapes.
    """
    count = prompts.shape[1]
    windows = block.plan.split(block.norm1(cells))
    copies = block.norm1(prompts).unsqueeze(1).expand(-1, windows.shape[1], -1, -1)
    mixed = block.attention(torch.cat([copies, windows], 2), mask, count)
    cells = cells + block.plan.join(mixed[:, :, count:])
    prompts = prompts + mixed[:, :, :count].mean(1)
    return (
        cells + block.mlp(block.norm2(cells)),
        prompts + block.mlp(block.norm2(prompts)),
    )


def _init_bound(swin: Swin) -> float:
    """VPT's uniform bound: sqrt(6 / (3 * patch area + channels of the first stage))."""
    patch = swin.patch_embed
    return math.sqrt(6 / (3 * math.prod(patch.kernel_size) + patch.out_channels))


def _mask_name(stage: int, block: int) -> str:
    return f"mask_{stage}_{block}"
