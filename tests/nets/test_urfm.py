import math

import numpy as np
import pytest
import torch

from crossface.core.template import ARCFACE_POINTS_112
from crossface.nets.face_codes import FaceCoder, code_count, piecewise_index
from crossface.nets.layers import PixelFeatures
from crossface.nets.urfm import (
    MappedPair,
    UnifiedReceptiveFields,
    collapse_monitors,
    effective_rank,
)


def features(batch, grid_hw, dim, *, extra=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    count = grid_hw[0] * grid_hw[1] + extra
    return PixelFeatures(torch.randn(batch, count, dim, generator=generator), grid_hw, extra)


def make_urfm(**options):
    torch.manual_seed(0)
    settings = {"dim": 8, "centres": 9, "heads": 2} | options
    net = UnifiedReceptiveFields(6, 5, **settings)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.7)
    return net


def _slow_codes(grid_hw, side, gamma):
    """Codes of "relative" distances to the nose cell, by loops from the definition."""
    unit = 112 / side
    marks = [(x / unit - 0.5, y / unit - 0.5) for x, y in ARCFACE_POINTS_112]
    anchor = tuple(round(v) for v in marks[2])
    codes = []
    for row in range(grid_hw[0]):
        for column in range(grid_hw[1]):
            cell = ((column + 0.5) * side / grid_hw[1] - 0.5, (row + 0.5) * side / grid_hw[0] - 0.5)
            face = sum(abs(math.dist(cell, m) - math.dist(anchor, m)) for m in marks) / 5
            distance = round(math.dist(cell, anchor) + gamma * face)
            codes.append({0: 0, 1: 1, 2: 2, 3: 2}.get(distance, 3))
    return codes


