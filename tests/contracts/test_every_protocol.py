"""What every protocol must do, run over the table."""

from __future__ import annotations

import json
import math

import pytest

from crossface.core.errors import UnknownName, UsageError
from crossface.evaluation.html import render_html
from crossface.evaluation.protocol_tables import protocol_table
from crossface.evaluation.protocols import PROTOCOLS
from crossface.evaluation.run import ProtocolData, open_protocol_data, run_protocol
from evaluation.fakes import (
    ConstantEmbedder,
    MeanEmbedder,
    NoiseFaces,
    Pair,
    PairList,
    RandomEmbedder,
)
from page_checks import whole
from published_sets import write_ijb, write_rfw, write_ytf

PEOPLE = 24
SOURCE = NoiseFaces((3,) * PEOPLE, noise=25.0)
RIGHT = ("accuracy", "auc", "tar", "rank")
WRONG = ("eer", "fnmr", "fnir")


def _list():
    rows = []
    for person in range(PEOPLE):
        fold, first = person % 4, SOURCE.key(3 * person)
        rows.append(Pair(fold, first, SOURCE.key(3 * person + 1), True))
        for turn in (4, 8, 12, 16):
            other = (person + turn) % PEOPLE
            rows.append(Pair(fold, first, SOURCE.key(3 * other + 2), False))
    return PairList(tuple(rows))


def _pairs(folder):
    return ProtocolData(SOURCE, _list(), "made")


def _all(folder):
    return ProtocolData(SOURCE)


def _published(protocol, write):
    return lambda folder: open_protocol_data(protocol, write(folder / protocol))


LAYOUTS = {
    "all-pairs": _all,
    "discard": _all,
    "identify": _all,
    "ijb-1n": _published("ijb-1n", write_ijb),
    "ijbb-11": _published("ijbb-11", lambda folder: write_ijb(folder, subset="ijbb")),
    "ijbc-11": _published("ijbc-11", write_ijb),
    "pairs": _pairs,
    "rfw": _published("rfw", write_rfw),
    "robustness": _pairs,
    "ytf": _published("ytf", write_ytf),
}


def run(name, embedder, data):
    if name == "robustness":  # its own target needs thousands of pairs
        options = {"kinds": ("blur",), "levels": {"blur": (2,)}, "fmr_target": 0.4}
        return PROTOCOLS.resolve(name)(
            embedder, data.source, pairs=data.pairs, list_name="made", progress=False, **options
        )
    options = {"fmr_targets": (2e-2,)} if name == "discard" else {}  # its own need more pairs
    return run_protocol(embedder, name, data, options=options, progress=False)


@pytest.fixture(scope="module", params=PROTOCOLS.names())
def reports(request, tmp_path_factory):
    """One report of each embedder; a protocol without data here fails by name."""
    name = request.param
    data = LAYOUTS[name](tmp_path_factory.mktemp("data"))
    embedders = (MeanEmbedder(), RandomEmbedder(), ConstantEmbedder())
    kinds = ("perfect", "random", "constant")
    return {kind: run(name, one, data) for kind, one in zip(kinds, embedders, strict=True)}


def rates(report, path=""):
    """(path, figure) of everything that has a value and limits."""
    if isinstance(report, dict):
        if {"value", "low", "high"} <= set(report):
            yield path, report
        else:
            for key, entry in report.items():
                yield from rates(entry, f"{path}/{key}")
    elif isinstance(report, list):
        for place, entry in enumerate(report):
            yield from rates(entry, f"{path}/{place}")


def of(report, words):
    """Values whose path names one of the words, without those made worse on purpose."""
    return {
        path: entry["value"]
        for path, entry in rates(report)
        if any(part.startswith(words) for part in path.split("/"))
        and entry["value"] is not None
        and not path.startswith("/ladders")
    }


