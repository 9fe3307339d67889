# SPDX-License-Identifier: Apache-2.0
"""Writes lookahead.safetensors: attention layers with a lookahead for each row, computed whole and row by row.

usage: generate.py FILE        (needs numpy and safetensors)

Layer l: h = h + softmax(mask(q k^T / sqrt(d))) v with q, k, v = h W[l][0..2]; row t sees j <= min(t + a[l][t], L - 1). The
frontier is not taken from a formula: row s is changed, and the last s that changes output row t is noted.
"""

import sys

import numpy as np
from safetensors.numpy import save_file


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def run(x, w, a):
    rows = np.arange(len(x))
    h = x
    for l in range(len(w)):
        q, k, v = (h @ one for one in w[l])
        seen = rows[None] <= np.minimum(rows + a[l], len(x) - 1)[:, None]
        h = h + softmax(np.where(seen, q @ k.T / np.sqrt(x.shape[1]), -np.inf)) @ v
    return h


def case(seed, length, layers, d, most):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((length, d))
    w = np.array([[rng.standard_normal((d, d)) / np.sqrt(d) for _ in range(3)] for _ in range(layers)])
    a = rng.integers(0, most + 1, (layers, length))
    y = run(x, w, a)
    frontier = np.arange(length)
    for s in range(length):
        z = x.copy()
        z[s] += 1.0
        changed = np.abs(run(z, w, a) - y).max(-1) > 0
        frontier = np.where(changed, np.maximum(frontier, s), frontier)
    return {"x": x, "w": w, "ahead": a.astype(np.int64), "y": y, "frontier": frontier.astype(np.int64)}


CASES = {"four_layers": (2, 24, 4, 6, 3), "far": (3, 17, 2, 4, 9), "deep": (4, 20, 6, 3, 1), "causal": (5, 9, 3, 3, 0),
         "one_row": (6, 1, 2, 3, 4)}

if __name__ == "__main__":
    save_file({f"{name}.{key}": np.ascontiguousarray(value)
               for name, how in CASES.items() for key, value in case(*how).items()}, sys.argv[1])
