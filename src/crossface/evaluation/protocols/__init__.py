"""One benchmark per file; a protocol takes embedded faces and gives a report."""

from __future__ import annotations

from crossface.core.registry import Registry

PROTOCOLS = Registry(
    "protocol",
    {
        "all-pairs": "crossface.evaluation.protocols.all_pairs:evaluate_all_pairs",
        "discard": "crossface.evaluation.protocols.discard:evaluate_discard",
        "identify": "crossface.evaluation.protocols.identification:evaluate_identification",
        "ijb-1n": "crossface.evaluation.protocols.ijb_1n:evaluate_ijb_1n",
        "ijbb-11": "crossface.evaluation.protocols.ijb:evaluate_ijbb_11",
        "ijbc-11": "crossface.evaluation.protocols.ijb:evaluate_ijbc_11",
        "pairs": "crossface.evaluation.protocols.pairs:evaluate_pairs",
        "rfw": "crossface.evaluation.protocols.rfw:evaluate_rfw",
        "robustness": "crossface.evaluation.robustness:evaluate_robustness",
        "ytf": "crossface.evaluation.protocols.ytf:evaluate_ytf",
    },
    "crossface.protocols",
)
"""Public name to ``module:function``."""
