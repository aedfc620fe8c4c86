"""Ways to teach a student; one per file."""

from __future__ import annotations

from crossface.core.registry import Registry

DISTILLERS = Registry(
    "distiller",
    {
        "embedding": "crossface.train.distillers.embedding:EmbeddingDistiller",
        "cadfr": "crossface.train.distillers.cadfr:CadfrDistiller",
        "gkd": "crossface.train.distillers.gkd:GkdDistiller",
    },
    group="crossface.distillers",
)
