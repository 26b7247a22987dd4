"""Writes convergence.json: what PyTorch makes of the zoo's networks, untrained, and of its small CNN at two rates.

usage: python3 convergence.py > convergence.json

untrained: for every network, the mean over seeds of the loss under the default initialisation, of 64 samples of uniform noise with labels
i % classes, and the standard deviation over seeds. A loss exceeds ln(classes) by half the variance of the logits times 1 - 1/classes, which
is most for w1, whose last layer has eight inputs.

rates: losses of the small CNN, without dropout, over 40 steps of SGD with momentum on one batch: pixels and labels from formula.py, kernels and
matrices formula_values(stream) * sqrt(6 / fan_in), streams 1, 2, ... in the order of parameters, biases 0. The spread is the largest
relative difference of a loss when starting weights move by 1e-6 of themselves, ten times float32's rounding.
"""
import json
import math
import sys

import torch
import torch.nn as nn

from formula import formula_labels, formula_values
from trajectories import lenet, mlp, w4s

STEPS, BATCH = 40, 64
RATES = (0.002, 0.02)


def simple_cnn(p):
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
                         nn.Linear(784, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 10))


def w1():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def w4():
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(262144, 128), nn.ReLU(), nn.Linear(128, 2))


NETWORKS = {"mlp": (mlp, (784,), 10), "lenet": (lenet, (1, 28, 28), 10), "simple-cnn": (lambda: simple_cnn(0.25), (1, 28, 28), 10),
            "w1": (w1, (3, 32, 32), 2), "w2": (lenet, (1, 28, 28), 10), "w3": (mlp, (784,), 10), "w4s": (w4s, (3, 64, 64), 2),
            "w4": (w4, (3, 64, 64), 2)}


def untrained(name):
    make, shape, classes = NETWORKS[name]
    labels = torch.arange(BATCH) % classes
    losses = []
    for seed in range(8 if name == "w4" else 256):
        torch.manual_seed(seed)
        x = (torch.randint(0, 256, (BATCH, *shape)) / 255 - 0.5) / 0.289
        with torch.no_grad():
            losses.append(nn.functional.cross_entropy(make()(x), labels))
    losses = torch.stack(losses).double()
    print(f"{name}: {losses.mean() / math.log(classes):.4f} ln K, deviation {losses.std() / math.log(classes):.4f}", file=sys.stderr)
    return dict(model=name, mean=float(f"{losses.mean():.6f}"), deviation=float(f"{losses.std():.6f}"))


def curve(rate, moved=0, seed=0):
    model, random = simple_cnn(0), torch.Generator().manual_seed(seed)
    for stream, p in enumerate(model.parameters(), 1):
        if p.dim() > 1:
            values = [v * math.sqrt(6 / p[0].numel()) for v in formula_values(stream, p.numel())]
            p.data = torch.tensor(values).reshape(p.shape) * (1 + moved * (2 * torch.rand(p.shape, generator=random) - 1))
        elif stream in (3, 6, 8, 10):  # biases; the others are BatchNorm's scales, which start as 1
            p.data.zero_()
    pixels = torch.tensor([math.floor((v + 1) * 128) for v in formula_values(1000, BATCH * 784)]).reshape(BATCH, 1, 28, 28)
    x, labels = (pixels / 255 - 0.1) / 0.3, torch.tensor(formula_labels(2000, BATCH, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(f"{loss.item():.8g}"))
    return losses


def main():
    torch.set_num_threads(1)
    rates = []
    for rate in RATES:
        losses = curve(rate)
        spread = max(abs(a - b) / b for seed in range(4) for a, b in zip(curve(rate, 1e-6, seed), losses))
        print(f"rate {rate}: loss {losses[0]:.4f} -> {losses[-1]:.4f}, spread {spread:.1e}", file=sys.stderr)
        rates.append(dict(lr=rate, momentum=0.9, losses=losses))
    print(json.dumps(dict(pytorch=torch.__version__, untrained=[untrained(name) for name in NETWORKS], rates=rates), separators=(",", ":"))
          .replace("},{", "},\n{"))


if __name__ == "__main__":
    main()
