"""Writes trajectories.json: 200 steps of training losses of three networks in PyTorch, float32, cross-entropy.

usage: python3 trajectories.py > trajectories.json
Weights and biases are formula_values(stream, n) * sqrt(6 / fan_in), streams 1, 2, ... in the order of parameters; step s trains on
batch s % BATCHES, whose labels are stream 2000 + batch and whose inputs are stream 1000 + batch plus stream 3000 + label of each
sample.

A curve is a useful reference only where rounding does not decide it: one ReLU or max-pooling window whose winner changes with the
last bit moves LeNet's losses by 1e-3. The rates below are such that starting weights moved by 1e-6 (ten times float32's rounding)
leave the whole curve within 1e-5; the script prints that spread.
"""
import json
import math
import sys

import torch
import torch.nn as nn

from formula import formula_labels, formula_values

STEPS, BATCHES, BATCH = 200, 4, 4


def lenet():
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10))


def mlp():
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def w4s():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1),
                         nn.ReLU(), nn.Flatten(), nn.Linear(2048, 64), nn.ReLU(), nn.Linear(64, 2))


NETWORKS = {"lenet": (lenet, (1, 28, 28), 10), "w3": (mlp, (784,), 10), "w4s": (w4s, (3, 64, 64), 2)}
RATES = {"lenet": (0.00015, 0.000035), "w3": (0.0002, 0.00002), "w4s": (0.0001, 0.00005)}  # of SGD and Adam


def set_parameters(model, moved, seed):
    fan_in, random = None, torch.Generator().manual_seed(seed)
    for stream, p in enumerate(model.parameters(), 1):
        if p.dim() > 1:
            fan_in = p[0].numel()
        values = [v * math.sqrt(6 / fan_in) for v in formula_values(stream, p.numel())]
        p.data = torch.tensor(values).reshape(p.shape)
        p.data *= 1 + moved * (2 * torch.rand(p.shape, generator=random) - 1)


def losses(name, config, moved=0, seed=0):
    make, shape, classes = NETWORKS[name]
    model = make()
    set_parameters(model, moved, seed)
    count = math.prod(shape)
    patterns = torch.tensor([formula_values(3000 + k, count) for k in range(classes)])
    noise = [torch.tensor(formula_values(1000 + b, BATCH * count)).reshape(BATCH, -1) for b in range(BATCHES)]
    ys = [torch.tensor(formula_labels(2000 + b, BATCH, classes)) for b in range(BATCHES)]
    xs = [(noise[b] + patterns[ys[b]]).reshape(BATCH, *shape) for b in range(BATCHES)]
    options = {k: v for k, v in config.items() if k != "type"}
    optimizer = (torch.optim.SGD if config["type"] == "sgd" else torch.optim.Adam)(model.parameters(), **options)
    curve = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(xs[step % BATCHES]), ys[step % BATCHES])
        loss.backward()
        optimizer.step()
        curve.append(float(f"{loss.item():.8g}"))
    return curve


def main():
    torch.set_num_threads(1)
    runs = []
    for name in NETWORKS:
        sgd, adam = RATES[name]
        for config in (dict(type="sgd", lr=sgd, momentum=0.9), dict(type="adam", lr=adam)):
            run = dict(model=name, optimizer=config, losses=losses(name, config))
            spread = max(abs(a - b) / b for seed in range(4) for a, b in zip(losses(name, config, 1e-6, seed), run["losses"]))
            print(f"{name} {config['type']}: loss {run['losses'][0]:.4f} -> {run['losses'][-1]:.4f}, spread {spread:.1e}",
                  file=sys.stderr)
            runs.append(run)
    print(json.dumps(dict(pytorch=torch.__version__, batch=BATCH, batches=BATCHES, runs=runs), separators=(",", ":"))
          .replace("},{", "},\n{"))


if __name__ == "__main__":
    main()
