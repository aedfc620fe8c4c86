"""HTML reports: self-contained, complete, and nobody's picture unless asked for."""

import json
import re

import numpy as np
import pytest
from fakes import MeanEmbedder, NoiseFaces, RandomEmbedder

from crossface.core.registry import Registry
from crossface.data.build_pairs import build_pairs
from crossface.evaluation import run
from crossface.evaluation.charts import Axis, Bars
from crossface.evaluation.compare import compare_all_pairs
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.figures import all_pairs_figures_of, pair_figures_of
from crossface.evaluation.html import render_html, write_html
from crossface.evaluation.metrics import fnmr_at_fmr
from crossface.evaluation.pair_scores import score_pairs
from crossface.evaluation.protocol_tables import protocol_table
from crossface.evaluation.protocols.all_pairs import evaluate_all_pairs
from crossface.evaluation.protocols.pairs import evaluate_pairs
from crossface.evaluation.robustness import evaluate_robustness
from page_checks import whole

SOURCE = NoiseFaces((3,) * 40)
PAIRS = build_pairs(SOURCE, pairs_per_fold=30, folds=4)


@pytest.fixture(scope="module")
def faces():
    return embed_faces(RandomEmbedder(), SOURCE, progress=False)


@pytest.fixture(scope="module")
def report(faces):
    figures = pair_figures_of(faces, PAIRS, list_name="x")
    return evaluate_pairs(faces, PAIRS, fmr_targets=(0.4, 0.3)) | {"figures": figures}


def test_a_report_is_one_file_that_fetches_nothing(report, tmp_path):
    write_html(report, tmp_path / "r.html", source=SOURCE)
    page = whole((tmp_path / "r.html").read_text())
    assert page.seen["svg"] == 3  # DET, histogram, bars of the TARs
    assert page.seen["img"] == 48  # 12 + 12 pairs


def test_without_pictures_or_source_there_is_no_picture(report):
    assert "img" not in whole(render_html(report, source=SOURCE, pictures=False)).seen
    assert "img" not in whole(render_html(report)).seen


def test_every_figure_of_a_report_is_on_its_page(report):
    text = render_html(json.loads(json.dumps(report)))
    for entry in (report["accuracy"], report["auc"], report["tar_at_fmr"]["4e-1"]):
        assert f"{100 * entry['value']:.2f} %" in text
        assert f"{100 * entry['low']:.2f} %" in text
    assert report["data_digest"] in text
    assert "accepted when similarity &gt;= threshold" in text


def test_what_comes_from_outside_is_escaped(report):
    evil = report | {"model": "<script>alert(1)</script>", "warnings": ["<b>bold</b>"],
                     "failures": [{"name": "<i>", "reason": "<u>"}]}  # fmt: skip
    text = render_html(evil)
    assert "<script" not in text
    assert "&lt;b&gt;bold" in text
    assert "&lt;i&gt;" in text
    whole(text)


def test_the_det_is_the_fnmr_at_each_fmr_with_its_band(faces, report):
    det = report["figures"]["det"]
    scored = score_pairs(faces, PAIRS, list_name="x")
    genuine, impostor = scored.scores[scored.same], scored.scores[~scored.same]
    assert min(det["fmr"]) * len(impostor) >= 30
    for fmr, fnmr, low, high in zip(det["fmr"], det["fnmr"], det["low"], det["high"], strict=True):
        assert fnmr == pytest.approx(fnmr_at_fmr(genuine, impostor, fmr))
        assert low <= fnmr <= high
    histogram = report["figures"]["histogram"]
    assert sum(histogram["genuine"]) == pytest.approx(1, abs=1e-5)
    assert len(histogram["edges"]) == len(histogram["impostor"]) + 1


def test_the_worst_pairs_of_all_are_those_of_a_loop(faces):
    worst = all_pairs_figures_of(faces)["worst"]
    scores = faces.embeddings @ faces.embeddings.T
    names = np.array(faces.identities)
    same = names[:, None] == names[None, :]
    upper = np.triu(np.ones_like(same), 1)
    assert worst["genuine"][0]["similarity"] == pytest.approx(scores[same & upper].min(), abs=1e-4)
    assert worst["impostor"][0]["similarity"] == pytest.approx(
        scores[~same & upper].max(), abs=1e-4
    )
    for kind, sign in (("genuine", 1), ("impostor", -1)):
        shown = [sign * pair["similarity"] for pair in worst[kind]]
        assert shown == sorted(shown)
        used = [pair[side] for pair in worst[kind] for side in "ab"]
        assert len(set(used)) == len(used)


