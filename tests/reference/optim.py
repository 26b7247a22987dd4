"""Writes optim.json: trajectories of optimizers in float64, and learning-rate curves of schedules, beyond those of optimizers.py.

usage: python3 optim.py > optim.json
PyTorch is the reference where it has the optimizer; LAMB, Lion and Muon (which PyTorch computes in bfloat16) are written out in NumPy from their papers.
The problem is that of optimizers.py: the mean of (x w + b - y)^2 over w [3, 4] and b [4], with x [8, 3] and y [8, 4].
"""
import json
import math

import numpy as np
import torch
from torch import optim
from torch.optim import lr_scheduler as lrs

from formula import formula_values

STEPS = 1000
KEPT = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
CASES = [
    ("adam", optim.Adam, dict(lr=0.01, amsgrad=True, betas=[0.8, 0.9])),
    ("adamw", optim.AdamW, dict(lr=0.01, betas=[0.8, 0.9], eps=1e-3, weight_decay=0.1, amsgrad=True)),
    ("nadam", optim.NAdam, dict(lr=0.01)),
    ("nadam", optim.NAdam, dict(lr=0.001, betas=[0.8, 0.95], eps=1e-2)),
    ("nadam", optim.NAdam, dict(lr=0.01, weight_decay=0.05, momentum_decay=0.02, eps=1e-3)),
    ("nadam", optim.NAdam, dict(lr=0.01, weight_decay=0.2, decoupled_weight_decay=True)),
    ("radam", optim.RAdam, dict(lr=0.01)),
    ("radam", optim.RAdam, dict(lr=0.002, betas=[0.8, 0.95], eps=1e-4)),
    ("radam", optim.RAdam, dict(lr=0.01, weight_decay=0.05)),
    ("radam", optim.RAdam, dict(lr=0.01, weight_decay=0.2, decoupled_weight_decay=True)),
    ("adamax", optim.Adamax, dict(lr=0.01)),
    ("adamax", optim.Adamax, dict(lr=0.005, betas=[0.8, 0.95], eps=1e-2)),
    ("adamax", optim.Adamax, dict(lr=0.01, weight_decay=0.05)),
    ("rmsprop", optim.RMSprop, dict(lr=0.0005)),
    ("rmsprop", optim.RMSprop, dict(lr=0.001, alpha=0.9, eps=0.1)),
    ("rmsprop", optim.RMSprop, dict(lr=0.0005, momentum=0.5, weight_decay=0.05, eps=0.01)),
    ("rmsprop", optim.RMSprop, dict(lr=0.0005, centered=True, eps=0.01)),
    ("rmsprop", optim.RMSprop, dict(lr=0.0005, centered=True, momentum=0.5, eps=0.1)),
    ("adagrad", optim.Adagrad, dict(lr=0.05)),
    ("adagrad", optim.Adagrad, dict(lr=0.05, lr_decay=0.01, weight_decay=0.05)),
    ("adagrad", optim.Adagrad, dict(lr=0.05, initial_accumulator_value=0.1, eps=0.01)),
    ("adadelta", optim.Adadelta, dict()),
    ("adadelta", optim.Adadelta, dict(lr=0.5, rho=0.95, eps=1e-4, weight_decay=0.02)),
    ("lion", "lion", dict(lr=2**-13)),  # powers of 2: sums of them are exact in f32
    ("lion", "lion", dict(lr=2**-12, betas=[0.8, 0.95], weight_decay=0.1)),
    ("lamb", "lamb", dict(lr=0.0005)),
    ("lamb", "lamb", dict(lr=0.0005, betas=[0.8, 0.95], eps=1e-3, weight_decay=0)),
    ("lamb", "lamb", dict(lr=0.001, weight_decay=0.3)),
    ("muon", "muon", dict(lr=3e-4)),
    ("muon", "muon", dict(lr=3e-4, momentum=0.8, nesterov=False, weight_decay=0.3)),
    ("muon", "muon", dict(lr=3e-4, adjust_lr_fn="match_rms_adamw", ns_coefficients=[3, -3.2, 1.2], ns_steps=3, eps=0.5)),
    ("muon", "muon", dict(lr=5e-4, adamw_betas=[0.8, 0.95], adamw_eps=1e-3)),
]


