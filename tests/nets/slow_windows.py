"""Shifted-window attention by loops over windows, heads and tokens, from the definition.

Nothing is rolled, padded or reshaped: a window is the set of cells whose shifted coordinates fall
into it, and two cells of it meet if they lie in the same window of the unwrapped, shifted grid.
"""

import math

import numpy as np


def prompted_window_attention(cells, prompts, weights, *, window, shift, heads):
    """One image. cells (H, W, C), prompts (t, C), float64; gives both after attention."""
    height, width, dim = cells.shape
    count, head_dim = len(prompts), dim // heads
    out_cells = np.zeros_like(cells)
    copies = []
    for members in _windows(height, width, window, shift):
        tokens = [("prompt", n, prompts[n]) for n in range(count)]
        tokens += [("cell", place, cells[place]) for place in members]
        q, k, v = (
            np.array([weights["qkv"][part] @ t[2] + weights["qkv_bias"][part] for t in tokens])
            for part in range(3)
        )
        mixed = np.zeros((len(tokens), dim))
        for head in range(heads):
            part = slice(head * head_dim, (head + 1) * head_dim)
            for i, (kind_i, place_i, _) in enumerate(tokens):
                scores = []
                for j, (kind_j, place_j, _) in enumerate(tokens):
                    score = float(q[i, part] @ k[j, part]) / math.sqrt(head_dim)
                    if kind_i == kind_j == "cell":
                        if not _meet(place_i, place_j, window, shift):
                            scores.append(-math.inf)
                            continue
                        down, right = np.subtract(place_i, place_j)
                        row = (down + window - 1) * (2 * window - 1) + right + window - 1
                        score += weights["bias_table"][row, head]
                    scores.append(score)
                share = np.exp(np.array(scores) - max(scores))
                mixed[i, part] = share / share.sum() @ v[:, part]
        mixed = mixed @ weights["project"].T + weights["project_bias"]
        copies.append(mixed[:count])
        for (_, place, _), value in zip(tokens[count:], mixed[count:], strict=True):
            out_cells[place] = value
    return out_cells, np.mean(copies, axis=0)


def _windows(height, width, window, shift):
    """The cells of each window; the grid wraps around at whole windows."""
    full_h, full_w = (-(-n // window) * window for n in (height, width))
    found = {}
    for row in range(height):
        for column in range(width):
            at = ((row - shift) % full_h // window, (column - shift) % full_w // window)
            found.setdefault(at, []).append((row, column))
    return list(found.values())


def _meet(a, b, window, shift):
    return all((x - shift) // window == (y - shift) // window for x, y in zip(a, b, strict=True))
