import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_windows import prompted_window_attention

from crossface.nets import create_model
from crossface.nets.layers import DropPath
from crossface.nets.prompt import prompted_block
from crossface.nets.swin import PatchMerging, Swin, SwinBlock
from crossface.nets.windows import RelativePositionBias, WindowPlan


def make_block(grid_hw, *, window, shifted, dim=8, heads=2, seed=0):
    torch.manual_seed(seed)
    block = SwinBlock(dim, heads, WindowPlan.fit(grid_hw, window, shifted=shifted), 0.0)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.5)
    return block.double().eval()


def slow_block(block, cells, prompts):
    """The whole block on one image, with attention by loops."""
    attention = block.attention
    dim = cells.shape[-1]
    weights = {
        "qkv": attention.qkv.weight.detach().numpy().reshape(3, dim, dim),
        "qkv_bias": attention.qkv.bias.detach().numpy().reshape(3, dim),
        "project": attention.project.weight.detach().numpy(),
        "project_bias": attention.project.bias.detach().numpy(),
        "bias_table": attention.position_bias.table.detach().numpy(),
    }
    new_cells, new_prompts = prompted_window_attention(
        block.norm1(cells).numpy(),
        block.norm1(prompts).numpy(),
        weights,
        window=block.plan.window,
        shift=block.plan.shift,
        heads=attention.heads,
    )
    cells = cells + torch.from_numpy(new_cells)
    prompts = prompts + torch.from_numpy(new_prompts)
    return cells + block.mlp(block.norm2(cells)), prompts + block.mlp(block.norm2(prompts))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("grid_hw", [(6, 6), (5, 5), (4, 7), (3, 3), (7, 3)])
@torch.no_grad()
def test_a_block_equals_loops_over_windows_heads_and_tokens(grid_hw, shifted):
    block = make_block(grid_hw, window=3, shifted=shifted)
    cells = torch.randn(2, *grid_hw, 8, dtype=torch.float64)
    fast = block(cells)
    for image, expected in zip(cells, fast, strict=True):
        slow, _ = slow_block(block, image, torch.empty(0, 8, dtype=torch.float64))
        torch.testing.assert_close(expected, slow)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("grid_hw", [(6, 6), (5, 5), (3, 3)])
@torch.no_grad()
def test_a_prompted_block_equals_loops_over_windows_heads_and_tokens(grid_hw, shifted):
    block = make_block(grid_hw, window=3, shifted=shifted, seed=1)
    cells = torch.randn(2, *grid_hw, 8, dtype=torch.float64)
    prompts = torch.randn(2, 2, 8, dtype=torch.float64)
    fast_cells, fast_prompts = prompted_block(block, cells, prompts, block.plan.mask(2))
    for n in range(2):
        slow_cells, slow_prompts = slow_block(block, cells[n], prompts[n])
        torch.testing.assert_close(fast_cells[n], slow_cells)
        torch.testing.assert_close(fast_prompts[n], slow_prompts)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    window=st.integers(1, 6),
    shifted=st.booleans(),
)
def test_joining_undoes_splitting(rows, columns, window, shifted):
    plan = WindowPlan.fit((rows, columns), window, shifted=shifted)
    cells = torch.randn(2, rows, columns, 3)
    windows = plan.split(cells)
    assert windows.shape[2] == plan.window**2
    assert torch.equal(plan.join(windows), cells)
    assert int(plan.real_cells().sum()) == rows * columns


def test_a_mask_is_there_only_where_it_is_needed():
    assert WindowPlan.fit((28, 28), 7, shifted=False).mask() is None
    assert WindowPlan.fit((7, 7), 7, shifted=True).shift == 0  # one window covers the grid
    shifted = WindowPlan.fit((14, 14), 7, shifted=True)
    assert shifted.shift == 3
    mask = shifted.mask()
    assert mask.shape == (4, 49, 49)
    met = (mask == 0).sum((1, 2))
    # Unwrapped, the four windows hold 7x7, 7x(4+3), (4+3)x7 and (4+3)x(4+3) cells.
    rows = {0: 49, 1: 4**2 + 3**2}
    assert met.tolist() == [rows[0] ** 2, 49 * rows[1], 49 * rows[1], rows[1] ** 2]


