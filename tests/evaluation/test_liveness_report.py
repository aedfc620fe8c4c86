"""The liveness report, against counting by hand and scipy's exact intervals."""

import json

import numpy as np
import pytest
from scipy import stats

from crossface.core.errors import DataError, UsageError
from crossface.core.types import Failure
from crossface.evaluation.html import render_html
from crossface.evaluation.liveness import LivenessScores, evaluate_liveness, read_liveness_scores
from crossface.evaluation.protocol_tables import protocol_table
from page_checks import whole

HAND = """score,kind
0.9,live
0.5,live
0.4,live
0.8,live
0.6,print
0.1,print
0.5,replay
0.7,replay
0.2,replay
0.3,replay
"""


def made(**more):
    kinds = {"live": np.array([0.9, 0.5, 0.4, 0.8]), "print": np.array([0.6, 0.1])}
    return LivenessScores("m", "d", "0" * 64, kinds, **more)


def test_four_live_and_six_attacks_by_hand(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(HAND)
    report = evaluate_liveness(read_liveness_scores(path), threshold=0.5)
    assert (report["model"], report["data"]) == ("mine", "mine.csv")
    assert (report["n_live"], report["n_attacks"]) == (4, 6)
    rates = report["at_threshold"]
    # print: 0.6 passes, 1 of 2; replay: 0.5 and 0.7 pass, 2 of 4; live: 0.4 is refused, 1 of 4
    for kind, passed, trials in (("print", 1, 2), ("replay", 2, 4)):
        entry = rates["apcer"][kind]
        assert (entry["n_errors"], entry["n_trials"]) == (passed, trials)
        limits = stats.binomtest(passed, trials).proportion_ci(method="exact")
        assert (entry["low"], entry["high"]) == pytest.approx((limits.low, limits.high))
    assert (rates["worst"], rates["apcer_max"]["value"]) == ("print", 0.5)
    assert (rates["bpcer"]["value"], rates["bpcer"]["n_errors"]) == (0.25, 1)
    assert rates["acer"]["value"] == (0.5 + 0.25) / 2
    json.dumps(report, allow_nan=False)


def test_no_kind_passes_more_often_than_the_target_and_bpcer_is_counted_there():
    rng = np.random.default_rng(0)
    kinds = {"bonafide": rng.normal(2, 1, 400), "mask": rng.normal(0.5, 1, 900)}
    kinds["print"] = rng.normal(0, 1, 700)
    report = evaluate_liveness(LivenessScores("m", "d", "0" * 64, kinds))
    assert "at_threshold" not in report
    for target in (0.1, 0.05, 0.01):
        rates = report["bpcer_at_apcer"][{0.1: "1e-1", 0.05: "5e-2", 0.01: "1e-2"}[target]]
        shares = {k: np.mean(kinds[k] >= rates["threshold"]) for k in ("mask", "print")}
        assert max(shares.values()) <= target
        assert rates["apcer"]["mask"]["value"] == shares["mask"]
        assert rates["bpcer"]["value"] == np.mean(kinds["bonafide"] < rates["threshold"])
        few = target * 700 < 30
        assert ("reason" in rates["bpcer"]) is few


def test_what_has_no_score_is_counted_beside_the_rates():
    failures = [Failure("print/1", "no face was found"), Failure("video/2", "broken")]
    report = evaluate_liveness(
        made(failures=failures, lost={"print": 1, "video": 1}), threshold=0.55
    )
    assert report["presentations"] == {
        "live": {"n_scored": 4, "n_without_score": 0},
        "print": {"n_scored": 2, "n_without_score": 1},
        "video": {"n_scored": 0, "n_without_score": 1},
    }
    assert report["at_threshold"]["apcer"]["print"]["n_trials"] == 2
    assert "2 without a score" in protocol_table(report)


def test_the_table_and_the_page_hold_the_rates_and_what_they_cannot_show():
    report = evaluate_liveness(made(), threshold=0.55)
    text = protocol_table(report)
    for said in ("APCER print", "APCER highest: print", "BPCER", "ACER", "1 of 2", "note: every"):
        assert said in text
    page = render_html(report)
    whole(page)
    for said in (
        "APCER by kind of attack",
        "BPCER",
        "What this cannot show",
        "the threshold is a guess",
    ):
        assert said in page


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label,score\nlive,1\n", "expected the columns kind and score, got 'label,score'"),
        ("kind,score\nlive,high\n", "line 2: score: expected a number, got 'high'"),
        ("kind,score\nlive,inf\n", "line 2: score: expected a finite number, got inf"),
        ("kind,score\n,1\n", "line 2: expected a kind, got an empty cell"),
        ("kind,score\nlive,1\nREAL,1\n", "at least one kind of attack, got REAL, live"),
        ("kind,score\nprint,1\n", r"of kind live \(bona fide, .* got print"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, text, said):
    path = tmp_path / "s.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        evaluate_liveness(read_liveness_scores(path))


def test_a_threshold_that_is_no_number_is_refused():
    with pytest.raises(UsageError, match="finite number, got nan"):
        evaluate_liveness(made(), threshold=float("nan"))
