"""One benchmark per file; a protocol takes embedded faces and gives a report."""

from __future__ import annotations

from crossface.core.registry import Registry

PROTOCOLS = Registry(
    "protocol",
    {
        "all-pairs": "crossface.evaluation.protocols.all_pairs:evaluate_all_pairs",
        "pairs": "crossface.evaluation.protocols.pairs:evaluate_pairs",
    },
    "crossface.protocols",
)
"""Public name to ``module:function``."""
