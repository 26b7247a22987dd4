"""Writes lbfgs.json: the way of torch.optim.LBFGS with strong Wolfe line search, one iteration a step, in float64.

usage: python3 lbfgs.py > lbfgs.json
"""
import json

import torch

from formula import formula_values

torch.set_default_dtype(torch.float64)


def quadratic(n, stream):
    """|M^T (x - c)|^2 / 2 + |x - c|^2 / 2."""
    m = torch.tensor(formula_values(stream, n * n)).reshape(n, n)
    c = torch.tensor(formula_values(stream + 1, n))

    def loss(x):
        d = (x - c).reshape(1, n)
        return ((d @ m).square().sum() + d.square().sum()) * 0.5

    return loss, formula_values(stream + 2, n)


def rosenbrock(x):
    a, b = x[:-1], x[1:]
    return ((1 - a).square() + 100 * (b - a.square()).square()).sum()


def trajectory(name, problem, loss, start, steps, **options):
    x = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.LBFGS([x], max_iter=1, max_eval=30, line_search_fn="strong_wolfe", **options)

    def closure():
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        return value

    rows = []
    for _ in range(steps):
        optimizer.step(closure)
        state = optimizer.state[x]
        rows.append(dict(x=x.tolist(), loss=loss(x).item(), evaluations=state["func_evals"]))
    return dict(name=name, problem=problem, start=start, options=options, steps=rows)


def main():
    cases = []
    for n, stream in [(2, 10), (5, 20), (13, 30)]:
        loss, start = quadratic(n, stream)
        cases.append(trajectory(f"quadratic {n}", dict(type="quadratic", n=n, stream=stream), loss, start, n + 5))
    loss, start = quadratic(8, 40)
    quad = dict(type="quadratic", n=8, stream=40)
    cases.append(trajectory("a short history", quad, loss, start, 15, history_size=2))
    cases.append(trajectory("a small rate", quad, loss, start, 15, lr=0.1))
    valley = dict(type="rosenbrock")
    cases.append(trajectory("Rosenbrock's valley", valley, rosenbrock, [-1.2, 1.0], 30))
    cases.append(trajectory("Rosenbrock's valley from afar", valley, rosenbrock, [-3.0, -4.0], 30))
    cases.append(trajectory("four unknowns", valley, rosenbrock, [-1.2, 1.0, -1.2, 1.0], 30))
    json.dump(dict(pytorch=torch.__version__, cases=cases), __import__("sys").stdout)


main()