class NumpyOptimizer:
    """As torch.optim: updates parameters in place from their gradients, in f64."""

    def __init__(self, parameters, **config):
        self.parameters, self.t = list(parameters), 0
        self.state = [{} for _ in self.parameters]
        self.config = {**self.defaults, **config}

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    def step(self):
        self.t += 1
        for p, state in zip(self.parameters, self.state):
            value = p.detach().numpy()
            value[...] = self.update(value.copy(), p.grad.numpy(), state, **self.config)

    def moments(self, g, state, betas):
        m = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
        v = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
        state.update(m=m, v=v)
        return m / (1 - betas[0] ** self.t), v / (1 - betas[1] ** self.t)


class Lion(NumpyOptimizer):
    """Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2."""
    defaults = dict(lr=1e-4, betas=[0.9, 0.99], weight_decay=0)

    def update(self, p, g, state, lr, betas, weight_decay):
        m = state.get("m", 0)
        c = betas[0] * m + (1 - betas[0]) * g
        state["m"] = betas[1] * m + (1 - betas[1]) * g
        return p - lr * (np.sign(c) + weight_decay * p)


class Lamb(NumpyOptimizer):
    """You et al. 2020, "Large batch optimization for deep learning", algorithm 2 with phi(z) = z."""
    defaults = dict(lr=1e-3, betas=[0.9, 0.999], eps=1e-6, weight_decay=0.01)

    def update(self, p, g, state, lr, betas, eps, weight_decay):
        m, v = self.moments(g, state, betas)
        r = m / (np.sqrt(v) + eps) + weight_decay * p
        norms = np.linalg.norm(p), np.linalg.norm(r)
        return p - lr * (norms[0] / norms[1] if min(norms) > 0 else 1) * r


class Muon(NumpyOptimizer):
    """Jordan et al. 2024, kellerjordan.github.io/posts/muon, as torch.optim.Muon but in f64; vectors by AdamW."""
    defaults = dict(lr=1e-3, weight_decay=0.1, momentum=0.95, nesterov=True, ns_coefficients=[3.4445, -4.775, 2.0315], eps=1e-7,
                    ns_steps=5, adjust_lr_fn="original", adamw_betas=[0.9, 0.999], adamw_eps=1e-8)

    def update(self, p, g, state, lr, weight_decay, momentum, nesterov, ns_coefficients, eps, ns_steps, adjust_lr_fn, adamw_betas,
               adamw_eps):
        p = p * (1 - lr * weight_decay)
        if p.ndim < 2:
            m, v = self.moments(g, state, adamw_betas)
            return p - lr * m / (np.sqrt(v) + adamw_eps)
        b = state["b"] = momentum * state.get("b", 0) + (1 - momentum) * g
        u = momentum * b + (1 - momentum) * g if nesterov else b
        x = u / max(np.linalg.norm(u), eps)
        for _ in range(ns_steps):
            a = x @ x.T
            x = ns_coefficients[0] * x + (ns_coefficients[1] * a + ns_coefficients[2] * a @ a) @ x
        rows, columns = p.shape
        scale = math.sqrt(max(1, rows / columns)) if adjust_lr_fn == "original" else 0.2 * math.sqrt(max(rows, columns))
        return p - lr * scale * x


WRITTEN_OUT = dict(lion=Lion, lamb=Lamb, muon=Muon)


def tensor(stream, *shape):
    return torch.tensor(formula_values(stream, math.prod(shape)), dtype=torch.float64).reshape(shape)


def trajectory(kind, config, make=None):
    w, b = tensor(1, 3, 4).requires_grad_(), tensor(2, 4).requires_grad_()
    x, y = tensor(3, 8, 3), tensor(4, 8, 4)
    kind = WRITTEN_OUT.get(kind, kind)
    optimizer = make(w, b) if make else kind([w, b], **config)
    kept = []
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        ((x @ w + b - y) ** 2).mean().backward()
        optimizer.step()
        if step in KEPT:
            kept.append([float(f"{v:.13g}") for v in w.detach().flatten().tolist() + b.tolist()])
    return kept


def rates_of(schedule, optimizer, steps, observe=None):
    rates = []
    for i in range(steps):
        rates.append(float(f"{optimizer.param_groups[0]['lr']:.14g}"))
        optimizer.step()
        schedule.step(*([observe[i]] if observe else []))
    return rates


def curve(make, steps=60, lr=0.2, observe=None):
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    return rates_of(make(optimizer), optimizer, steps, observe)


def sequence(o):
    parts = [lrs.LinearLR(o, 0.1, 1, 10), lrs.ExponentialLR(o, 0.9), lrs.CosineAnnealingLR(o, 40, 0.01)]
    return lrs.SequentialLR(o, parts, milestones=[10, 25])


