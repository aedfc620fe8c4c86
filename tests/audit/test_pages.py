"""The pages of cards and audits: every figure on them, nothing fetched, no picture unasked."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from crossface.app.cli import main
from crossface.audit.drawn import ATTRIBUTES, audit_drawn
from crossface.audit.groups import GroupTable
from crossface.audit.leakage import find_leakage, hash_faces
from crossface.audit.report import audit_faces
from crossface.core.types import Failure
from crossface.evaluation.card import make_card
from crossface.evaluation.card_check import check_card
from crossface.evaluation.embed import embed_faces
from crossface.evaluation.figures import set_figures_of
from crossface.evaluation.halves import disjoint_halves
from crossface.evaluation.html import render_html
from crossface.evaluation.html_card import card_report
from evaluation.card_fakes import CARD, made
from evaluation.fakes import MeanEmbedder, NoiseFaces, RandomEmbedder
from page_checks import whole
from pipeline.test_onnx_runtime import build

SOURCE = NoiseFaces((3,) * 40, noise=20.0)
GROUP = {SOURCE.key(i): ("<b>old</b>", "young")[i // 3 % 2] for i in range(len(SOURCE))}


def percent(value):
    return f"{100 * value:.2f} %".replace("-", "\u2212")


@pytest.fixture(scope="module")
def faces():
    return embed_faces(RandomEmbedder(), SOURCE, progress=False)


@pytest.fixture(scope="module")
def audit(faces):
    table = GroupTable("g.csv", ("age",), {key: (value,) for key, value in GROUP.items()})
    report = audit_faces(faces, threshold=0.1, threshold_source="given", groups=table)
    hashes = (hash_faces(SOURCE, progress=False),) * 2
    report["leakage"] = find_leakage(faces, faces, threshold=0.9, hashes=hashes)
    report["drawn"] = audit_drawn(
        MeanEmbedder(), people=12, per_person=2, auc_bar=0.1, attributes=ATTRIBUTES[:1],
        progress=False,
    )  # fmt: skip
    return json.loads(json.dumps(report)) | {"figures": set_figures_of(faces)}


def test_every_figure_of_an_audit_is_on_its_page(audit):
    text = render_html(audit, source=SOURCE)
    page = whole(text)
    assert page.seen["img"] == 48
    column = audit["columns"]["age"]
    for row in column["groups"].values():
        for key in ("fmr", "fnmr"):
            for side in ("value", "low", "high"):
                assert percent(row[key][side]) in text
        assert f"{row['n_false_matches']:,}" in text
    ratio = column["fmr_gap"]["ratio"]
    assert f"{ratio['value']:.3g} [{ratio['low']:.3g}, {ratio['high']:.3g}] times" in text
    for sentence in audit["cannot_show"]:
        assert text.count(sentence.replace("'", "&#x27;")) == 1  # said once, not among the facts
    assert "&lt;b&gt;old" in text
    for title in ("Labels that may be wrong", "same people or pictures in two sets",
                  "One attribute of drawn people changed", "Skin tone", "Most alike"):  # fmt: skip
        assert title in text
    level = next(iter(audit["drawn"]["attributes"].values()))["0.1"]
    assert percent(level["fmr_change"]["value"]) in text
    assert "img" not in whole(render_html(audit, source=SOURCE, pictures=False)).seen


def test_the_bars_of_groups_rise(audit):
    text = render_html(audit)
    column = audit["columns"]["age"]["groups"]
    rising = sorted(column, key=lambda name: column[name]["fmr"]["value"])
    section = text[text.index("<svg", text.index("By age")) :]
    places = [
        section.index(f">{name.replace('<', '&lt;').replace('>', '&gt;')}") for name in rising
    ]
    assert places == sorted(places)
    widths = [float(w) for w in re.findall(r'class="bar"[^>]*width="([\d.]+)"', section)][:2]
    values = [column[name]["fmr"]["value"] for name in rising]
    assert widths[1] / widths[0] == pytest.approx(values[1] / values[0], rel=0.02)


def test_a_gap_that_cannot_be_given_is_said(audit):
    none = {"value": None, "low": None, "high": None, "reason": "a gap needs two groups"}
    gap = {"worst": None, "best": None, "ratio": none, "difference": none}
    changed = audit["columns"]["age"] | {"fmr_gap": gap, "fnmr_gap": None}
    text = render_html(audit | {"columns": {"age": changed}})
    assert "FMR: a gap needs two groups." in text


def test_every_row_of_a_card_is_on_its_page():
    one, two = disjoint_halves(made((4,) * 160, noise=0.9), 0)
    card = make_card(one, groups={key: "mf"[int(key[:4]) % 2] for key in one.keys})
    check = check_card(card, two)
    assert len(card.operating_points) >= 2
    failures = [Failure("broken/<1>", "it is broken")]
    text = render_html(card_report(card, check, failures, figures=set_figures_of(one)))
    assert whole(text).seen["svg"] >= 4  # DET, histogram, bars of groups
    for point, other in zip(card.operating_points, check, strict=True):
        assert f"{point.threshold:.4f}" in text
        for found in (point.fmr, point.fnmr):
            assert percent(found.value) in text
        assert percent(other["fmr"]["value"]) in text
    for row in card.absent:
        assert row.reason in text
    assert "At the threshold of FMR 1e-2" in text
    assert "broken/&lt;1&gt;" in text


def test_searches_and_fitted_tails_are_marked():
    rows = [row.model_copy(update={"extrapolated": True}) for row in CARD.operating_points]
    card = CARD.model_copy(update={"operating_points": (rows[0], CARD.operating_points[1])})
    text = render_html(card_report(card, None))
    whole(text)
    for size, points in CARD.fpir_by_gallery_size.items():
        for point in points:
            assert f"{size:,} people, FPIR" in text
            assert f"{point.threshold:.4f}" in text
    assert text.count("extrapolated by a fitted tail") == 1
    assert "too few" in text


def test_worst_strangers_are_those_of_a_loop(faces):
    blank = replace(faces, identities=(None,) * len(faces.keys))
    scores = faces.embeddings @ faces.embeddings.T
    every = [
        (scores[i, j], faces.keys[i], faces.keys[j])
        for i in range(len(scores))
        for j in range(i + 1, len(scores))
    ]
    rng = np.random.default_rng(0)
    listed = [every[n] for n in rng.choice(len(every), 300, replace=False)]
    for compared, pairs in ((every, None), (listed, [(a, b) for _, a, b in listed])):
        want, used = [], set()
        for score, a, b in sorted(compared, key=lambda row: -row[0]):
            if len(want) < 12 and not {a, b} & used:
                want.append((round(float(score), 4), {a, b}))
                used |= {a, b}
        found = set_figures_of(blank, pairs)["worst"]
        assert found["genuine"] == []
        for shown, (score, keys) in zip(found["impostor"], want, strict=True):
            assert {shown["a"], shown["b"]} == keys
            assert shown["similarity"] == pytest.approx(score, abs=2e-4)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    folder = tmp_path_factory.mktemp("room")
    build(folder / "m.onnx", metadata={})
    for index in range(len(SOURCE)):
        place = folder / "faces" / f"{SOURCE.key(index)}.png"
        place.parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(SOURCE.read(index)).save(place, compress_level=1)
    rows = [f"{key},{value}" for key, value in GROUP.items()]
    (folder / "groups.csv").write_text("\n".join(["key,age", *rows]), encoding="utf-8")
    pairs = [f"{SOURCE.key(i)},{SOURCE.key(i + 3)},{'xy'[i % 2]}" for i in range(100)]
    (folder / "pairs.csv").write_text("\n".join(["a,b,group", *pairs]), encoding="utf-8")
    return folder


@pytest.mark.parametrize("verb", ["card", "audit"])
@pytest.mark.parametrize("given", ["groups", "pairs"])
def test_both_verbs_write_a_page_with_and_without_pictures(room, tmp_path, verb, given):
    arguments = ["--quiet", verb, room / "m.onnx", "--data", room / "faces", "--threads", 1]
    arguments += [f"--{given}", room / f"{given}.csv", "--html", tmp_path / "p.html"]
    arguments += ["--threshold", "0.2"] if verb == "audit" else ["--all-data"]
    pictures = []
    for more in ([], ["--no-pictures"]):
        main_ends([*arguments, *more])
        page = whole((tmp_path / "p.html").read_text(encoding="utf-8"))
        pictures.append(page.seen.get("img", 0))
    assert pictures == [48 if given == "groups" else 24, 0]


def main_ends(arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert not stop.value.code
