"""Faces and a card made up for tests."""

from __future__ import annotations

import numpy as np

from crossface.core.card import (
    AbsentPoint,
    Interval,
    OperatingPoint,
    SearchPoint,
    ThresholdCard,
)
from crossface.evaluation.embed import EmbeddedFaces
from evaluation.fakes import contract


def made(sizes, *, dim=8, noise=0.6, seed=0, labelled=True):
    """Faces of people with the given numbers of pictures."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    vectors = rng.normal(size=(len(sizes), dim))[owner] + noise * rng.normal(size=(len(owner), dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return EmbeddedFaces(
        embeddings=vectors.astype(np.float32),
        keys=tuple(f"{p:04d}/{i:05d}" for i, p in enumerate(owner)),
        identities=tuple(f"p{p:04d}" if labelled else None for p in owner),
        failures=(),
        contract=contract(dim),
        input_spec_source="argument",
        source_name="made",
        source_digest="d" * 64,
        flip=True,
        seconds=0.0,
    )


def pair_scores(faces):
    """Genuine and impostor similarities by two loops."""
    genuine, impostor = [], []
    gram = faces.embeddings @ faces.embeddings.T
    for i in range(len(faces.keys)):
        for j in range(i):
            same = faces.identities[i] is not None and faces.identities[i] == faces.identities[j]
            (genuine if same else impostor).append(gram[i, j])
    return np.array(genuine), np.array(impostor)


def point(target, threshold):
    rate = Interval(value=target)
    return OperatingPoint(fmr_target=target, threshold=threshold, fmr=rate, fnmr=rate)


CARD = ThresholdCard(
    contract_id="0" * 16,
    model_id="m",
    protocol="all-pairs",
    data="set",
    data_digest="0" * 64,
    date="2026-01-02",
    flip=True,
    n_images=10,
    n_impostor=40,
    n_genuine=5,
    operating_points=(
        point(1e-2, 0.2),
        point(1e-4, 0.4),
    ),
    fpir_by_gallery_size={
        size: (
            SearchPoint(
                gallery_size=size,
                fpir_target=1e-2,
                threshold=threshold,
                fpir=Interval(value=0.01),
                fnmr=Interval(value=None, reason="none"),
            ),
        )
        for size, threshold in ((100, 0.3), (1000, 0.35))
    },
    absent=(AbsentPoint(fmr_target=1e-6, reason="too few"),),
)  # fmt: skip
