"""Which weights a finished run keeps is decided on held-out pictures."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from crossface.nets import create_model
from crossface.training.ema import WeightAverage
from crossface.training.launch import choose_weights


def _session(figures, decay=0.9):
    student = create_model("mobilefacenet", width=0.1, embedding_dim=4, last_channels=16)
    average = WeightAverage(student, decay)
    session = SimpleNamespace(
        average=average,
        objective=SimpleNamespace(student=student),
        config=SimpleNamespace(optim=SimpleNamespace(ema_decay=decay)),
        validate=None,
    )
    if figures is not None:
        session.validate = lambda net: figures["average" if net is average.net else "newest"]
    return session


@pytest.mark.parametrize(
    ("average", "newest", "expected"),
    [
        ({"val_rank_correlation": 0.3}, {"val_rank_correlation": 0.2}, "average"),
        ({"val_rank_correlation": 0.2}, {"val_rank_correlation": 0.3}, "newest"),
        ({"val_auc": 0.9, "val_cosine": 0.1}, {"val_auc": 0.8, "val_cosine": 0.9}, "average"),
        ({"val_auc": 0.8}, {"val_auc": 0.8}, "average"),
    ],
)
def test_the_better_weights_on_held_out_pictures_are_kept(average, newest, expected):
    session = _session({"average": average, "newest": newest})
    net, chosen = choose_weights(session)
    assert chosen["weights"] == expected
    assert (net is session.average.net) == (expected == "average")
    assert chosen.items() >= (average if expected == "average" else newest).items()
    assert not net.training


def test_without_held_out_pictures_the_average_is_kept():
    session = _session(None)
    assert choose_weights(session) == (session.average.net, {"weights": "average"})
