"""Unified receptive fields mapping (URFM) of CADFR: two networks seen at the same places.

Method: "CADFR", notes section 1(b). Which choices are the paper's and which are our reading is
said at each option.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from crossface.nets.face_codes import Anchor, FaceCoder, FaceDistance, code_count
from crossface.nets.layers import PixelFeatures

CodeOn = Literal["query", "key"]


class MappedPair(NamedTuple):
    """What URFM makes of the pixel features of teacher and student.

    Attributes:
        h_teacher: (B, L, dim) local features, one per centre.
        h_student: the same for the student.
        attention_teacher: (B, heads, L, L) maps of the self-attention over the centres; rows sum
            to one.
        attention_student: the same for the student.
        out_teacher: (B, L, dim) MSA(h), the output of that self-attention.
        out_student: the same for the student.
        pixel_attention_teacher: (B, L, N_T) how each centre looks at the pixels; rows sum to one.
        pixel_attention_student: (B, L, N_S).
    """

    h_teacher: Tensor
    h_student: Tensor
    attention_teacher: Tensor
    attention_student: Tensor
    out_teacher: Tensor
    out_student: Tensor
    pixel_attention_teacher: Tensor
    pixel_attention_student: Tensor


class PixelReader(nn.Module):
    """Keys and values of one network's pixel features, which are normed first."""

    def __init__(self, features: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.to_key = nn.Linear(features, dim, bias=False)
        self.to_value = nn.Linear(features, dim, bias=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, features) to keys and values (B, N, dim)."""
        normed = self.norm(tokens)
        return self.to_key(normed), self.to_value(normed)


class CentreAttention(nn.Module):
    """Multi-head self-attention over the local features that also shows its maps."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{dim} channels cannot be shared by {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, dim) to the output (B, L, dim) and the maps (B, heads, L, L)."""
        batch, length, dim = h.shape
        qkv = self.qkv(h).reshape(batch, length, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (query @ key.transpose(-2, -1)) / math.sqrt(dim // self.heads)
        attention = scores.softmax(-1)
        mixed = (attention @ value).transpose(1, 2).reshape(batch, length, dim)
        return self.project(mixed), attention


class ReceptiveField(nn.Module):
    """What may be shared: the centres, their projection, the codes and the self-attention.

    Centres and codes start at unit variance [READING]: from 0.02 every centre looks at all pixels
    alike, the attention maps to compare are uniform, and their difference is nothing but rounding.

    The bucket has one code more than the index function gives, for tokens without a place.
    """

    def __init__(self, centres: int, dim: int, heads: int, codes: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(centres, dim))
        self.to_query = nn.Linear(dim, dim, bias=False)
        self.bucket = nn.Parameter(torch.randn(codes + 1, dim))
        self.attention = CentreAttention(dim, heads)

    def queries(self) -> Tensor:
        """(L, dim) projected centres."""
        out: Tensor = self.to_query(self.centres)
        return out


class UnifiedReceptiveFields(nn.Module):
    """Maps pixel features of two networks to L local features at the same places of the face.

    A local centre i looks at the pixels j of a network with weights softmax_j(e_ij)::

        e_ij = (q_i W_q + b_i) (f_j W_k)^T / sqrt(dim),   b_i = bucket[I(D(i, anchor))]

    and takes the weighted mean of f_j W_v. That the query is a learnable centre follows from the
    paper's text; softmax and weighted mean are implied there.

    Args:
        teacher_dim: channels of the teacher's pixel features.
        student_dim: channels of the student's.
        dim: channels of the local features; our reading (512), not found in the paper.
        centres: L, a square number, one centre per cell of a square grid over the crop; that
            centres have cells, and 49 of them, is our reading.
        heads: of the self-attention over the centres; our reading.
        face_distance: see ``FaceCoder``; the default is our reading.
        gamma: weight of the facial distance; our reading.
        code_on: "query" adds the code of a centre's cell to its query, as the paper writes it;
            "key" adds the code of a pixel's own cell to its key (tokens without a place get a
            code of their own), our alternative reading of "patch i".
        ratio: of the piecewise index function; iRPE's 1.9 is our reading.
        anchor: see ``FaceCoder``; our reading.
        shared: whether teacher and student share centres, W_q, bucket and self-attention; our
            reading. Norms, keys and values are always each network's own.
        saliency: (sqrt(L), sqrt(L)) in [0, 1], for the facial distances that need it.

    Paper: CADFR. Deviation: none known; see the readings above.
    """

    def __init__(
        self,
        teacher_dim: int,
        student_dim: int,
        *,
        dim: int = 512,
        centres: int = 49,
        heads: int = 8,
        face_distance: FaceDistance = "relative",
        gamma: float = 0.5,
        code_on: CodeOn = "query",
        ratio: float = 1.9,
        anchor: Anchor = "nose",
        shared: bool = True,
        saliency: Tensor | None = None,
    ) -> None:
        super().__init__()
        side = math.isqrt(centres)
        if side * side != centres or centres < 1:
            raise ValueError(f"centres must be a square number, got {centres}")
        self.code_on = code_on
        self.coder = FaceCoder(side, face_distance, gamma, ratio, anchor, saliency)
        self.fields = nn.ModuleList(
            ReceptiveField(centres, dim, heads, code_count(ratio))
            for _ in range(1 if shared else 2)
        )
        self.teacher_reader = PixelReader(teacher_dim, dim)
        self.student_reader = PixelReader(student_dim, dim)
        self._codes: dict[tuple[int, int], Tensor] = {}

    def forward(self, teacher: PixelFeatures, student: PixelFeatures) -> MappedPair:
        """Local features of both; N_T and N_S may differ, either may have ``extra`` tokens."""
        fields = cast("Sequence[ReceptiveField]", self.fields)
        h_t, pixels_t = self.map_pixels(fields[0], self.teacher_reader, teacher)
        h_s, pixels_s = self.map_pixels(fields[-1], self.student_reader, student)
        out_t, maps_t = fields[0].attention(h_t)
        out_s, maps_s = fields[-1].attention(h_s)
        return MappedPair(h_t, h_s, maps_t, maps_s, out_t, out_s, pixels_t, pixels_s)

    def map_pixels(
        self, field: ReceptiveField, reader: PixelReader, features: PixelFeatures
    ) -> tuple[Tensor, Tensor]:
        """Local features (B, L, dim) and pixel attention (B, L, N) of one network."""
        key, value = reader(features.tokens)
        query = field.queries()
        if self.code_on == "query":
            own = (self.coder.side, self.coder.side)
            query = query + field.bucket[self._codes_of(own, 0, key.device)]
        else:
            codes = self._codes_of(features.grid_hw, features.extra, key.device)
            key = key + field.bucket[codes]
        attention = (query @ key.transpose(1, 2) / math.sqrt(query.shape[1])).softmax(-1)
        return attention @ value, attention

    def _codes_of(self, grid_hw: tuple[int, int], extra: int, device: torch.device) -> Tensor:
        if grid_hw not in self._codes or self._codes[grid_hw].device != device:
            with torch.inference_mode(False):  # kept beyond this call, and used by autograd
                self._codes[grid_hw] = self.coder.codes(grid_hw).to(device)
        placeless = code_count(self.coder.ratio)
        return nn.functional.pad(self._codes[grid_hw], (0, extra), value=placeless)


@torch.no_grad()
def collapse_monitors(pair: MappedPair) -> dict[str, float]:
    """Signs that the mapping has become constant, for teacher and student.

    Returns:
        ``h_variance_*``: variance of h over the batch, averaged over centres and channels;
        0 for a mapping that ignores its input.
        ``pixel_entropy_*``: mean entropy of the pixel attention over ln N, in [0, 1]; 1 if every
        centre looks at all pixels alike, 0 if each looks at one.
        ``effective_rank_*``: of the centred MSA(h) over batch and centres, at least 1 and at
        most ``dim``; 0 if it is constant.

    Paper: Roy & Vetterli, "The effective rank", EUSIPCO 2007, for the last. Deviation: rows are
    centred first.
    """
    sides = {
        "teacher": (pair.h_teacher, pair.pixel_attention_teacher, pair.out_teacher),
        "student": (pair.h_student, pair.pixel_attention_student, pair.out_student),
    }
    found: dict[str, float] = {}
    for side, (h, pixels, out) in sides.items():
        found[f"h_variance_{side}"] = float(h.float().var(0, unbiased=False).mean())
        found[f"pixel_entropy_{side}"] = _entropy_share(pixels.float())
        found[f"effective_rank_{side}"] = effective_rank(out.flatten(0, 1))
    return found


@torch.no_grad()
def effective_rank(rows: Tensor) -> float:
    """Exponential of the entropy of the normalised singular values of the centred (n, dim) rows."""
    centred = rows.double() - rows.double().mean(0)
    energies = torch.linalg.eigvalsh(centred.T @ centred).clamp_min(0)
    singular = energies.sqrt()
    total = singular.sum()
    if not total > 1e-9 * max(1.0, float(rows.abs().max())):
        return 0.0
    share = singular / total
    return float(torch.special.entr(share).sum().exp())


def _entropy_share(attention: Tensor) -> float:
    pixels = attention.shape[-1]
    if pixels == 1:
        return 1.0
    return float(torch.special.entr(attention).sum(-1).mean()) / math.log(pixels)
