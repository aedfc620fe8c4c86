"""Muon steps matrices along their singular directions; AdamW steps what is left."""

from __future__ import annotations

import math

import torch

from crossface.training.muon import MuonAdamW, is_matrix, orthogonalised


def test_orthogonalised_keeps_the_singular_vectors_and_evens_the_values() -> None:
    torch.manual_seed(0)
    for shape in ((8, 8), (6, 20), (20, 6)):
        matrix = torch.randn(shape)
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        inner = u.T @ orthogonalised(matrix) @ v.T  # diagonal in the matrix's own basis
        values = inner.diagonal()
        assert (inner - torch.diag(values)).abs().max() < 1e-4
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_one_muon_step_is_the_formula_written_out() -> None:
    torch.manual_seed(1)
    weights = torch.nn.Parameter(torch.randn(4, 5, 2, 1))
    before, gradient = weights.detach().clone(), torch.randn(4, 5, 2, 1)
    optimizer = MuonAdamW(
        [{"params": [weights], "muon": True, "weight_decay": 0.1}], lr=0.01, momentum=0.9
    )
    weights.grad = gradient.clone()
    optimizer.step()
    momentum = 0.1 * gradient
    ahead = 0.1 * gradient + 0.9 * momentum
    update = orthogonalised(ahead.reshape(4, 10)).reshape(4, 5, 2, 1)
    expected = before * (1 - 0.01 * 0.1) - 0.01 * 0.2 * math.sqrt(10) * update
    torch.testing.assert_close(weights.detach(), expected)


def test_groups_without_muon_are_stepped_as_adamw_does() -> None:
    torch.manual_seed(2)
    start, gradient = torch.randn(5), torch.randn(5)
    results = []
    for kind in (torch.optim.AdamW, MuonAdamW):
        weights = torch.nn.Parameter(start.clone())
        optimizer = kind([{"params": [weights], "weight_decay": 0.2}], lr=0.03)
        for _ in range(3):
            weights.grad = gradient.clone()
            optimizer.step()
        results.append(weights.detach())
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_matrices_are_what_mixes_channels_behind_the_input() -> None:
    assert is_matrix(torch.empty(8, 4))
    assert is_matrix(torch.empty(8, 4, 1, 1))
    assert is_matrix(torch.empty(8, 16, 3, 3))
    assert not is_matrix(torch.empty(8, 1, 3, 3))  # depth-wise
    assert not is_matrix(torch.empty(16, 3, 3, 3))  # colours
    assert not is_matrix(torch.empty(8))
