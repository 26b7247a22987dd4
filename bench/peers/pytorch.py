#!/usr/bin/env python3
"""The PyTorch side of the training-step comparison, on the CPU: the same networks, optimizers and protocol as `wholestep bench`.

usage: pytorch.py [--work W1,W2] [--threads N] [--seconds S] [--mode eager] [--device cpu]

Prints one JSON line a workload with the fields of `wholestep bench --json`. Four random batches in memory take turns; after eight
warm-up steps three rounds are timed and the middle one counts. --mode and --device exist for callers that name them; only
"eager" and "cpu" are accepted."""
import argparse
import json
import resource
import time

import torch
from torch import nn

WARM_UP, BATCHES, ROUNDS = 8, 4, 3


def convolutions(channels, stride):
    layers = []
    for inputs, outputs in zip(channels, channels[1:]):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.ReLU()]
    return layers


def dense(*sizes):
    layers = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]


def sgd(momentum=0.0):
    return lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=momentum)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


# name: (layers, batch shape, classes, optimizer)
WORK = {
    "W1": (lambda: [*convolutions([3, 8], 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)], (32, 3, 32, 32), 2, sgd()),
    "W2": (lambda: [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                    nn.Flatten(), *dense(400, 120, 84, 10)], (64, 1, 28, 28), 10, sgd(0.9)),
    "W3": (lambda: dense(784, 256, 128, 10), (32, 784), 10, adam),
    "W4": (lambda: [*convolutions([3, 16, 32, 64], 1), nn.Flatten(), *dense(262144, 128, 2)], (32, 3, 64, 64), 2, adam),
    "W4s": (lambda: [*convolutions([3, 8, 16, 32], 2), nn.Flatten(), *dense(2048, 64, 2)], (32, 3, 64, 64), 2, adam),
}


def measure(name, seconds):
    torch.manual_seed(0)
    layers, shape, classes, make_optimizer = WORK[name]
    model = nn.Sequential(*layers())
    optimizer = make_optimizer(model.parameters())
    batches = [(torch.randn(shape), torch.randint(0, classes, shape[:1])) for _ in range(BATCHES)]

    def run(steps):
        start = time.perf_counter()
        for i in range(steps):
            x, labels = batches[i % BATCHES]
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x), labels).backward()
            optimizer.step()
        return steps / (time.perf_counter() - start)

    run(WARM_UP)
    steps = max(5, int(seconds / ROUNDS * run(BATCHES)))
    low, middle, high = sorted(run(steps) for _ in range(ROUNDS))
    return {"peer": f"PyTorch {torch.__version__}", "work": name, "mode": "eager", "device": "cpu", "infer": False, "threads": torch.get_num_threads(),
            "steps_s": round(middle, 2), "lo": round(low, 2), "hi": round(high, 2), "samples_s": round(middle * shape[0], 1),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=",".join(WORK))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--mode", choices=["eager"], default="eager")
    parser.add_argument("--device", choices=["cpu"], default="cpu")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    for name in a.work.split(","):
        print(json.dumps(measure(name, a.seconds)), flush=True)


if __name__ == "__main__":
    main()
