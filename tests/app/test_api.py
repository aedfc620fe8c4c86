"""The public verbs, where the rooms' own tests do not reach."""

from __future__ import annotations

import pytest

from crossface import api
from crossface.core.errors import DataError, UsageError
from training.fakes import MeanColours


def test_a_set_without_one_usable_picture_is_an_error_that_names_the_first(tmp_path):
    for person in ("ann", "bob"):
        (tmp_path / "set" / person).mkdir(parents=True)
        (tmp_path / "set" / person / "1.jpg").write_text("not a picture")
    with pytest.raises(DataError, match=r"set: none of its 2 pictures .*ann/1: .*got a text file"):
        api.evaluate(MeanColours(), "all-pairs", data=tmp_path / "set", progress=False)


def test_pairs_without_a_list_say_what_is_missing():
    with pytest.raises(UsageError, match="--pairs"):
        api.evaluate(MeanColours(), "pairs", data="drawn:ids=2,per_id=2,seed=0", progress=False)


def test_a_protocol_nobody_knows_is_refused_before_anything_is_read():
    with pytest.raises(UsageError, match="did you mean all-pairs"):
        api.evaluate(MeanColours(), "allpairs", data="nowhere.zip", progress=False)
