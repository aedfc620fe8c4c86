"""Defects of a pair list are said."""

from dataclasses import replace

import pytest
from fakes import MeanEmbedder, NoiseFaces, Pair, PairList

from crossface.evaluation.embed import embed_faces
from crossface.evaluation.pair_checks import pair_warnings
from crossface.evaluation.protocols.pairs import evaluate_pairs
from crossface.evaluation.report import report_table

SOURCE = NoiseFaces((2,) * 12)


def clean():
    rows = []
    for person in range(12):
        fold, other = person // 6, person // 6 * 6 + (person + 1) % 6
        rows.append(Pair(fold, SOURCE.key(2 * person), SOURCE.key(2 * person + 1), True))
        rows.append(Pair(fold, SOURCE.key(2 * person), SOURCE.key(2 * other + 1), False))
    return rows


@pytest.fixture(scope="module")
def faces():
    return embed_faces(MeanEmbedder(), SOURCE, progress=False)


def test_a_clean_list_has_no_warning(faces):
    assert pair_warnings(PairList(tuple(clean())), faces) == []
    assert evaluate_pairs(faces, PairList(tuple(clean())))["warnings"] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda rows: [*rows, replace(rows[0], fold=1, a=rows[0].b, b=rows[0].a)],
            "1 pairs stand in the list more than once, 1 of them in several folds",
        ),
        (lambda rows: [*rows, rows[0]], "more than once, 0 of them in several folds"),
        (
            lambda rows: [*rows, Pair(1, SOURCE.key(0), SOURCE.key(22), False)],
            "1 people stand in several folds, where folds should share nobody: p000",
        ),
        (
            lambda rows: [replace(rows[0], b=rows[0].a), *rows[1:]],
            "1 pairs compare a picture with itself, first p000/00000",
        ),
        (
            lambda rows: [replace(rows[0], same=False), *rows[1:]],
            "1 pairs are listed as impostor, the folders say one: first p000/00000",
        ),
        (
            lambda rows: [*rows[:1], replace(rows[1], same=True), *rows[2:]],
            "1 pairs are listed as genuine, the folders say two people",
        ),
        (
            lambda rows: [row for row in rows if row.fold == 0 or row.same],
            "folds without impostor pairs: 1",
        ),
    ],
)
def test_a_defect_is_said_in_report_and_table(faces, change, said):
    rows = PairList(tuple(change(clean())))
    report = evaluate_pairs(faces, rows)
    assert any(said in text for text in report["warnings"])
    assert f"warning: {report['warnings'][0]}" in report_table(report)
