"""``crossface.Gallery`` on photographs: one person a picture, and vectors as before."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import crossface
from crossface.core.card import Interval, SearchPoint, ThresholdCard
from crossface.core.errors import ImageError, NoFaceFound, UsageError
from crossface.pipeline.runtimes.onnx_runtime import OnnxEmbedder
from face_files import encode
from photo_people import networks, photo


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    files = networks(tmp_path_factory.mktemp("files"))
    return crossface.FaceAnalysis(files[1], files[3], threads=1)


@pytest.fixture
def opened(analysis, tmp_path):
    with crossface.Gallery.open(tmp_path / "g.db", model=analysis, key=bytes(32)) as gallery:
        yield gallery


def test_pictures_of_every_kind_are_enrolled_and_found(opened, analysis, tmp_path):
    path = tmp_path / "ann.png"
    path.write_bytes(encode(photo("ann")))
    done = opened.enroll("ann", [path, str(path), encode(photo("ann")), photo("ann", 1)])
    assert len(done.template_ids) == 4
    notes = [t.note for t in opened.show("ann").templates]
    assert notes == ["ann.png", "ann.png", "picture 3", "picture 4"]
    opened.enroll("bob", Image.fromarray(photo("bob")), note="badge")
    opened.enroll("cy", photo("cy"))
    assert opened.show("bob").templates[0].note == "badge"
    for person in ("ann", "bob", "cy"):
        answer = opened.identify(photo(person, 1), threshold=0.7)
        assert answer.best.person == person
        (face,) = analysis.get(photo(person, 1))
        assert opened.identify(face, threshold=0.7) == answer
        assert opened.identify(face.embedding, threshold=0.7) == answer
    opened.re_enroll("cy", analysis.get(photo("cy", 1)))
    assert opened.identify(photo("cy", 1), threshold=0.999).best.person == "cy"


def test_nothing_is_enrolled_where_one_picture_does_not_serve(opened, analysis, tmp_path):
    with pytest.raises(ImageError, match="picture 2: expected an image"):
        opened.enroll("ann", [photo("ann"), b"no picture"])
    with pytest.raises(UsageError, match="not both at once"):
        opened.enroll("ann", [photo("ann"), *analysis.get(photo("ann"))])
    assert len(opened) == 0
    with (
        crossface.Gallery.open(
            tmp_path / "g.db", model=analysis, key=bytes(32), min_quality=0.9
        ) as strict,
        pytest.raises(NoFaceFound, match=r"picture 1: its face has quality 0\.\d+, at least 0.90"),
    ):
        strict.enroll("ann", photo("ann"))


def test_without_a_model_photographs_are_refused(opened, tmp_path):
    opened.enroll("ann", photo("ann"))
    with crossface.Gallery.open(tmp_path / "g.db", key=bytes(32)) as plain:
        with pytest.raises(UsageError, match="opened without a model"):
            plain.identify(photo("ann"))
        with pytest.raises(UsageError, match="opened without a model"):
            plain.enroll("bob", [photo("bob")])
        assert [p.name for p in plain.list()] == ["ann"]
    with pytest.raises(UsageError, match="not with both"):
        crossface.Gallery.open(tmp_path / "g.db", model="m", contract=opened.contract)


def test_the_models_own_card_decides_and_sets_the_mirror_image(analysis, tmp_path):
    """A card measured with the mirror image turns it on; its threshold is the one obeyed."""
    files = networks(tmp_path)
    model = OnnxEmbedder(files[1], threads=1)
    rate = Interval(value=0.01)
    point = SearchPoint(gallery_size=5, fpir_target=0.01, threshold=0.75, fpir=rate, fnmr=rate)
    model._threshold_card = ThresholdCard(
        contract_id=model.contract.contract_id, model_id="m", protocol="open-set", data="d",
        data_digest="d", date="2026-11-25", flip=True, n_images=1, n_impostor=1, n_genuine=1,
        operating_points=(), fpir_by_gallery_size={5: (point,)},
    )  # fmt: skip
    own = crossface.FaceAnalysis(model, files[3], threads=1)
    with crossface.Gallery.open(tmp_path / "g.db", model=own) as gallery:
        gallery.enroll("ann", photo("ann"))
        answer = gallery.identify(photo("ann", 1))
        assert (answer.threshold, answer.fpir) == (0.75, 0.01)
        assert answer.best.person == "ann"
    (with_mirror,) = own.get(photo("ann", 1))
    (alone,) = analysis.get(photo("ann", 1))
    assert not np.allclose(with_mirror.embedding, alone.embedding)
