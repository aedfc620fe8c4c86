"""ROC and DET: against scikit-learn, thinned, with bands."""

import numpy as np
import pytest
from scipy import stats
from simulate import World
from sklearn.metrics import det_curve

from crossface.evaluation import metrics, scores
from crossface.evaluation.curves import det_band, probit, thin
from crossface.evaluation.influence import FnmrAtFmr, spread, tail_roc
from crossface.evaluation.intervals import rate_interval


@pytest.fixture(scope="module")
def drawn():
    return World(people=60).draw(np.random.default_rng(0))[0]


def normals(count=3000):
    rng = np.random.default_rng(1)
    return rng.normal(2, 1, count), rng.normal(0, 1, count)


def test_det_has_the_points_of_scikit_learn():
    genuine, impostor = normals(200)
    labels = np.r_[np.ones(200), np.zeros(200)]
    fmr, fnmr, thresholds = det_curve(labels, np.r_[genuine, impostor])
    curve = metrics.roc(genuine, impostor)
    found = {(round(t, 9), round(a, 9), round(b, 9)) for t, a, b in zip(*curve, strict=True)}
    wanted = {
        (round(t, 9), round(a, 9), round(b, 9))
        for t, a, b in zip(thresholds, fmr, fnmr, strict=True)
        if np.isfinite(t)
    }
    assert wanted <= found


@pytest.mark.parametrize("axis", ["probit", "log"])
def test_a_thinned_curve_keeps_its_ends_and_its_shape(axis):
    curve = metrics.roc(*normals())
    short = thin(curve, points=50, axis=axis)
    assert 50 <= len(short.fmr) <= 102
    whole = set(zip(*(part.tolist() for part in curve), strict=True))
    assert set(zip(*(part.tolist() for part in short), strict=True)) <= whole
    for part, full in zip(short, curve, strict=True):
        assert (part[0], part[-1]) == (full[0], full[-1])
    corner = int(np.argmax(curve.fnmr == curve.fnmr[curve.fnmr > 0].min()))
    assert curve.thresholds[corner] in short.thresholds  # where the lowest FNMR is first reached
    # the normal deviates of two normal samples lie on a straight line: no gap is wide on it
    inside = (short.fmr > 0) & (short.fmr < 1)
    gaps = np.diff(stats.norm.ppf(short.fmr[inside]))
    assert gaps.max() < (0.5 if axis == "probit" else 2.5)


def test_a_short_curve_stays_whole():
    curve = metrics.roc(np.array([0.9, 0.6]), np.array([0.7, 0.1]))
    assert thin(curve) is curve
    with pytest.raises(ValueError, match="at least 2 points"):
        thin(curve, points=1)


def test_a_curve_of_the_kept_tail_can_be_thinned(drawn):
    short = thin(tail_roc(drawn), points=30)
    for threshold, fmr, fnmr in list(zip(*short, strict=True))[1:]:
        assert fmr == pytest.approx(metrics.fmr_at(drawn.tail, np.float32(threshold)))
        assert fnmr == pytest.approx(metrics.fnmr_at(drawn.genuine, np.float32(threshold)))


def test_a_band_is_the_interval_of_every_point(drawn):
    band = det_band(drawn, points=7)
    assert band.reason is None
    assert band.fmr[0] == pytest.approx(30 / drawn.n_impostor)
    assert band.fmr[-1] == pytest.approx(0.5)
    assert np.all(np.diff(band.fmr) > 0)
    assert np.all(np.diff(band.thresholds) < 0)
    assert np.all((band.low <= band.fnmr) & (band.fnmr <= band.high))
    found = FnmrAtFmr(drawn, float(band.fmr[2]))
    error = spread(found.influence, drawn.sizes)
    limits = rate_interval(
        found.influence.value,
        error.variance,
        df=error.df,
        trials=len(drawn.genuine),
        units=int(np.sum(drawn.sizes > 1)),
        errors=found.n_false_non_matches,
    )
    assert (band.low[2], band.high[2]) == (limits.low, limits.high)
    body = band.as_dict()
    assert body["fnmr"] == band.fnmr.tolist()
    assert "reason" not in body


def test_few_people_give_a_curve_without_limits_and_the_reason():
    few = World(people=6).draw(np.random.default_rng(0))[0]
    body = det_band(few, points=4).as_dict()
    if body["fmr"]:
        assert body["low"] == [None] * len(body["fmr"])
    assert "10 identities" in body["reason"]


def test_a_band_ends_where_the_kept_scores_end(monkeypatch):
    monkeypatch.setattr(scores, "KEEP_ALL", 0)
    from fakes import NoiseFaces, RandomEmbedder

    from crossface.evaluation.embed import embed_faces

    faces = embed_faces(RandomEmbedder(), NoiseFaces((4,) * 50), progress=False)
    table = scores.score_all_pairs(faces)
    share = len(table.tail) / table.n_impostor
    assert share < 0.1
    band = det_band(table, points=3)
    assert band.fmr[-1] == pytest.approx(share / 2.1)


def test_probits_are_normal_quantiles():
    rates = np.array([[0.001, 0.5], [0.9, 0.02]])
    np.testing.assert_allclose(probit(rates), stats.norm.ppf(rates), rtol=1e-9, atol=1e-12)
