"""A gallery searched through a linear map: two spaces, other lengths, one index."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from crossface.core.errors import ContractMismatch
from crossface.core.linear_map import LinearMap
from crossface.core.vectors import unit
from search.galleries import DIM, model, near, opened, record, vectors

SHORT = 48
OLD, NEW = model("old", space="old"), model("new", space="new", dim=SHORT)


def basis(seed=7):
    """(DIM, SHORT) with orthonormal columns: brings NEW's vectors into OLD's space unharmed."""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(DIM, SHORT)))[0].astype(np.float32)


def linear(matrix):
    return LinearMap.of(matrix, fitted_on="others", fitted_digest="d")


def leave(gallery=OLD, probe=NEW, into=None):
    into = linear(basis()) if into is None else into
    plain = record(gallery, gallery.model_copy(update={"model_id": probe.model_id}))
    return plain.model_copy(update={"probe": probe, "linear_map": into})


@pytest.fixture
def moving(tmp_path):
    """People of the old model whose vectors the new one would make too, and the new vectors."""
    new = vectors(6, dim=SHORT)
    old = unit(new @ basis().T)
    with opened(tmp_path / "g.db", OLD) as gallery:
        for number in range(4):
            gallery.enroll(f"p{number}", old[number : number + 1])
    return tmp_path / "g.db", new


def test_a_published_map_lets_another_space_search(moving):
    path, new = moving
    with pytest.raises(ContractMismatch, match="cannot be compared"):
        opened(path, NEW)
    with opened(path, OLD) as gallery:
        gallery.allow(leave())
    with opened(path, NEW) as gallery:
        for number in range(4):
            probe = near(new[number], 0.9)
            answer = gallery.identify(probe, threshold=0.85)
            assert answer.best.person == f"p{number}"
            by_hand = float((basis() @ probe) @ (basis() @ new[number]))
            assert answer[0].similarity == pytest.approx(by_hand, abs=1e-6)
        assert gallery.identify(new[5], threshold=0.85).unknown
        with pytest.raises(ContractMismatch, match="may only search it"):
            gallery.enroll("eve", new[:1])


@pytest.mark.parametrize("backend", ["exact", "codes"])
def test_a_migration_with_a_map_finds_old_and_new_templates_alike(moving, backend):
    path, new = moving
    with opened(path, OLD) as gallery:
        gallery.allow(leave())
        gallery.migrate(NEW)
    with opened(path, NEW, backend=backend) as gallery:
        assert gallery.identify(new[0], threshold=0.9).best.person == "p0"  # the index is built
        gallery.re_enroll("p0", near(new[0], 0.95)[None])
        gallery.enroll("p4", new[4:5])
        found = [gallery.identify(row, threshold=0.9).best for row in new]
    with opened(path, NEW, backend=backend) as again:
        for row, before in zip(new, found, strict=True):
            best = again.identify(row, threshold=0.9).best
            assert (best is None) == (before is None)
            if before is not None:  # rows in another order: a sum may differ by its last bit
                assert (best.person, best.accepted) == (before.person, before.accepted)
                assert best.similarity == pytest.approx(before.similarity, abs=1e-6)
        health = again.doctor(similarity=0.9)
        assert {f.kind for f in health.findings} == {"foreign"}
        again.enroll("twin", near(new[1], 0.97)[None])
        told = [f for f in again.doctor(similarity=0.9).findings if f.kind == "duplicate"]
        assert [(f.person, f.other) for f in told] == [("p1", "twin")]  # across the two models
    assert [match and match.person for match in found] == ["p0", "p1", "p2", "p3", "p4", None]
    assert found[0].similarity == pytest.approx(0.95, abs=1e-6)


def test_one_index_holds_one_space(tmp_path):
    """Of two maps that lead to two spaces, that to the gallery's own model is taken."""
    other = model("other", space="other")
    new = vectors(1, dim=SHORT)
    with opened(tmp_path / "g.db", other) as gallery:
        gallery.enroll("stray", unit(new @ basis(8).T))
        gallery.migrate(OLD)
    with opened(tmp_path / "g.db", OLD) as gallery:
        gallery.enroll("ann", unit(new @ basis().T))
        gallery.allow(leave())
        gallery.allow(leave(other, into=linear(basis(8))))
        gallery.re_enroll("stray", vectors(1, 3))
    with opened(tmp_path / "g.db", NEW) as gallery:
        assert gallery.identify(new[0], threshold=0.99).best.person == "ann"


def test_a_map_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="the map goes from 48 to 64 numbers, the models have 64"):
        record(OLD, OLD).model_validate(
            leave().model_dump(mode="json") | {"probe": OLD.model_dump(mode="json")}
        )
    good = linear(basis()).model_dump()
    bad = np.full((DIM, SHORT), np.nan, np.float32)
    for change, sentence in (
        ({"weights": "?"}, "no base64"),
        ({"weights": ""}, "expected 64 x 48 float32 weights, got 0 bytes"),
        ({"weights": base64.b64encode(bad.tobytes()).decode()}, "not all finite"),
    ):
        with pytest.raises(ValueError, match=sentence):
            LinearMap.model_validate(good | change)