def test_a_change_beyond_the_window_is_not_seen():
    """The trap of unmasked shifted windows: opposite edges must not meet."""
    block = make_block((6, 6), window=3, shifted=True)
    cells = torch.randn(1, 6, 6, 8, dtype=torch.float64)
    changed = cells.clone()
    changed[:, 0, 0] += 1
    with torch.no_grad():
        moved = (block(cells) - block(changed)).abs().sum(-1)[0] > 1e-12
    # Shifted by 1, cell (0, 0) is a window of its own.
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[0, 0] = True
    assert torch.equal(moved, expected)


def test_the_position_bias_depends_on_the_offset_alone():
    bias = RelativePositionBias(3, 2)
    table = bias().detach().reshape(2, 3, 3, 3, 3)
    seen = {}
    for r0, c0, r1, c1 in np.ndindex(3, 3, 3, 3):
        value = tuple(table[:, r0, c0, r1, c1].tolist())
        assert seen.setdefault((r0 - r1, c0 - c1), value) == value
    assert len(set(seen.values())) == len(seen) == 25


def test_patch_merging_pads_an_odd_grid_by_zeros():
    torch.manual_seed(0)
    merge = PatchMerging(4)
    cells = torch.randn(1, 3, 5, 4)
    out = merge(cells)
    assert out.shape == (1, 2, 3, 8)
    corner = torch.cat([cells[0, 2, 4], torch.zeros(12)])  # its three neighbours lie outside
    torch.testing.assert_close(out[0, 1, 2], merge.reduce(merge.norm(corner)))


def _parameters_by_hand(patch, dim, depths, heads, window, head_dim, embedding, side):
    total = 3 * patch**2 * dim + dim + 2 * dim
    for n, (depth, head) in enumerate(zip(depths, heads, strict=True)):
        if n:
            total += 2 * 4 * dim + 4 * dim * 2 * dim
            dim, side = 2 * dim, (side + 1) // 2
        attention = 3 * dim * dim + 3 * dim + dim * dim + dim + (2 * window - 1) ** 2 * head
        mlp = 2 * 4 * dim * dim + 4 * dim + dim
        total += depth * (attention + mlp + 4 * dim)
    hidden = head_dim or dim
    return (
        total + 2 * dim + side**2 * dim * hidden + 2 * hidden + hidden * embedding + (2 * embedding)
    )


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("swin_s", (3, 96, (2, 2, 18, 2), (3, 6, 12, 24), 5, None, 512, 37)),
        ("swin_t", (3, 96, (2, 2, 6, 2), (3, 6, 12, 24), 5, None, 512, 37)),
        ("swin_nano", (4, 40, (2, 2, 4), (2, 4, 8), 7, 192, 512, 28)),
        ("swin_micro", (8, 48, (2, 2), (2, 4), 7, 128, 512, 14)),
    ],
)
def test_parameters_add_up(name, figures):
    with torch.device("meta"):
        net = create_model(name)
    assert sum(p.numel() for p in net.parameters()) == _parameters_by_hand(*figures)


def test_the_grids_of_the_published_geometry_are_37_19_10_5():
    with torch.device("meta"):
        net = create_model("swin_t")
    assert [stage.grid_hw[0] for stage in net.basic_layers] == [37, 19, 10, 5]
    assert (net.grid_hw, net.feature_dim) == ((5, 5), 768)
    shifts = [[b.plan.shift for b in stage.typed_blocks] for stage in net.basic_layers]
    assert shifts == [[0, 2], [0, 2], [0, 2, 0, 2, 0, 2], [0, 0]]


def test_stochastic_depth_rises_to_the_last_block():
    with torch.device("meta"):
        net = create_model("swin_t", drop_path=0.2)
    rates = [b.drop_path.rate for stage in net.basic_layers for b in stage.typed_blocks]
    np.testing.assert_allclose(rates, np.linspace(0, 0.2, 12), rtol=1e-6)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    out = drop(torch.ones(4000, 2, 3))
    per_sample = out.flatten(1)
    assert set(out.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.75))}
    assert bool((per_sample == per_sample[:, :1]).all())
    assert abs(float(out.mean()) - 1) < 0.03  # standard error 0.009
    assert torch.equal(drop.eval()(out), out)


def test_depths_and_heads_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="as many"):
        Swin(patch_px=8, embed_dim=8, depths=(1, 1), heads=(1,), window=7, drop_path=0.0)
    with pytest.raises(ValueError, match="cannot be shared"):
        Swin(patch_px=8, embed_dim=8, depths=(1,), heads=(3,), window=7, drop_path=0.0)
