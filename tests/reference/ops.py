"""Writes ops.json: what PyTorch gives, in float64, for the ops of tests/ops/pytorch_test.cpp.

usage: python3 ops.py > ops.json
Operand k of a case is formula_values(k) of formula.py, spread over [low, high].
"""
import json
from math import prod

import torch
import torch.nn.functional as F

from formula import formula_labels, formula_values

torch.set_default_dtype(torch.float64)


def operand(shape, k, low=-1.0, high=1.0):
    values = [low + (high - low) * ((v + 1) / 2) for v in formula_values(k, prod(shape))]
    return torch.tensor(values).reshape(shape)


def numbers(t):
    return [float(f"{v:.12g}") for v in t.detach().reshape(-1).tolist()]


def with_gradients(function, operands):
    """The results of function and the gradients of sum(first result * g), g being operand number 9."""
    leaves = [o.requires_grad_() for o in operands]
    y = function(*leaves)
    (y * operand(list(y.shape), 9)).sum().backward()
    return {"y": numbers(y), "y_shape": list(y.shape), "gradients": [numbers(leaf.grad) for leaf in leaves]}


def conv2d(x, weight, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    result = with_gradients(lambda a, w, b: F.conv2d(a, w, b, **options),
                            [operand(x, 1), operand(weight, 2), operand([weight[0]], 3)])
    return {"op": "conv2d", "x": x, "weight": weight, **options, **result}


def pool(op, x, **options):
    function = {"max_pool2d": F.max_pool2d, "avg_pool2d": F.avg_pool2d, "adaptive_avg_pool2d": F.adaptive_avg_pool2d}[op]
    if op == "adaptive_avg_pool2d":
        call = lambda a: function(a, options["size"])
    else:
        call = lambda a: function(a, options["kernel"], options["stride"], options["padding"])
    return {"op": op, "x": x, **options, **with_gradients(call, [operand(x, 1)])}


def batch_norm(x):
    c = [x[1]]
    mean, var = torch.zeros(c), torch.ones(c)
    result = with_gradients(lambda a, gamma, beta: F.batch_norm(a, mean, var, gamma, beta, True, 1.0, 1e-5),
                            [operand(x, 1), operand(c, 2), operand(c, 3)])
    evaluated = F.batch_norm(operand(x, 1), operand(c, 4), operand(c, 5, 0.5, 2), operand(c, 2), operand(c, 3), False, 0.1, 1e-5)
    return {"op": "batch_norm", "x": x, **result, "mean": numbers(mean), "unbiased_var": numbers(var),
            "evaluated": numbers(evaluated)}


def softmax(op, x, axis, scale):
    function = {"softmax": F.softmax, "log_softmax": F.log_softmax}[op]
    return {"op": op, "x": x, "axis": axis, "scale": scale,
            **with_gradients(lambda a: function(a * scale, axis), [operand(x, 1)])}


def cross_entropy(n, c, scale):
    labels = torch.tensor(formula_labels(2, n, c))
    logits = operand([n, c], 1).requires_grad_()
    loss = F.cross_entropy(logits * scale, labels)
    loss.backward()
    return {"op": "cross_entropy", "x": [n, c], "scale": scale, "y": numbers(loss), "y_shape": [],
            "gradients": [numbers(logits.grad)]}


def main():
    cases = [
        conv2d([2, 3, 7, 9], [5, 3, 3, 3], (2, 2), (1, 1)),
        conv2d([1, 2, 6, 5], [4, 2, 2, 3], (2, 1), (0, 2)),
        conv2d([3, 4, 9, 8], [6, 2, 3, 1], (1, 3), dilation=(2, 1), groups=2),
        conv2d([2, 6, 5, 7], [6, 1, 3, 3], padding=(1, 1), groups=6),
        conv2d([2, 1, 12, 12], [6, 1, 5, 5], padding=(2, 2)),
        conv2d([2, 6, 7, 7], [16, 6, 5, 5]),
        conv2d([1, 3, 12, 10], [4, 3, 3, 3], (3, 2), (3, 4), (2, 3)),
        pool("max_pool2d", [2, 3, 7, 9], kernel=(2, 2), stride=(2, 2), padding=(0, 0)),
        pool("max_pool2d", [2, 2, 7, 9], kernel=(3, 2), stride=(2, 1), padding=(1, 1)),
        pool("max_pool2d", [1, 2, 8, 6], kernel=(3, 3), stride=(1, 2), padding=(1, 0)),
        pool("avg_pool2d", [2, 2, 7, 9], kernel=(3, 2), stride=(2, 1), padding=(1, 1)),
        pool("avg_pool2d", [2, 2, 9, 10], kernel=(2, 3), stride=(4, 5), padding=(0, 1)),
        pool("adaptive_avg_pool2d", [2, 3, 7, 9], size=(1, 1)),
        pool("adaptive_avg_pool2d", [2, 2, 7, 9], size=(3, 4)),
        pool("adaptive_avg_pool2d", [1, 2, 3, 4], size=(5, 4)),
        batch_norm([7, 13]),
        batch_norm([3, 2, 5, 7]),
        batch_norm([2, 3, 11]),
        softmax("softmax", [3, 5, 7], -1, 4.0),
        softmax("softmax", [3, 5, 7], 1, 30.0),
        softmax("log_softmax", [4, 10], -1, 30.0),
        cross_entropy(5, 3, 1.0),
        cross_entropy(33, 11, 20.0),
    ]
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    print(f'{{"torch":"{torch.__version__}","cases":[\n{lines}\n]}}')


if __name__ == "__main__":
    main()