SCHEDULES = [
    (dict(type="constant", factor=0.25, total_iters=7), lambda o: lrs.ConstantLR(o, 0.25, 7)),
    (dict(type="multi-step", milestones=[5, 20, 21], gamma=0.3), lambda o: lrs.MultiStepLR(o, [5, 20, 21], 0.3)),
    (dict(type="multi-step", milestones=[30]), lambda o: lrs.MultiStepLR(o, [30])),
    (dict(type="exponential", gamma=0.93), lambda o: lrs.ExponentialLR(o, 0.93)),
    (dict(type="linear"), lambda o: lrs.LinearLR(o)),
    (dict(type="linear", start_factor=0.9, end_factor=0.1, total_iters=40), lambda o: lrs.LinearLR(o, 0.9, 0.1, 40)),
    (dict(type="polynomial"), lambda o: lrs.PolynomialLR(o)),
    (dict(type="polynomial", total_iters=40, power=2.5), lambda o: lrs.PolynomialLR(o, 40, 2.5)),
    (dict(type="cosine-restarts", T_0=13, eta_min=0.01), lambda o: lrs.CosineAnnealingWarmRestarts(o, 13, 1, 0.01)),
    (dict(type="cosine-restarts", T_0=4, T_mult=2), lambda o: lrs.CosineAnnealingWarmRestarts(o, 4, 2)),
    (dict(type="cosine-restarts", T_0=1, T_mult=5), lambda o: lrs.CosineAnnealingWarmRestarts(o, 1, 5)),
    (dict(type="one-cycle", total_steps=60), lambda o: lrs.OneCycleLR(o, 0.2, 60, cycle_momentum=False)),
    (dict(type="one-cycle", total_steps=60, pct_start=0.2, anneal_strategy="linear", div_factor=10, final_div_factor=100),
     lambda o: lrs.OneCycleLR(o, 0.2, 60, pct_start=0.2, anneal_strategy="linear", cycle_momentum=False, div_factor=10,
                              final_div_factor=100)),
    (dict(type="one-cycle", total_steps=60, three_phase=True),
     lambda o: lrs.OneCycleLR(o, 0.2, 60, three_phase=True, cycle_momentum=False)),
    (dict(type="sequence", milestones=[10, 25], schedules=[dict(type="linear", start_factor=0.1, total_iters=10),
                                                          dict(type="exponential", gamma=0.9),
                                                          dict(type="cosine", total_steps=40, eta_min=0.01)]), sequence),
]
LAMBDAS = [lambda t: 0.95**t, lambda t: 1 / (1 + 0.1 * t), lambda t: min((t + 1) / 20, 1)]  # those of tests/optim/trajectory_test.cpp
PLATEAUS = [
    dict(),
    dict(patience=2, factor=0.5),
    dict(patience=1, threshold=0.05, cooldown=3, min_lr=0.01),
    dict(patience=1, threshold=0.02, threshold_mode="abs", factor=0.3),
    dict(patience=0, mode="max"),
    dict(patience=0, mode="max", threshold=0.02, threshold_mode="abs", eps=0.05),
]


def main():
    torch.set_default_dtype(torch.float64)  # of the counters that optimizers keep
    losses = [max(0.3, 1 / (1 + i / 5)) + 0.05 * v for i, v in enumerate(formula_values(7, 60))]
    biases = lambda w, b: optim.SGD([dict(params=[w]), dict(params=[b], lr=0.2, weight_decay=0.1)], lr=0.05, momentum=0.5)
    groups = [dict(parameters="b", lr=0.2, weight_decay=0.1)]
    grouped = dict(type="sgd", lr=0.05, momentum=0.5, groups=groups)
    print(json.dumps({
        "pytorch": torch.__version__,
        "steps": KEPT,
        "trajectories": [dict(optimizer=dict(type=name, **config), values=trajectory(kind, config)) for name, kind, config in CASES]
                        + [dict(optimizer=grouped, values=trajectory(None, None, biases))],
        "schedules": [dict(schedule=spec, lr=0.2, rates=curve(make)) for spec, make in SCHEDULES],
        "lambdas": [dict(lr=0.2, rates=curve(lambda o: lrs.LambdaLR(o, factor))) for factor in LAMBDAS],
        "losses": losses,
        "plateaus": [dict(schedule=dict(type="reduce-on-plateau", **config), lr=0.2,
                          rates=curve(lambda o: lrs.ReduceLROnPlateau(o, **config), observe=losses)) for config in PLATEAUS],
    }, separators=(",", ":")).replace("},{", "},\n{"))


if __name__ == "__main__":
    main()
