"""The saliency map against a loop, and a run whose facial distance needs it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossface.nets import create_model
from crossface.training.saliency import saliency_map
from training.fakes import (
    SMALL_CADFR,
    PatternFaces,
    distilled,
    people_folder,
    session,
    teacher_file,
)


def test_map_is_the_mean_length_of_each_cell_scaled_to_zero_and_one():
    torch.manual_seed(0)
    net = create_model("swin_micro", embedding_dim=8).eval()
    source = PatternFaces(people=3, each=2)
    total = np.zeros((7, 7))
    for n in range(len(source)):
        x = torch.from_numpy(source.read(n).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            cells = net.embed_patches(x)
            for number, stage in enumerate(net.stages):
                cells = stage(net.merges[number - 1](cells) if number else cells)
            tokens = cells.reshape(49, -1)  # before the final norm, which makes lengths alike
        for cell in range(49):
            total[cell // 7, cell % 7] += float((tokens[cell] ** 2).sum() ** 0.5)
    expected = (total - total.min()) / (total.max() - total.min())
    found = saliency_map(net, source, side=7)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    assert saliency_map(net, source, side=3).shape == (3, 3)


@pytest.mark.parametrize("distance", ["saliency", "both"])
def test_cadfr_takes_a_facial_distance_by_saliency(tmp_path, distance):
    options = {**SMALL_CADFR, "face_distance": distance}
    config = distilled(
        people_folder(tmp_path / "faces"),
        teacher_file(tmp_path / "teacher.safetensors"),
        name="cadfr",
        options=options,
    )
    saliency = session(config, tmp_path).objective.urfm.coder.saliency
    assert float(saliency.min()) == 0.0
    assert float(saliency.max()) == 1.0