@pytest.mark.parametrize("code_on", ["query", "key"])
@torch.no_grad()
def test_scores_and_local_features_equal_loops_over_centres_and_pixels(code_on):
    net = make_urfm(code_on=code_on)
    teacher = features(2, (5, 5), 6, extra=2)
    pair = net(teacher, features(2, (7, 7), 5, seed=1))
    field, reader = net.fields[0], net.teacher_reader
    centre_codes = _slow_codes((3, 3), 3, 0.5)
    pixel_codes = [*_slow_codes((5, 5), 3, 0.5), 4, 4]  # prompts have a code of their own
    for image in range(2):
        f = reader.norm(teacher.tokens[image])
        for i in range(9):
            query = field.to_query.weight @ field.centres[i]
            scores = []
            for j in range(27):
                key = reader.to_key.weight @ f[j]
                if code_on == "query":
                    scores.append((query + field.bucket[centre_codes[i]]) @ key / math.sqrt(8))
                else:
                    scores.append(query @ (key + field.bucket[pixel_codes[j]]) / math.sqrt(8))
            weights = [math.exp(s - max(scores)) for s in scores]
            share = torch.tensor([w / sum(weights) for w in weights])
            h = sum(share[j] * (reader.to_value.weight @ f[j]) for j in range(27))
            torch.testing.assert_close(
                pair.pixel_attention_teacher[image, i], share, atol=1e-5, rtol=1e-3
            )
            torch.testing.assert_close(pair.h_teacher[image, i], h, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_the_self_attention_over_centres_equals_torchs_own():
    net = make_urfm()
    pair = net(features(2, (3, 3), 6), features(2, (4, 4), 5))
    ours = net.fields[0].attention
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.in_proj_weight.copy_(ours.qkv.weight)
    theirs.in_proj_bias.copy_(ours.qkv.bias)
    theirs.out_proj.weight.copy_(ours.project.weight)
    theirs.out_proj.bias.copy_(ours.project.bias)
    for h, out, maps in (
        (pair.h_teacher, pair.out_teacher, pair.attention_teacher),
        (pair.h_student, pair.out_student, pair.attention_student),
    ):
        expected, expected_maps = theirs(h, h, h, average_attn_weights=False)
        torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(maps, expected_maps, rtol=1e-4, atol=1e-5)


def test_networks_of_different_grids_and_prompts_meet_in_one_shape():
    net = UnifiedReceptiveFields(6, 5, dim=16, heads=4)
    pair = net(features(3, (5, 5), 6, extra=8), features(3, (7, 7), 5))
    assert isinstance(pair, MappedPair)
    assert pair.h_teacher.shape == pair.h_student.shape == (3, 49, 16)
    assert pair.out_teacher.shape == pair.out_student.shape == (3, 49, 16)
    assert pair.attention_teacher.shape == pair.attention_student.shape == (3, 4, 49, 49)
    assert pair.pixel_attention_teacher.shape == (3, 49, 33)
    assert pair.pixel_attention_student.shape == (3, 49, 49)


@pytest.mark.parametrize("code_on", ["query", "key"])
def test_rows_of_every_attention_sum_to_one(code_on):
    pair = make_urfm(code_on=code_on)(features(2, (5, 5), 6, extra=1), features(2, (7, 7), 5))
    for name in MappedPair._fields:
        if "attention" in name:
            total = getattr(pair, name).sum(-1)
            torch.testing.assert_close(total, torch.ones_like(total))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("code_on", ["query", "key"])
def test_gradient_reaches_both_networks_and_every_parameter(shared, code_on):
    net = make_urfm(shared=shared, code_on=code_on)
    teacher = features(2, (5, 5), 6, extra=1)
    student = features(2, (7, 7), 5)
    teacher.tokens.requires_grad_()
    student.tokens.requires_grad_()
    pair = net(teacher, student)
    loss = (pair.attention_teacher - pair.attention_student).square().mean()
    loss = loss + pair.out_teacher.square().mean() + pair.out_student.square().mean()
    loss.backward()
    for tokens in (teacher.tokens, student.tokens):
        assert bool((tokens.grad.abs().sum(-1) > 0).all())
    for name, parameter in net.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_sharing_shares_all_but_norms_keys_and_values():
    shared, apart = make_urfm(), make_urfm(shared=False)
    assert (len(shared.fields), len(apart.fields)) == (1, 2)
    count = lambda net: sum(p.numel() for p in net.parameters())  # noqa: E731
    assert count(apart) - count(shared) == sum(p.numel() for p in shared.fields.parameters())
    same = features(1, (3, 3), 6)
    twin = UnifiedReceptiveFields(6, 6, dim=8, centres=9, heads=2)
    twin.student_reader.load_state_dict(twin.teacher_reader.state_dict())
    pair = twin(same, same)
    assert torch.equal(pair.out_teacher, pair.out_student)


def test_it_can_be_made_in_inference_mode_and_then_trained():
    net = make_urfm()
    with torch.inference_mode():
        net(features(1, (3, 3), 6), features(1, (3, 3), 5))
    net(features(1, (3, 3), 6), features(1, (3, 3), 5)).out_student.sum().backward()


def test_the_piecewise_index_has_the_values_worked_by_hand():
    distances = torch.tensor([0.0, 1, 2, 3, 4, 5, 15, 100])
    assert piecewise_index(distances).tolist() == [0, 1, 2, 2, 3, 3, 3, 3]
    assert piecewise_index(-distances).tolist() == [0, -1, -2, -2, -3, -3, -3, -3]
    # Ratio 3: alpha 3, beta 6, gamma 24; ln 8 below is ln(24 / 3).
    # 8 -> 3 + 3 ln(8/3)/ln 8 = 4.415 -> 4; 16 -> 5.415 -> 5; 24 -> 6.
    wide = torch.tensor([0.0, 1, 2, 3, 4, 8, 16, 24, 500])
    assert piecewise_index(wide, 3.0).tolist() == [0, 1, 2, 3, 3, 4, 5, 6, 6]
    assert (code_count(1.9), code_count(3.0)) == (4, 7)


def test_without_facial_distance_codes_are_those_of_the_euclidean_distance():
    plain = FaceCoder(7, face_distance="none")
    weightless = FaceCoder(7, face_distance="relative", gamma=0.0)
    expected = []
    for row in range(7):
        for column in range(7):
            distance = round(math.dist((column, row), (3, 4)))
            expected.append({0: 0, 1: 1, 2: 2, 3: 2}.get(distance, 3))
    assert plain.codes((7, 7)).tolist() == expected
    assert weightless.codes((7, 7)).tolist() == expected
    assert FaceCoder(7).codes((7, 7)).tolist() == _slow_codes((7, 7), 7, 0.5)


def test_the_anchor_is_the_cell_of_the_nose_or_the_middle():
    assert FaceCoder(7).anchor_cell().tolist() == [3, 4]
    assert FaceCoder(7, anchor="centre").anchor_cell().tolist() == [3, 3]
    assert FaceCoder(4, anchor="centre").anchor_cell().tolist() == [1.5, 1.5]
    at_anchor = FaceCoder(7).distances((7, 7)).reshape(7, 7)
    assert at_anchor[4, 3] == 0
    assert int((at_anchor == 0).sum()) == 1


def test_saliency_adds_the_difference_to_the_anchors_times_the_range_of_the_grid():
    saliency = torch.rand(7, 7, generator=torch.Generator().manual_seed(0))
    euclid = FaceCoder(7, face_distance="none").distances((7, 7))
    relative = FaceCoder(7, gamma=1.0).distances((7, 7)) - euclid
    coder = FaceCoder(7, face_distance="saliency", gamma=0.5, saliency=saliency)
    expected = euclid + 0.5 * 6 * (saliency.double() - saliency[4, 3].double()).abs().flatten()
    torch.testing.assert_close(coder.distances((7, 7)), expected)
    both = FaceCoder(7, face_distance="both", gamma=0.5, saliency=saliency)
    torch.testing.assert_close(both.distances((7, 7)), expected + 0.5 * relative)
    flat = FaceCoder(7, face_distance="saliency", saliency=torch.full((7, 7), 0.3))
    torch.testing.assert_close(
        flat.distances((5, 5)), FaceCoder(7, face_distance="none").distances((5, 5))
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"centres": 8}, "square number, got 8"),
        ({"heads": 3}, "8 channels cannot be shared by 3 heads"),
        ({"face_distance": "saliency"}, "needs a saliency map"),
        ({"saliency": torch.zeros(2, 2)}, r"must be \(3, 3\), got \(2, 2\)"),
        ({"saliency": torch.full((3, 3), 1.5)}, "must lie in 0..1"),
        ({"saliency": torch.full((3, 3), math.nan)}, "must lie in 0..1"),
        ({"gamma": -1.0}, "gamma 0 or more"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_urfm(**options)


def test_monitors_tell_a_collapsed_mapping_from_a_lively_one():
    lively = make_urfm()(features(16, (5, 5), 6), features(16, (7, 7), 5))
    found = collapse_monitors(lively)
    assert set(found) == {
        f"{what}_{side}"
        for what in ("h_variance", "pixel_entropy", "effective_rank")
        for side in ("teacher", "student")
    }
    assert found["h_variance_student"] > 1e-3
    assert 0 < found["pixel_entropy_student"] < 1
    assert found["effective_rank_student"] > 2
    constant = lively._replace(
        h_student=torch.ones(16, 9, 8),
        out_student=torch.ones(16, 9, 8) * 0.1,
        pixel_attention_student=torch.full((16, 9, 49), 1 / 49),
    )
    dead = collapse_monitors(constant)
    assert dead["h_variance_student"] == 0
    assert dead["effective_rank_student"] == 0
    assert dead["pixel_entropy_student"] == pytest.approx(1, abs=1e-5)
    assert dead["h_variance_teacher"] == found["h_variance_teacher"]


def test_the_effective_rank_equals_its_definition():
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = rows * torch.tensor([5.0, 3, 1, 0.1, 0, 0], dtype=torch.float64)
    values = np.linalg.svd((rows - rows.mean(0)).numpy(), compute_uv=False)
    share = values / values.sum()
    entropy = -sum(p * math.log(p) for p in share if p > 1e-12)
    assert effective_rank(rows) == pytest.approx(math.exp(entropy), rel=1e-6)
    one_direction = torch.arange(5.0)[:, None] * torch.ones(1, 4)
    assert effective_rank(one_direction) == pytest.approx(1, abs=1e-3)
