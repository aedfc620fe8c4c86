"""The parity figures against arithmetic by hand, and the training card."""

import json

import numpy as np
import pytest

from crossface.core.contract import EmbeddingContract, InputSpec
from crossface.core.errors import ParityError
from crossface.exporting.card import card_json, card_text
from crossface.exporting.parity import measure_parity

CONTRACT = EmbeddingContract(
    model_id="net", digest="0" * 64, dim=4, space_id="net:0", input_digest=InputSpec().digest
)
CROPS = np.random.default_rng(0).integers(0, 256, (18, 112, 112, 3), dtype=np.uint8)


class Means:
    """Embeds a crop by its channel means and a constant; ``wrong`` is added where told."""

    contract = CONTRACT
    input_spec = InputSpec()

    def __init__(self, wrong=0.0, only_at_batch=None, scale=1.0, dim=4):
        self.wrong, self.only_at_batch, self.scale, self.dim = wrong, only_at_batch, scale, dim

    def embed(self, crops):
        means = crops.reshape(len(crops), -1, 3).mean(1) / 255
        rows = np.concatenate([means, np.ones((len(crops), 1))], axis=1)[:, : self.dim]
        if self.only_at_batch in {None, len(crops)}:
            rows[0, 0] += self.wrong
        return (rows * self.scale).astype(np.float32)


def test_parity_of_a_model_with_itself_is_perfect():
    report = measure_parity(Means(), Means(), CROPS)
    assert report.worst == 0
    assert report.min_cosine == pytest.approx(1)
    assert report.max_abs_reference == 1
    assert report.crops == 18
    report.raise_if_different(0.0)


def test_parity_finds_the_largest_difference_at_each_batch_size():
    report = measure_parity(Means(), Means(wrong=0.25, only_at_batch=1), CROPS)
    assert report.max_abs_difference == {1: pytest.approx(0.25), 16: 0}
    assert report.min_cosine == pytest.approx(1)
    length = np.linalg.norm(Means().embed(CROPS), axis=1)
    places = range(len(CROPS))  # at batch 1 every crop is the first of its batch
    expected = max(0.25 / length[i] for i in places)
    assert report.max_relative_difference == {1: pytest.approx(expected), 16: 0}
    assert report.batch_difference == pytest.approx(expected)
    with pytest.raises(ParityError, match=rf"{expected:.2g} at batch 1, 0 at batch 16"):
        report.raise_if_different(0.1)


def test_parity_does_not_depend_on_how_long_a_network_makes_its_embeddings():
    for scale in (1e-3, 1.0, 1e3):
        report = measure_parity(Means(scale=scale), Means(wrong=2e-4, scale=scale), CROPS)
        report.raise_if_different(2e-4)
        with pytest.raises(ParityError, match="of an embedding's length"):
            report.raise_if_different(1e-4)


def test_parity_of_very_short_embeddings_is_judged_by_their_length():
    """An untrained network's embeddings can be shorter than the bound itself."""
    report = measure_parity(Means(scale=1e-6), Means(wrong=0.5, scale=1e-6), CROPS)
    assert max(report.max_abs_difference.values()) < 1e-6
    assert report.max_abs_difference_unit > 0.1
    with pytest.raises(ParityError, match="at unit length"):
        report.raise_if_different(1e-4)


def test_parity_refuses_embeddings_of_another_size_and_too_few_crops():
    with pytest.raises(ParityError, match=r"\(18, 3\), the original \(18, 4\)"):
        measure_parity(Means(), Means(dim=3), CROPS)
    with pytest.raises(ValueError, match="at least 16 crops, got 15"):
        measure_parity(Means(), Means(), CROPS[:15])


def test_parity_report_is_plain_json():
    value = measure_parity(Means(), Means(), CROPS).as_json()
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["max_abs_difference"] == {"1": 0.0, "16": 0.0}


def test_card_says_what_is_not_stated():
    card = card_json(CONTRACT, InputSpec(), {"data": "drawn | faces", "steps": 300})
    assert card["training"]["teacher"] == "not stated"
    text = card_text(card)
    assert "| licence note | not stated |" in text
    assert "| data | drawn \\| faces |" in text
    assert "| steps | 300 |" in text
    assert "Parity" not in text
    assert text.splitlines()[0] == "# net"


def test_card_of_an_export_carries_the_parity_figures():
    card = card_json(CONTRACT, InputSpec(), {}, measure_parity(Means(), Means(), CROPS))
    assert json.loads(json.dumps(card)) == card
    assert "| max abs reference | 1.0 |" in card_text(card)
