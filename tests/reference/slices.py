"""Writes slices.json: what PyTorch's x[start:stop:step] gives for ranges within, across and past both ends, and a gradient
through each, for the tests of tests/ops/shape_test.cpp.

usage: python3 slices.py > slices.json
"""
import json

import torch

from formula import formula_values

EXTENTS = (0, 1, 5)
PLACES = (-9, -5, -4, -1, 0, 1, 3, 5, 6, 2**62, -(2**62))


def cases():
    for extent in EXTENTS:
        for start in PLACES:
            for stop in PLACES:
                for step in (1, 2):
                    x = torch.tensor(formula_values(1, 2 * extent), dtype=torch.float64).reshape(2, extent).requires_grad_()
                    y = x[:, start:stop:step]
                    weights = torch.tensor(formula_values(2, y.numel()), dtype=torch.float64).reshape(y.shape)
                    (y * weights).sum().backward()
                    yield {"extent": extent, "start": start, "stop": stop, "step": step, "count": y.shape[1],
                           "y": y.detach().reshape(-1).tolist(), "dx": x.grad.reshape(-1).tolist()}


print("[")
print(",\n".join(json.dumps(case) for case in cases()))
print("]")
