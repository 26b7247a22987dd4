#!/usr/bin/env python3
"""The PyTorch side of the training-step comparison: the same networks, optimizers and protocol as `wholestep bench`.

usage: pytorch.py [--work W1,W2] [--mode eager,compile,graph] [--device cpu|cuda] [--infer] [--threads N] [--seconds S] [--tf32 0|1]

Prints one JSON line a workload and mode with the fields of `wholestep bench --json`. Four random batches on the device take turns;
after eight warm-up steps three rounds are timed and the middle one counts. Modes: eager; compile (torch.compile of the model);
graph (the whole step captured as one CUDA graph, the batch copied into its slots)."""
import argparse
import json
import resource
import time
import warnings

import torch
from torch import nn

WARM_UP, BATCHES, ROUNDS = 8, 4, 3
warnings.filterwarnings("ignore")


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
    return lambda parameters, **options: torch.optim.SGD(parameters, lr=0.01, momentum=momentum, **options)


def adam(parameters, capturable=False, **options):
    return torch.optim.Adam(parameters, lr=1e-3, capturable=capturable, **options)


# name: (layers, batch shape, classes, optimizer)
WORK = {
    "W1": (lambda: [*convolutions([3, 8], 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)], (32, 3, 32, 32), 2, sgd()),
    "W2": (lambda: [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                    nn.Flatten(), *dense(400, 120, 84, 10)], (64, 1, 28, 28), 10, sgd(0.9)),
    "W3": (lambda: dense(784, 256, 128, 10), (32, 784), 10, adam),
    "W4": (lambda: [*convolutions([3, 16, 32, 64], 1), nn.Flatten(), *dense(262144, 128, 2)], (32, 3, 64, 64), 2, adam),
    "W4s": (lambda: [*convolutions([3, 8, 16, 32], 2), nn.Flatten(), *dense(2048, 64, 2)], (32, 3, 64, 64), 2, adam),
}


def from_torchvision(name):
    """One of the large networks; torchvision is asked for only by whoever measures them."""
    def make():
        import torchvision

        return [getattr(torchvision.models, name)(num_classes=1000)]

    return make


WORK_OF_PICTURES = {
    "R18": (from_torchvision("resnet18"), (32, 3, 224, 224), 1000, adam),
    "R50": (from_torchvision("resnet50"), (32, 3, 224, 224), 1000, adam),
    "V16": (from_torchvision("vit_b_16"), (32, 3, 224, 224), 1000, adam),
}


def make_step(model, optimizer, infer):
    def train(x, labels):
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    @torch.inference_mode()
    def evaluate(x, labels):
        model(x)

    return evaluate if infer else train


def captured(step, x, labels):
    """The step as a CUDA graph over slots that each batch is copied into."""
    slots = x.clone(), labels.clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(5):
            step(*slots)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(*slots)

    def replay(x, labels):
        slots[0].copy_(x)
        slots[1].copy_(labels)
        graph.replay()

    return replay


def measure(name, mode, a):
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = bool(a.tf32)
    torch.backends.cudnn.benchmark = True
    cuda = a.device == "cuda"
    layers, shape, classes, make_optimizer = (WORK | WORK_OF_PICTURES)[name]
    model = nn.Sequential(*layers()).to(a.device)
    options = {"fused": True} if cuda else {}
    if mode == "graph" and make_optimizer is adam:
        options["capturable"] = True
    optimizer = make_optimizer(model.parameters(), **options)
    batches = [(torch.randn(shape, device=a.device), torch.randint(0, classes, shape[:1], device=a.device)) for _ in range(BATCHES)]
    step = make_step(torch.compile(model) if mode == "compile" else model, optimizer, a.infer)
    if mode == "graph":
        step = captured(step, *batches[0])

    def run(steps):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter()
        for i in range(steps):
            step(*batches[i % BATCHES])
        if cuda:
            torch.cuda.synchronize()
        return steps / (time.perf_counter() - start)

    run(WARM_UP)
    steps = max(5, int(a.seconds / ROUNDS * run(100 if cuda else BATCHES)))
    low, middle, high = sorted(run(steps) for _ in range(ROUNDS))
    peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peer": f"PyTorch {torch.__version__}", "work": name, "mode": mode, "device": a.device, "infer": a.infer,
            "threads": torch.get_num_threads(), "steps_s": round(middle, 2), "lo": round(low, 2), "hi": round(high, 2),
            "samples_s": round(middle * shape[0], 1), "peak_mib": round(peak, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=",".join(WORK))
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--mode", default="eager")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tf32", type=int, choices=[0, 1], default=1)
    parser.add_argument("--infer", action="store_true")
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    for name in a.work.split(","):
        for mode in a.mode.split(","):
            print(json.dumps(measure(name, mode, a)), flush=True)


if __name__ == "__main__":
    main()