def test_the_worst_pairs_do_not_depend_on_the_block(faces, monkeypatch):
    from crossface.evaluation import figures

    one = all_pairs_figures_of(faces)
    monkeypatch.setattr(figures, "_BLOCK_CELLS", 700)
    assert all_pairs_figures_of(faces)["worst"] == one["worst"]


def test_a_comparison_is_a_page_of_signed_differences(faces):
    other = embed_faces(MeanEmbedder(), SOURCE, progress=False)
    found = compare_all_pairs([faces], [other], fmr_targets=(1e-1,))
    text = render_html(found)
    whole(text)
    assert "random against mean7" in text
    entry = found["differences"]["AUC"]
    assert f"{100 * entry['value']:.2f} %".replace("-", "\u2212") in text


def test_cards_and_audits_are_rendered_by_their_shape():
    interval = {"value": 0.012, "low": 0.008, "high": 0.017}
    card = {
        "contract_id": "abc",
        "operating_points": [
            {"fmr_target": 1e-3, "threshold": 0.31, "fmr": interval, "fnmr": interval},
            {"fmr_target": 1e-4, "threshold": 0.4, "fmr": interval,
             "fnmr": {"value": None, "reason": "too few"}},
        ],
        "fpir_by_gallery_size": {"100": [{"threshold": 0.5, "fmr": interval}]},
        "groups": {
            "women": {"fmr": interval, "fnmr": interval, "n": 3000},
            "men": {"fmr": {"value": 0.03, "low": 0.02, "high": 0.05}, "fnmr": interval, "n": 12},
        },
        "latency": {"embed": {"median_ms": 4.0, "p95_ms": 6.5}},
        "intersections": {},
        "nothing": None,
    }  # fmt: skip
    text = render_html(card)
    page = whole(text)
    assert page.seen["svg"] == 3  # bars of FMR and FNMR by group, and of the latency
    for words in ("Operating points", "0.4", "too few", "women", "3,000", "2.00 % – 5.00 %",
                  "FPIR by gallery size", "6.5 ms"):  # fmt: skip
        assert words in text


def test_ladders_are_charts_on_the_page_and_a_table_in_text():
    found = evaluate_robustness(
        MeanEmbedder(), SOURCE, pairs=PAIRS, fmr_target=0.4, kinds=("blur", "light"),
        levels={"blur": (2,), "light": (1, 3)}, progress=False,
    )  # fmt: skip
    assert whole(render_html(found)).seen["svg"] == 2
    lines = protocol_table(found).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["none", "blur", "light", "light"]


def test_bars_are_as_long_as_their_values():
    bars = Bars(Axis(0, 1, [(0, "0"), (1, "1")]), title="t", label="l")
    for value in (0.25, 0.5):
        bars.bar("x" * 40, value, value / 2, value * 2, "w")
    widths = [float(w) for w in re.findall(r'class="bar"[^>]*width="([\d.]+)"', bars.svg())]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)
    assert "…" in bars.svg()


def test_a_protocol_runs_by_name_with_its_figures(monkeypatch):
    table = {
        "pairs": "crossface.evaluation.protocols.pairs:evaluate_pairs",
        "all-pairs": "crossface.evaluation.protocols.all_pairs:evaluate_all_pairs",
        "robustness": "crossface.evaluation.robustness:evaluate_robustness",
        "rfw": "crossface.evaluation.protocols.rfw:evaluate_rfw",
    }
    monkeypatch.setattr(run, "PROTOCOLS", Registry("protocol", table))
    data = run.ProtocolData(SOURCE, PAIRS, "made")
    found = run.run_protocol(RandomEmbedder(), "pairs", data, figures=True, progress=False)
    assert found["pair_list"] == "made"
    assert set(found["figures"]) == {"det", "histogram", "worst"}
    plain = run.run_protocol(
        RandomEmbedder(), "all-pairs", run.open_protocol_data("all-pairs", SOURCE), progress=False
    )
    assert (
        plain["auc"]
        == evaluate_all_pairs(embed_faces(RandomEmbedder(), SOURCE, progress=False))["auc"]
    )
    with pytest.raises(run.UsageError, match="ladders belong to the protocol robustness"):
        run.run_protocol(RandomEmbedder(), "pairs", data, ladders=["blur"], progress=False)
    with pytest.raises(run.UsageError, match="noise: protocol 'pairs' needs a list"):
        run.open_protocol_data("pairs", SOURCE)
    with pytest.raises(run.DataError, match="nowhere: protocol rfw needs the folder"):
        run.open_protocol_data("rfw", "nowhere")
