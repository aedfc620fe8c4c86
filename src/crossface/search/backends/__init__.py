"""Index backends: one table, one contract suite (``tests/search/test_backends.py``)."""

from __future__ import annotations

from crossface.core.registry import Registry

BACKENDS = Registry(
    "index backend",
    {
        "codes": "crossface.search.backends.codes:CodesBackend",
        "exact": "crossface.search.backends.exact:ExactBackend",
        "faiss-flat": "crossface.search.backends.faiss_flat:FaissFlat",
        "faiss-fp16": "crossface.search.backends.faiss_flat:FaissFlatHalf",
    },
    group="crossface.backends",
)
"""``backend(dim, rows)``: templates in, the most similar ones out; see ``base.Backend``."""
