"""Writes optimizers.json: trajectories of PyTorch's optimizers in float64, and learning-rate curves of its schedules.

usage: python3 optimizers.py > optimizers.json
The problem: minimise the mean of (x w + b - y)^2 over w [3, 4] and b [4], with x [8, 3] and y [8, 4]; all from formula.py.
"""
import json

import torch
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR, StepLR

from formula import formula_values

STEPS = 1000
KEPT = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
CASES = [
    ("sgd", SGD, dict(lr=0.05)),
    ("sgd", SGD, dict(lr=0.05, weight_decay=0.02)),
    ("sgd", SGD, dict(lr=0.01, momentum=0.9)),
    ("sgd", SGD, dict(lr=0.01, momentum=0.9, dampening=0.3)),
    ("sgd", SGD, dict(lr=0.01, momentum=0.9, weight_decay=0.02)),
    ("sgd", SGD, dict(lr=0.01, momentum=0.9, nesterov=True)),
    ("sgd", SGD, dict(lr=0.01, momentum=0.8, nesterov=True, weight_decay=0.02)),
    ("adam", Adam, dict(lr=0.01)),
    ("adam", Adam, dict(lr=0.003, betas=[0.8, 0.95], eps=1e-4)),
    ("adam", Adam, dict(lr=0.01, weight_decay=0.05)),
    ("adamw", AdamW, dict(lr=0.01)),
    ("adamw", AdamW, dict(lr=0.01, weight_decay=0.2)),
]


def tensor(stream, *shape):
    count = 1
    for extent in shape:
        count *= extent
    return torch.tensor(formula_values(stream, count), dtype=torch.float64).reshape(shape)


def trajectory(kind, config):
    w, b = tensor(1, 3, 4).requires_grad_(), tensor(2, 4).requires_grad_()
    x, y = tensor(3, 8, 3), tensor(4, 8, 4)
    optimizer = kind([w, b], **config)
    kept = []
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        ((x @ w + b - y) ** 2).mean().backward()
        optimizer.step()
        if step in KEPT:
            kept.append([float(f"{v:.13g}") for v in w.detach().flatten().tolist() + b.tolist()])
    return kept


def warmed_up(optimizer, steps, start_factor, after):
    rise = LinearLR(optimizer, start_factor=start_factor, total_iters=steps)
    return SequentialLR(optimizer, [rise, after], milestones=[steps])


def curve(make, steps=60, lr=0.2):
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    schedule = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(float(f"{optimizer.param_groups[0]['lr']:.13g}"))
        optimizer.step()
        schedule.step()
    return rates


def main():
    schedules = [
        (dict(type="step", step_size=7, gamma=0.5), lambda o: StepLR(o, 7, 0.5)),
        (dict(type="cosine", total_steps=60, eta_min=0.01), lambda o: CosineAnnealingLR(o, 60, 0.01)),
        (dict(type="cosine", total_steps=60, warmup_steps=12, warmup_start_factor=0.1),
         lambda o: warmed_up(o, 12, 0.1, CosineAnnealingLR(o, 48))),
        (dict(type="step", step_size=10, gamma=0.1, warmup_steps=5),
         lambda o: warmed_up(o, 5, 1 / 3, StepLR(o, 10, 0.1))),
    ]
    print(json.dumps({
        "pytorch": torch.__version__,
        "steps": KEPT,
        "trajectories": [dict(optimizer=dict(type=name, **config), values=trajectory(kind, config))
                         for name, kind, config in CASES],
        "schedules": [dict(schedule=spec, lr=0.2, rates=curve(make)) for spec, make in schedules],
    }, separators=(",", ":")).replace("},{", "},\n{"))


if __name__ == "__main__":
    main()
