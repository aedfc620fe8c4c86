"""Ways to teach a student; one per file."""

from __future__ import annotations

from crossface.core.registry import Registry

DISTILLERS = Registry(
    "distiller",
    {
        "adadistill": "crossface.training.distillers.adadistill:AdaDistiller",
        "cadfr": "crossface.training.distillers.cadfr:CadfrDistiller",
        "concentration": "crossface.training.distillers.concentration:ConcentrationDistiller",
        "dkd": "crossface.training.distillers.dkd:DkdDistiller",
        "ekd": "crossface.training.distillers.ekd:EkdDistiller",
        "embedding": "crossface.training.distillers.embedding:EmbeddingDistiller",
        "fitnet": "crossface.training.distillers.fitnet:FitNetDistiller",
        "gkd": "crossface.training.distillers.gkd:GkdDistiller",
        "iled_rpsd": "crossface.training.distillers.iled_rpsd:IledRpsdDistiller",
        "kd": "crossface.training.distillers.kd:KdDistiller",
        "ofa": "crossface.training.distillers.ofa:OfaDistiller",
        "proxyless": "crossface.training.distillers.proxyless:ProxylessDistiller",
        "rkd": "crossface.training.distillers.rkd:RkdDistiller",
        "sp": "crossface.training.distillers.sp:SpDistiller",
    },
    group="crossface.distillers",
)
