"""Group tables, rates at a common threshold, gaps with intervals, and what is said out loud."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossface.audit.fairness import audit_lists, audit_table, cannot_show, fairness_text
from crossface.audit.groups import read_groups, read_impostor_pairs
from crossface.audit.report import audit_faces, audit_text, common_threshold
from crossface.audit.spread import GroupRate, gap
from crossface.core.card import Interval
from crossface.core.errors import ContractMismatch, DataError, UsageError
from crossface.evaluation.card import make_card
from evaluation.card_fakes import made, pair_scores


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def group_file(path, faces, groups):
    rows = "\n".join(f"{key}.jpg,{','.join(row)}" for key, row in zip(faces.keys, groups))  # noqa: B905
    return read_groups(write(path, f"file,sex,tone\n{rows}\n"))


@pytest.fixture
def audited(tmp_path):
    faces = made([2] * 60, dim=6)
    rows = [("f" if n % 2 else "m", "dark" if n < 60 else "light") for n in range(120)]
    rows[-1] = ("x", "light")
    return faces, rows, group_file(tmp_path / "groups.csv", faces, rows)


def test_every_group_is_what_two_loops_count(audited):
    faces, rows, table = audited
    report = audit_table(faces, table, threshold=0.6)
    assert list(report) == ["sex", "tone", "sex x tone"]
    for column, group, wanted in (
        ("tone", "dark", lambda row: row[1] == "dark"),
        ("sex x tone", "f / light", lambda row: row == ("f", "light")),
    ):
        mask = np.array([wanted(row) for row in rows])
        inside = dataclasses.replace(
            faces,
            embeddings=faces.embeddings[mask],
            keys=tuple(np.array(faces.keys)[mask]),
            identities=tuple(np.array(faces.identities)[mask]),
        )
        genuine, impostor = pair_scores(inside)
        row = report[column]["groups"][group]
        assert row["n_false_matches"] == np.sum(impostor >= 0.6)
        assert row["n_impostor"] == len(impostor)
        assert row["fmr"]["value"] == pytest.approx(np.mean(impostor >= 0.6))
        if len(genuine):
            assert row["fnmr"]["value"] == pytest.approx(np.mean(genuine < 0.6))
        else:
            assert row["fnmr"]["value"] is None


def test_a_group_of_one_person_is_a_marked_row_outside_the_gap(audited):
    faces, _, table = audited
    report = audit_table(faces, table, threshold=0.6, columns=["sex"])["sex"]
    lonely = report["groups"]["x"]
    assert lonely["marked"] == "one alone: nobody to be mistaken for"
    assert lonely["fmr"]["value"] is None
    assert {report["fmr_gap"]["worst"], report["fmr_gap"]["best"]} == {"f", "m"}
    assert "nobody to be mistaken for" in fairness_text({"sex": report})


def test_the_gap_is_worst_to_best_with_the_delta_methods_width():
    def group(errors, units=400):
        by_unit = np.zeros((units, 2))
        by_unit[:, 1] = 100
        by_unit[:errors, 0] += 1
        by_unit[-errors:, 0] += 1
        value = errors / (units * 50)
        variance = value * (1 - value) / (units * 50)
        limits = Interval(value=value, low=0.0, high=1.0)
        return GroupRate(limits, errors, units * 50, by_unit, variance)

    found = gap({"a": group(30), "b": group(120), "c": group(60)})
    assert (found["worst"], found["best"]) == ("b", "a")
    assert found["ratio"]["value"] == pytest.approx(4.0)
    assert found["difference"]["value"] == pytest.approx(90 / 20_000)
    reach = 1.96 * math.sqrt(1 / 30 + 1 / 120)
    assert math.log(found["ratio"]["high"] / 4) == pytest.approx(reach, rel=0.1)
    assert math.log(4 / found["ratio"]["low"]) == pytest.approx(reach, rel=0.1)
    assert 1.2 < found["ratio_if_equal"] < 2.0
    assert found["ratio"]["low"] > found["ratio_if_equal"]


def test_no_ratio_is_made_up_where_the_best_group_has_no_error():
    units = np.column_stack([np.zeros(50), np.full(50, 10.0)])
    none = GroupRate(Interval(value=0.0), 0, 250, units, 0.0)
    some = dataclasses.replace(none, errors=20, by_unit=units + np.array([0.4, 0.0]), variance=1e-4)
    found = gap({"none": none, "some": some})
    assert found["ratio"]["value"] is None
    assert "no error among 250" in found["ratio"]["reason"]
    assert found["difference"]["value"] == pytest.approx(0.08)
    assert gap({"one": some})["ratio"]["value"] is None


@given(seed=st.integers(0, 10_000))
@settings(derandomize=True, deadline=None, max_examples=5)
def test_equal_groups_stay_within_what_chance_makes(seed):
    faces = made([1] * 160, dim=5, seed=seed, labelled=False)
    pairs = {
        name: [(faces.keys[i], faces.keys[j]) for i in rows for j in rows if j < i]
        for name, rows in (("a", range(80)), ("b", range(80, 160)))
    }
    report = audit_lists(faces, pairs, threshold=0.7)["listed pairs"]
    found = report["fmr_gap"]
    assert found["ratio"]["low"] <= found["ratio"]["value"] <= found["ratio"]["high"]
    assert found["ratio"]["value"] < 2.5 * found["ratio_if_equal"]
    assert report["fnmr_gap"] is None


def test_listed_pairs_are_counted_as_they_stand(tmp_path):
    faces = made([1] * 80, dim=5, labelled=False)
    chosen = [(i, j) for i in range(80) for j in range(i) if (i * j) % 5 == 1]
    lines = [f"x,{faces.keys[i]}.webp,{faces.keys[j]}.webp" for i, j in chosen]
    path = write(tmp_path / "p.csv", "\n".join(["race,a,b", *lines]))
    lists = read_impostor_pairs(path)
    row = audit_lists(faces, lists, threshold=0.5)["listed pairs"]["groups"]["x"]
    gram = faces.embeddings @ faces.embeddings.T
    assert row["n_false_matches"] == sum(gram[i, j] >= 0.5 for i, j in chosen)
    assert row["n_impostor"] == len(chosen)
    assert row["fnmr"]["value"] is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 2"),
        ("sex,tone\nf,dark\n", "a column of pictures"),
        ("file\na.jpg\n", "at least one of groups"),
        ("file,sex,sex\na,f,f\n", "different column names"),
        ("file,sex\n", "line 2"),
        ("file,sex\na.jpg,f,g\n", "line 2: expected 2 cells, got 3"),
        ("file,sex\na.jpg,f\na.png,m\n", "line 3: 'a' is there twice"),
        ("file,sex\n,f\n", "line 2: expected a picture"),
    ],
)
def test_malformed_groups_are_refused_by_line(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_groups(write(tmp_path / "g.csv", text))


@pytest.mark.parametrize(
    ("text", "said"),
    [("x,b\n1,2\n", "columns a and b"), ("a,b\nu,u\n", "two pictures"), ("a,b\nu,\n", "line 2")],
)
def test_malformed_pair_lists_are_refused_by_line(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        read_impostor_pairs(write(tmp_path / "p.csv", text))


def test_missing_files_and_strange_columns_have_their_sentence(tmp_path, audited):
    faces, _, table = audited
    with pytest.raises(DataError, match="cannot be read"):
        read_groups(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="no column 'age', there are sex, tone"):
        audit_table(faces, table, threshold=0.5, columns=["age"])
    rows = "\n".join(f"{key},{n}" for n, key in enumerate(faces.keys))
    numbers = read_groups(write(tmp_path / "n.csv", f"key,n\n{rows}"))
    with pytest.raises(DataError, match="120 different values"):
        audit_table(faces, numbers, threshold=0.5)
    other = read_groups(write(tmp_path / "o.csv", "key,sex\nelsewhere,f\n"))
    with pytest.raises(DataError, match="none of its pictures"):
        audit_table(faces, other, threshold=0.5)


def test_what_the_data_cannot_show_is_said(audited):
    faces, _, table = audited
    unlabelled = dataclasses.replace(faces, identities=(None,) * len(faces.keys))
    said = " ".join(cannot_show(unlabelled, listed=False, chosen_here=True, without_group=3))
    assert "false non-matches" in said
    assert "by construction" in said
    assert "3 pictures belong to no group" in said
    report = audit_faces(faces, threshold=0.6, threshold_source="given", groups=table)
    assert not any("false non-matches" in line for line in report["cannot_show"])
    assert "What this cannot show" in audit_text(report)
    assert report["labels"]["judged"] == 120
    with pytest.raises(UsageError, match="needs groups"):
        audit_faces(faces, threshold=0.6, threshold_source="given")


def test_the_common_threshold_is_the_cards_or_asked_for_never_guessed():
    faces = made([2] * 80)
    card = make_card(faces, date="2026-01-02")
    place, source = common_threshold(faces, card, fmr=1e-2)
    assert place == card.operating_points[0].threshold
    assert "card of 2026-01-02" in source
    assert source.endswith("a set of the same name as the audited one")
    said = audit_faces(
        faces, threshold=place, threshold_source=source, lists={"all": [faces.keys[:2]]}
    )
    assert any("chosen on people of a set of this name" in text for text in said["cannot_show"])
    others = dataclasses.replace(faces, source_name="others", source_digest="1" * 64)
    assert common_threshold(others, card, fmr=1e-2)[1].endswith(f"measured on {card.data}")
    with pytest.raises(UsageError, match="--threshold or --fmr"):
        common_threshold(faces, None, fmr=None)
    place, source = common_threshold(faces, None, fmr=1e-2)
    _, impostor = pair_scores(faces)
    assert np.mean(impostor >= place) <= 1e-2
    assert "chosen on" in source
    with pytest.raises(DataError, match="at least 30"):
        common_threshold(faces, None, fmr=1e-6)
    with pytest.raises(ContractMismatch, match="flip"):
        common_threshold(dataclasses.replace(faces, flip=False), card, fmr=1e-2)
