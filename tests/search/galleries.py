"""Galleries, models and vectors for the tests of this room."""

from __future__ import annotations

import numpy as np

from crossface.core.card import Interval, SearchPoint, ThresholdCard
from crossface.core.contract import EmbeddingContract
from crossface.core.vectors import unit
from crossface.search.compat import CompatRecord
from crossface.search.gallery import Gallery

KEY = bytes(range(32))
DIM = 64


def model(name="teacher", space="teacher", dim=DIM):
    return EmbeddingContract(
        model_id=name, digest="0" * 16, dim=dim, space_id=space, input_digest="1" * 16
    )


def vectors(count, seed=0, dim=DIM):
    return unit(np.random.default_rng(seed).standard_normal((count, dim)))


def near(vector, cosine, seed=12345):
    """A unit vector at exactly this cosine from another."""
    other = np.random.default_rng(seed).standard_normal(len(vector))
    other -= (other @ vector) * vector
    other /= np.linalg.norm(other)
    return (cosine * vector + np.sqrt(1 - cosine**2) * other).astype(np.float32)


def opened(path, contract=None, key=KEY, **options):
    return Gallery.open(path, contract=contract or model(), key=key, **options)


def point(threshold, target=0.01, size=10):
    return SearchPoint(
        gallery_size=size,
        fpir_target=target,
        threshold=threshold,
        fpir=Interval(value=target),
        fnmr=Interval(value=0.1),
    )


def card(contract, **rows):
    """A card whose rows are ``at_10=0.3``: gallery size and threshold at FPIR 0.01."""
    return ThresholdCard(
        contract_id=contract.contract_id,
        model_id=contract.model_id,
        protocol="open-set",
        data="people",
        data_digest="d",
        date="2026-11-23",
        flip=False,
        n_images=100,
        n_impostor=1000,
        n_genuine=100,
        operating_points=(),
        fpir_by_gallery_size={
            int(name.removeprefix("at_")): (point(bar, size=int(name.removeprefix("at_"))),)
            for name, bar in rows.items()
        },
    )


def record(gallery, probe):
    return CompatRecord(
        gallery=gallery,
        probe=probe,
        protocol="pairs",
        data_digest="d",
        date="2026-11-23",
        fmr_target=1e-3,
        fnmr={"gallery-probe": Interval(value=0.02)},
    )


def file_bytes(path):
    """All bytes of a gallery's files."""
    return {found.name: found.read_bytes() for found in path.parent.glob(path.name + "*")}
