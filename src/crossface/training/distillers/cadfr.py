"""CADFR: a Transformer's pixels and a CNN's pixels, mapped to the same receptive fields.

Paper: Zhao et al., "Cross Architecture Distillation for Face Recognition", arXiv:2306.14662
(ACM MM 2023). What the paper's public notes give: prompts at every stage of a frozen Swin (APT),
learnable centres with a facial positional code (URFM), and two losses, MSE of attention maps and
MSE of the self-attended local features. What they do not give, and is our reading here: every
weight and size, what trains the prompts, and the form without labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossface.core.errors import ConfigError
from crossface.losses.cadfr import (
    attention_loss,
    centred_attention_loss,
    feature_loss,
    prompt_loss,
)
from crossface.losses.embedding import cosine_distance_loss
from crossface.losses.margin import CosFace, additive_margin_logits, cosine_logits
from crossface.nets.layers import Backbone, PixelFeatures
from crossface.nets.prompt import PromptedSwin
from crossface.nets.swin import Swin
from crossface.nets.urfm import MappedPair, UnifiedReceptiveFields, collapse_monitors
from crossface.training.distillers.base import Context, Objective, Signals

# A term whose gradient starts below this is not scaled up further: it is rounding.
_LEAST = 1e-12

Face = Literal["none", "relative", "saliency", "both"]


class CadfrDistiller(Objective):
    """Regression to the teacher's embedding, plus URFM's and APT's terms.

    ``loss = L_embedding + ramp * (w_a L_attention + w_f L_feature + w_n L_anchor) + w_t L_prompt``

    Args:
        context: needs a feature teacher.
        urfm: compare pixel features through URFM. Without it APT teaches by its embedding.
        apt: learn prompts in the frozen teacher; it must be one of our Swins.
        prompts: t, prompts per stage [READING: 8].
        centres: L, local centres on a square grid [READING: 49].
        dim: width of the mapped features [READING: 512 in the design, 256 on a CPU].
        heads: of the self-attention [READING: 8].
        face_distance: the facial term of the positional code [READING: "relative"].
        gamma: its weight [READING: 0.5].
        ratio: coarseness of the piecewise index [READING: 1.9, as iRPE].
        code_on: whether the code is added to the query (the centre) or to the keys (the pixels)
            [READING: "query"].
        shared: share centres, W_q, codes and self-attention between both sides [READING: True].
        attention_weight: w_a [READING]. None sets it in the first step so that the term's gradient
            at the student's pixel features is ``start_share`` of that of the student's own loss.
            The default is small on purpose: attention maps start nearly uniform, so an automatic
            weight is huge, and in untabled tries on drawn faces it kept the student from learning.
            So small, the term hardly acts; see ``attention_form``.
        attention_form: "mse" as the paper; "centred" compares patterns whatever their strength,
            and wants a weight of the order of 0.1.
        feature_weight: w_f; likewise.
        anchor_weight: w_n of regressing the target from the teacher's pooled mapped features,
            which keeps two learnable mappings from agreeing on a constant [READING; methods R7
            puts it on the student's side as well, where it pulled harder than the student's own
            loss because the mapped features are small].
        prompt_weight: w_t of keeping the prompted teacher near the unprompted one; with labels, of
            the cross-entropy of the prompted teacher's embedding through the frozen W_T.
        labels: use identities: the student's term becomes the cross-entropy of a CosFace head
            (m = 0.4, s = 64, as the sister paper's code), as methods R7 reads the paper.
        normalise: compare layer-normed outputs in the feature loss [READING]; without it the term
            grows with the scale of the learnt mapping until it rules.
        start_share: see ``attention_weight``.
        ramp_fraction: share of the budget over which the mapped terms rise linearly [READING].

    Paper: arXiv:2306.14662. Deviation: see the module; every [READING] is a named option.
    """

    needs_features = True
    needs_student_features = True

    def __init__(  # noqa: PLR0913  # every reading is a named option
        self,
        context: Context,
        *,
        urfm: bool = True,
        apt: bool = True,
        prompts: int = 8,
        centres: int = 49,
        dim: int = 256,
        heads: int = 8,
        face_distance: Face = "relative",
        gamma: float = 0.5,
        ratio: float = 1.9,
        code_on: Literal["query", "key"] = "query",
        shared: bool = True,
        attention_weight: float | None = 1.0,
        attention_form: Literal["mse", "centred"] = "mse",
        feature_weight: float | None = 0.02,
        anchor_weight: float = 0.1,
        prompt_weight: float = 1.0,
        labels: bool = False,
        normalise: bool = True,
        start_share: float = 0.1,
        ramp_fraction: float = 0.1,
    ) -> None:
        super().__init__(context.student)
        if not (urfm or apt):
            raise ConfigError("distiller 'cadfr' with urfm = false and apt = false is 'embedding'")
        self.teacher = teacher = _feature_teacher(context)
        self.prompted = PromptedSwin(_bare_swin(teacher), prompts=prompts) if apt else None
        self.urfm = None
        self.anchor = None
        if urfm:
            self.urfm = UnifiedReceptiveFields(
                teacher.feature_dim,
                context.student.feature_dim,
                dim=dim,
                centres=centres,
                heads=heads,
                face_distance=face_distance,
                gamma=gamma,
                ratio=ratio,
                code_on=code_on,
                shared=shared,
                saliency=_saliency(context, face_distance, centres),
            )
            self.anchor = nn.Linear(dim, context.target_dim)
        self.supervision = _Supervision(context) if labels else None
        self.keeps_space = not labels  # with labels the student's own head decides the space
        self.prompt_weight = prompt_weight
        self.anchor_weight = anchor_weight
        self.normalise = normalise
        self.compare_attention = _attention_form(attention_form)
        self.start_share = start_share
        self.ramp_fraction = ramp_fraction
        self.register_buffer("weights", _weights(attention_weight, feature_weight))
        self.weights: Tensor
        self._newest: MappedPair | None = None

    def forward(self, signals: Signals) -> dict[str, Tensor]:
        """Losses of one batch; the targets are the original teacher's embeddings."""
        if signals.targets is None:
            raise ConfigError("distiller 'cadfr' needs teacher embeddings")
        embedding, features = self.student_both(signals.images)
        losses = {"student": self._student_loss(embedding.float(), signals)}
        total = losses["student"]
        teacher_features, prompted = self._teach(signals, losses)
        if "prompt" in losses:
            total = total + self.prompt_weight * losses["prompt"]
        ramp = min(1.0, self.progress / max(self.ramp_fraction, 1e-9))
        if self.urfm is not None:
            pair = self.urfm(teacher_features, features)
            self._map_losses(pair, signals.targets, losses, features.tokens)
            mapped = (
                self.weights[0] * losses["attention"]
                + self.weights[1] * losses["feature"]
                + self.anchor_weight * losses["anchor"]
            )
            total = total + ramp * mapped
        elif prompted is not None:
            losses["taught"] = cosine_distance_loss(
                embedding.float(), F.normalize(prompted.float())
            )
            total = total + ramp * losses["taught"]
        return {"loss": total, **losses}

    @classmethod
    def wants_labels(cls, options: Mapping[str, object]) -> bool:
        """Identities are needed with ``labels = true`` only."""
        return bool(options.get("labels", False))

    def _student_loss(self, embedding: Tensor, signals: Signals) -> Tensor:
        if self.supervision is not None:
            return self.supervision.student(embedding, signals.labels)
        if signals.targets is None:
            raise ConfigError("distiller 'cadfr' needs teacher embeddings")
        return cosine_distance_loss(embedding, signals.targets)

    def _teach(
        self, signals: Signals, losses: dict[str, Tensor]
    ) -> tuple[PixelFeatures, Tensor | None]:
        if self.prompted is None:
            return self.teacher.forward_features(signals.images), None
        features = self.prompted.forward_features(signals.images)
        prompted = self.prompted.embed_features(features)
        if self.supervision is not None:
            losses["prompt"] = self.supervision.teacher(prompted.float(), signals.labels)
        else:
            losses["prompt"] = prompt_loss(prompted.float(), self.teacher(signals.images).float())
        return features, prompted

    def _map_losses(
        self, pair: MappedPair, targets: Tensor, losses: dict[str, Tensor], tokens: Tensor
    ) -> None:
        losses["attention"] = self.compare_attention(pair.attention_student, pair.attention_teacher)
        outs = (pair.out_student, pair.out_teacher)
        if self.normalise:
            outs = (
                F.layer_norm(outs[0], outs[0].shape[-1:]),
                F.layer_norm(outs[1], outs[1].shape[-1:]),
            )
        losses["feature"] = feature_loss(*outs)
        if self.anchor is not None:
            pooled = self.anchor(pair.out_teacher.mean(dim=1)).float()
            losses["anchor"] = cosine_distance_loss(pooled, targets)
        self._set_weights(losses, tokens)
        self._newest = MappedPair(*(tensor.detach() for tensor in pair))

    def _set_weights(self, losses: dict[str, Tensor], tokens: Tensor) -> None:
        """In the first step: each term pulls at the student's pixels with its share of the pull.

        By value (10 % of the student's loss) the attention term would rule: its value starts next
        to nothing and its slope does not.
        """
        if bool((self.weights >= 0).all()) or not tokens.requires_grad:
            return
        pull = _pull(losses["student"], tokens)
        for slot, name in enumerate(("attention", "feature")):
            if self.weights[slot] < 0:
                self.weights[slot] = (
                    self.start_share * pull / max(_pull(losses[name], tokens), _LEAST)
                )

    def monitors(self) -> dict[str, float]:
        """Collapse monitors of the newest batch (methods R9), and the weights in force."""
        if self._newest is None:
            return {}
        figures = {f"urfm_{k}": v for k, v in collapse_monitors(self._newest).items()}
        attention, feature = self.weights.tolist()
        return figures | {"weight_attention": attention, "weight_feature": feature}


class _Supervision(nn.Module):
    """Cross-entropies of the labelled form: the student's own head, the teacher's frozen W_T."""

    def __init__(self, context: Context, *, margin: float = 0.4, scale: float = 64.0) -> None:
        super().__init__()
        if context.class_centres is None:
            raise ConfigError("distiller 'cadfr' with labels = true needs identities")
        self.head = CosFace(context.classes, context.target_dim, margin=margin, scale=scale)
        self.register_buffer("teacher_centres", context.class_centres)
        self.teacher_centres: Tensor

    def student(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the student's margin logits."""
        return F.cross_entropy(self.head(embedding, labels), labels, ignore_index=-1)

    def teacher(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the prompted teacher against W_T (unit mean embedding per identity)."""
        cosine = cosine_logits(embedding, self.teacher_centres)
        logits = additive_margin_logits(
            cosine, labels, margin=self.head.margin, scale=self.head.scale
        )
        return F.cross_entropy(logits, labels, ignore_index=-1)


def _feature_teacher(context: Context) -> Backbone:
    if context.feature_teacher is None or context.target_dim == 0:
        raise ConfigError("distiller 'cadfr' needs a teacher with pixel features")
    return context.feature_teacher


def _attention_form(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    forms = {"mse": attention_loss, "centred": centred_attention_loss}
    if name not in forms:
        raise ConfigError(f"distiller 'cadfr': attention_form is 'mse' or 'centred', got {name!r}")
    return forms[name]


def _weights(*given: float | None) -> Tensor:
    """-1 means "set in the first step"; a buffer, so that a resumed run keeps the value."""
    return torch.tensor([-1.0 if weight is None else weight for weight in given])


def _saliency(context: Context, face_distance: Face, centres: int) -> Tensor | None:
    if face_distance not in {"saliency", "both"} or context.saliency is None:
        return None
    return context.saliency(math.isqrt(centres))


def _pull(loss: Tensor, tokens: Tensor) -> float:
    (gradient,) = torch.autograd.grad(loss, tokens, retain_graph=True)
    return float(gradient.norm())


def _bare_swin(teacher: nn.Module) -> Swin:
    net = getattr(teacher, "net", teacher)
    if not isinstance(net, Swin):
        raise ConfigError(
            f"prompts (apt) go into a Swin of ours, the feature teacher is {type(net).__name__}; "
            "use distiller.options.apt = false"
        )
    return net