def test_limits_hold_the_value_and_a_missing_figure_has_its_reason(reports):
    for report in reports.values():
        seen = list(rates(report))
        assert seen
        for path, entry in seen:
            if entry["value"] is None or entry["low"] is None:
                assert entry["reason"], path
            else:
                assert -1 <= entry["low"] <= entry["value"] + 1e-9, path
                assert entry["value"] - 1e-9 <= entry["high"] <= 1, path


def test_a_perfect_embedder_makes_no_error(reports):
    right, wrong = of(reports["perfect"], RIGHT), of(reports["perfect"], WRONG)
    assert right or wrong
    assert all(value == 1 for value in right.values()), right
    assert all(value == 0 for value in wrong.values()), wrong


def test_a_random_embedder_is_at_chance(reports):
    for path, value in of(reports["random"], ("auc", "eer")).items():
        assert value == pytest.approx(0.5, abs=0.25), path
    for path, value in of(reports["random"], ("fnir", "fnmr_at")).items():
        assert value >= 0.5, path


def test_a_constant_embedder_has_no_order_and_no_figure_that_is_not_a_number(reports):
    for path, value in of(reports["constant"], ("auc",)).items():
        assert value == pytest.approx(0.5), path
    json.dumps(reports["constant"], allow_nan=False)
    assert all(math.isfinite(e["value"]) for _, e in rates(reports["constant"]) if e["value"])


def test_a_report_says_what_it_was_made_of_and_is_a_table_and_a_page(reports):
    for report in reports.values():
        for key in ("model", "contract_id", "data", "data_digest", "fta", "flip", "tie_rule"):
            assert report.get(key) is not None, key
        assert report["model"] in protocol_table(report)
        whole(render_html(report))


def test_an_unknown_protocol_is_refused_by_name():
    with pytest.raises(UnknownName, match="ijbc-11"):
        open_protocol_data("ijbc-1", "nowhere")


class Reversed(NoiseFaces):
    """The same pictures from the last to the first."""

    def _turn(self, index):
        return len(self) - 1 - index

    def key(self, index):
        return super().key(self._turn(index))

    def identity(self, index):
        return super().identity(self._turn(index))

    def read(self, index):
        return super().read(self._turn(index))


@pytest.mark.parametrize("name", ["all-pairs", "discard", "identify", "pairs", "robustness"])
def test_the_order_of_the_pictures_changes_no_figure(name):
    data = LAYOUTS[name](None)
    turned = ProtocolData(Reversed((3,) * PEOPLE, noise=25.0), data.pairs, "made")
    one, two = (dict(rates(run(name, MeanEmbedder(2), each))) for each in (data, turned))
    assert one.keys() == two.keys()
    for path, entry in one.items():
        for side in ("value", "low", "high"):
            if name not in {"all-pairs", "discard"} and side != "value":
                continue  # people are drawn, or dealt into groups, by their place in the set
            if entry[side] is None:
                assert two[path][side] is None, path
            else:
                assert two[path][side] == pytest.approx(entry[side], rel=1e-5, abs=1e-7), path


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("ijbc-11", "by_norm", False),
        ("ijbc-11", "by_detector", False),
        ("ijb-1n", "by_detector", False),
        ("ytf", "by_norm", True),
        ("pairs", "conservative", True),
    ],
)
def test_a_protocols_own_switches_reach_it_and_are_said(name, option, value, tmp_path):
    data = LAYOUTS[name](tmp_path)
    plain = run_protocol(MeanEmbedder(2), name, data, progress=False)
    found = run_protocol(MeanEmbedder(2), name, data, options={option: value}, progress=False)
    said = "interval" if option == "conservative" else "switches"
    assert plain[said] != found[said]


def test_a_switch_of_another_protocol_is_refused():
    with pytest.raises(UsageError, match="the protocol all-pairs has no by norm"):
        run_protocol(MeanEmbedder(), "all-pairs", ProtocolData(SOURCE), options={"by_norm": False})
