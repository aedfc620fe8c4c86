"""Drawn faces as a face source: determinism, digest, identities, difficulty, spec."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from crossface.core.errors import ConfigError, DataError
from crossface.core.protocols import FaceSource
from crossface.data.drawn import DrawnFaces, Identity, Nuisance, draw_face, parse_spec
from crossface.data.drawn.identity import BEARD_STYLES, HAIR_STYLES, LATENT_SIZE, decode
from crossface.data.drawn.nuisance import OCCLUSIONS, sample_nuisance
from crossface.data.drawn.source import VERSION

PARAMETERS = {
    "identities": 3,
    "per_identity": 2,
    "seed": 7,
    "nuisance": 1.0,
    "first_identity": 4,
}


def test_drawn_faces_are_a_face_source():
    faces = DrawnFaces(**PARAMETERS)
    assert isinstance(faces, FaceSource)
    assert len(faces) == 6
    assert faces.key(3) == "drawn-000005/000001"
    assert faces.identity(3) == "drawn-000005"
    crop = faces.read(3)
    assert crop.shape == (112, 112, 3)
    assert crop.dtype == np.uint8


def test_pictures_do_not_depend_on_instance_or_order():
    one, two = DrawnFaces(**PARAMETERS), DrawnFaces(**PARAMETERS)
    forward = [one.read(index) for index in range(len(one))]
    backward = [two.read(index) for index in reversed(range(len(two)))][::-1]
    for a, b in zip(forward, backward, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_range_that_starts_later_shows_the_same_people():
    whole = DrawnFaces(identities=5, per_identity=2)
    later = DrawnFaces(identities=2, per_identity=2, first_identity=3)
    assert later.key(0) == whole.key(6)
    np.testing.assert_array_equal(later.read(0), whole.read(6))


def test_disjoint_ranges_share_no_identity():
    train = DrawnFaces(identities=5, per_identity=2)
    test = DrawnFaces(identities=5, per_identity=2, first_identity=5)
    names = [{f.identity(i) for i in range(len(f))} for f in (train, test)]
    people = [{f.person(i) for i in range(len(f))} for f in (train, test)]
    assert not names[0] & names[1]
    assert not people[0] & people[1]


@pytest.mark.parametrize("name", PARAMETERS)
def test_digest_changes_with_every_parameter(name):
    changed = PARAMETERS | {name: PARAMETERS[name] + 1}
    assert DrawnFaces(**changed).digest() != DrawnFaces(**PARAMETERS).digest()
    assert DrawnFaces(**PARAMETERS).digest() == DrawnFaces(**PARAMETERS).digest()


def test_another_seed_draws_other_people():
    a = DrawnFaces(identities=1, per_identity=1, seed=0)
    b = DrawnFaces(identities=1, per_identity=1, seed=1)
    assert a.person(0) != b.person(0)
    assert np.abs(a.read(0).astype(int) - b.read(0)).mean() > 5


def test_with_changes_one_trait_and_no_other():
    who = DrawnFaces(identities=1, per_identity=1).person(0)
    before = dataclasses.asdict(who)
    for name in before:
        value = 1 if name.endswith("_style") else before[name] + 0.01
        assert dataclasses.asdict(who.with_(**{name: value})) == before | {name: value}


def test_a_trait_that_does_not_exist_is_refused():
    with pytest.raises(TypeError):
        Identity().with_(moustache_wax=1.0)
    with pytest.raises(TypeError):
        Nuisance().with_(weather=1.0)


def test_every_trait_changes_the_picture():
    who = Identity().with_(
        hair_style=HAIR_STYLES.index("long"), beard_style=BEARD_STYLES.index("stubble")
    )
    who = who.with_(freckles=0.95, moles=0.9, age=0.8, hair_curl=0.8, hair_melanin=0.2)
    who = who.with_(hair_red=0.95, hair_grey=0.9)
    how = Nuisance(yaw_deg=15, light_strength=0.8)
    base = draw_face(who, how, size=96).image
    still = []
    for field in dataclasses.fields(Identity):
        low, high = field.metadata["a"], field.metadata["b"]
        step = 0.25 * (high - low) if field.metadata["kind"] == "uniform" else 2 * high
        value = 1 if field.metadata["kind"] == "choice" else getattr(who, field.name) - step
        changed = draw_face(who.with_(**{field.name: value}), how, size=96).image
        if np.array_equal(changed, base):
            still.append(field.name)
    assert not still


def test_every_circumstance_changes_the_picture():
    base = draw_face(Identity(), Nuisance(light_azimuth_deg=5), size=96)
    settings = {"occlusion": "glasses", "jpeg_quality": 40, "background_seed": 1, "contrast": 1.2}
    unseen = {"occlusion_seed", "jitter_px", "grain_seed"}
    for field in dataclasses.fields(Nuisance):
        value = settings.get(field.name, 3.0 if "deg" in field.name else 0.6)
        if field.name not in unseen:
            how = Nuisance(light_azimuth_deg=5).with_(**{field.name: value})
            other = draw_face(Identity(), how, size=96)
            assert not np.array_equal(other.image, base.image), field.name


def test_landmark_error_moves_the_crop_but_not_the_truth():
    still, shaken = (
        draw_face(Identity(), Nuisance(jitter_px=px, grain_seed=1), size=160) for px in (0.0, 2.0)
    )
    np.testing.assert_array_equal(still.kps_px, shaken.kps_px)
    assert not np.array_equal(still.crop(), shaken.crop())


@pytest.mark.parametrize("occlusion", OCCLUSIONS[1:])
def test_covers_leave_the_annotation_and_change_the_face(occlusion):
    bare = draw_face(Identity(), Nuisance(), size=128)
    covered = draw_face(Identity(), Nuisance(occlusion=occlusion, occlusion_seed=3), size=128)
    np.testing.assert_array_equal(bare.kps_px, covered.kps_px)
    assert np.abs(bare.image.astype(int) - covered.image).max() > 40


def test_annotation_agrees_with_the_picture_it_describes():
    faces = DrawnFaces(identities=2, per_identity=2, seed=3)
    for index in range(len(faces)):
        told, picture = faces.annotation(index), faces.picture(index)
        assert told.pose == picture.pose
        assert told.skin_tone == picture.skin_tone == faces.person(index).skin_tone
        # The similarity that cut the crop keeps angles: the eye axis turns by one angle for all.
        a, b = picture.kps_px[1] - picture.kps_px[0], picture.kps_px[4] - picture.kps_px[3]
        c, d = told.kps_px[1] - told.kps_px[0], told.kps_px[4] - told.kps_px[3]
        assert np.hypot(*a) / np.hypot(*b) == pytest.approx(np.hypot(*c) / np.hypot(*d), rel=1e-3)


def test_version_still_stands_for_the_pictures_it_stood_for():
    # Stored from DrawnFaces(identities=2, per_identity=2): person(0) and annotation(3). When these
    # move, so do all pictures: raise VERSION in source.py, then store the new ones.
    faces = DrawnFaces(identities=2, per_identity=2)
    who, told = faces.person(0), faces.annotation(3)
    assert VERSION == "drawn-1"
    assert (who.skin_tone, who.eye_spacing) == pytest.approx((0.969904, 0.438684), abs=1e-6)
    assert (who.hair_style, told.occlusion) == (7, "scarf")
    assert told.pose.yaw_deg == pytest.approx(-23.234113, abs=1e-5)
    expected = [(39.69, 50.87), (74.10, 52.19), (48.80, 75.76), (47.51, 89.40), (71.61, 91.58)]
    np.testing.assert_allclose(told.kps_px, expected, atol=0.02)


def test_zero_nuisance_is_a_neutral_frontal_portrait():
    how = sample_nuisance(np.random.default_rng(0), 0.0)
    quiet = Nuisance(background_seed=how.background_seed, occlusion_seed=how.occlusion_seed)
    assert how == quiet.with_(grain_seed=how.grain_seed)


def test_latent_is_decoded_trait_by_trait():
    average = decode(np.zeros(LATENT_SIZE)).with_(hair_style=3, beard_style=0)
    assert dataclasses.asdict(average) == pytest.approx(dataclasses.asdict(Identity()))
    with pytest.raises(ValueError, match="latent must be"):
        decode(np.zeros(3))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("identities", 0, "identities must be a whole number"),
        ("per_identity", 2.5, "per_identity must be a whole number"),
        ("seed", -1, "seed must be a whole number"),
        ("first_identity", -1, "first_identity must be a whole number"),
        ("nuisance", float("nan"), "nuisance must lie in 0..2"),
    ],
)
def test_parameters_outside_their_range_are_refused_by_name(name, value, words):
    with pytest.raises(ConfigError, match=words):
        DrawnFaces(**PARAMETERS | {name: value})


def test_picture_sizes_outside_the_limits_are_refused():
    with pytest.raises(ConfigError, match="even number in 64"):
        draw_face(Identity(), Nuisance(), size=10)


def test_an_index_outside_the_set_is_refused():
    with pytest.raises(IndexError):
        DrawnFaces(**PARAMETERS).read(6)


def test_spec_is_read_and_written_back():
    faces = parse_spec("drawn:ids=64,per_id=8,seed=3,nuisance=0.5,first=10")
    expected = DrawnFaces(identities=64, per_identity=8, seed=3, nuisance=0.5, first_identity=10)
    assert faces.digest() == expected.digest()
    assert parse_spec(faces.name).digest() == faces.digest()
    assert (
        parse_spec("drawn:ids=2,per_id=3").digest()
        == DrawnFaces(identities=2, per_identity=3).digest()
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("painted:ids=2", "drawn faces are written"),
        ("drawn:", "expected each of"),
        ("drawn:ids=2", "per_id is missing"),
        ("drawn:ids=2,per_id=x", "per_id must be a whole number, got 'x'"),
        ("drawn:ids=2,per_id=2,nuisance=much", "nuisance must be a number"),
        ("drawn:ids=2,per_id=2,size=3", "got 'size=3'"),
        ("drawn:ids=2,ids=3,per_id=2", "at most once"),
    ],
)
def test_a_spec_that_cannot_be_meant_is_refused(text, words):
    with pytest.raises(DataError, match=words):
        parse_spec(text)


def test_a_spec_with_a_value_outside_its_range_is_a_config_error():
    with pytest.raises(ConfigError, match="identities"):
        parse_spec("drawn:ids=0,per_id=2")


def small_grey(faces: DrawnFaces) -> np.ndarray:
    """(N, 1024) grey pixels at 32x32."""
    crops = (cv2.cvtColor(faces.read(i), cv2.COLOR_RGB2GRAY) for i in range(len(faces)))
    area = cv2.INTER_AREA
    return np.stack([cv2.resize(c, (32, 32), interpolation=area).ravel() for c in crops]) / 255.0


def test_principal_components_of_the_pixels_do_not_recognise_drawn_people():
    shown = small_grey(DrawnFaces(identities=40, per_identity=4))
    held_out = DrawnFaces(identities=40, per_identity=4, first_identity=40)
    labels = np.arange(len(held_out)) // 4
    mean = shown.mean(axis=0)
    axes = np.linalg.svd(shown - mean, full_matrices=False)[2][:64]
    codes = (small_grey(held_out) - mean) @ axes.T
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    rows, columns = np.triu_indices(len(codes), 1)
    scores, same = (codes @ codes.T)[rows, columns], labels[rows] == labels[columns]
    tar = (scores[same] > np.quantile(scores[~same], 0.99)).mean()
    assert tar < 0.2
