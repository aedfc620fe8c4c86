"""Seeds that depend on what they are for, not on the order of calls."""

from __future__ import annotations

import hashlib

import numpy as np

Part = int | str


def derive_seed(*parts: Part) -> int:
    """A 63-bit seed fixed by its parts, the same on every machine and Python version.

    Args:
        parts: integers and strings, for example ``(seed, "augment", epoch, index)``.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: Part) -> np.random.Generator:
    """A numpy generator seeded by ``derive_seed(*parts)``."""
    return np.random.Generator(np.random.PCG64(derive_seed(*parts)))
