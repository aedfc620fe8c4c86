"""Numbers to minimise, as functions of tensors: margin heads, embedding and distillation losses."""

from __future__ import annotations

from crossface.core.registry import Registry

HEADS = Registry(
    "head",
    {
        "adaface": "crossface.losses.adaface:AdaFace",
        "arcface": "crossface.losses.margin:ArcFace",
        "cosface": "crossface.losses.margin:CosFace",
        "magface": "crossface.losses.magface:MagFace",
        "unpg": "crossface.losses.unpg:Unpg",
    },
    group="crossface.heads",
)
"""Classification heads (``losses.margin.MarginHead``): ``head(embeddings, labels)`` gives logits,
``head.loss(embeddings, labels)`` what is minimised."""

LOSSES = Registry(
    "loss",
    {
        "cadfr_attention": "crossface.losses.cadfr:attention_loss",
        "cadfr_attention_centred": "crossface.losses.cadfr:centred_attention_loss",
        "cadfr_feature": "crossface.losses.cadfr:feature_loss",
        "cadfr_prompt": "crossface.losses.cadfr:prompt_loss",
        "cosine": "crossface.losses.embedding:cosine_distance_loss",
        "dkd": "crossface.losses.dkd:dkd",
        "ekd": "crossface.losses.ekd:EvaluationOriented",
        "gkd": "crossface.losses.gkd:GroupedDistillation",
        "hint": "crossface.losses.hints:hint_loss",
        "hinton_kd": "crossface.losses.gkd:hinton_kd",
        "iled": "crossface.losses.iled_rpsd:iled",
        "ofa": "crossface.losses.ofa:ofa_loss",
        "rkd_angle": "crossface.losses.relations:rkd_angle",
        "rkd_distance": "crossface.losses.relations:rkd_distance",
        "rpsd": "crossface.losses.iled_rpsd:PairwiseSimilarities",
        "similarity_preserving": "crossface.losses.relations:similarity_preserving",
        "symface": "crossface.losses.symface:symmetry_loss",
    },
    group="crossface.losses",
)
"""Distillation losses: the student's tensor first, the teacher's second, a scalar out."""

LABEL_LOSSES = Registry(
    "loss with labels",
    {
        "harmonic_triplet": "crossface.losses.harmonic:harmonic_triplet_loss",
        "ncl": "crossface.losses.ncl:NestedCollaborative",
        "triplet": "crossface.losses.triplet:triplet_loss",
    },
    group="crossface.label_losses",
)
"""Losses without classes to learn: outputs of one batch first, its (N,) labels second, a scalar."""
