"""Ways to teach a student; one per file."""

from __future__ import annotations

from crossface.core.registry import Registry

DISTILLERS = Registry(
    "distiller",
    {
        "cadfr": "crossface.training.distillers.cadfr:CadfrDistiller",
        "ekd": "crossface.training.distillers.ekd:EkdDistiller",
        "embedding": "crossface.training.distillers.embedding:EmbeddingDistiller",
        "gkd": "crossface.training.distillers.gkd:GkdDistiller",
        "rkd": "crossface.training.distillers.rkd:RkdDistiller",
        "sp": "crossface.training.distillers.sp:SpDistiller",
    },
    group="crossface.distillers",
)
