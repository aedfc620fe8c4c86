"""Ways to teach a student; one per file."""

from __future__ import annotations

from crossface.core.registry import Registry

DISTILLERS = Registry(
    "distiller",
    {
        "embedding": "crossface.training.distillers.embedding:EmbeddingDistiller",
        "cadfr": "crossface.training.distillers.cadfr:CadfrDistiller",
        "gkd": "crossface.training.distillers.gkd:GkdDistiller",
    },
    group="crossface.distillers",
)
