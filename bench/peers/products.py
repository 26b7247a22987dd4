#!/usr/bin/env python3
"""Adds PyTorch's figures to what bench/compute_bound prints: the same products and convolutions, in TF32, replayed as a CUDA graph.

usage: compute_bound cuda | products.py"""
import sys
import time

import torch
from torch.nn import functional

torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
torch.backends.cudnn.benchmark = True
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def work(words):
    """The function that a line of compute_bound names."""
    def random(*shape):
        return torch.rand(shape, device=DEVICE) * 4 - 2

    if words[0] == "matmul":
        (batch, m, n, k), form = map(int, words[1:5]), words[5]
        lead = (batch,) if batch > 1 else ()
        a = random(*lead, k, m).mT if form[0] == "t" else random(*lead, m, k)
        b = random(*lead, n, k).mT if form[1] == "t" else random(*lead, k, n)
        return lambda: a @ b
    batch, inputs, outputs, side, kernel, stride = map(int, words[1:7])
    x, weight = random(batch, inputs, side, side), random(outputs, inputs, kernel, kernel)
    options = {"stride": stride, "padding": kernel // 2}
    if words[7] == "y":
        return lambda: functional.conv2d(x, weight, **options)
    gradient = torch.rand_like(functional.conv2d(x, weight, **options))
    mask = [words[7] == "dx", words[7] == "dw", False]
    return lambda: torch.ops.aten.convolution_backward(gradient, x, weight, None, [stride] * 2, [kernel // 2] * 2, [1, 1], False, [0, 0], 1, mask)


def seconds(function):
    """Of one run among many, the least of five rounds."""
    for _ in range(3):
        function()
    times, run = 1, function
    if DEVICE == "cuda":
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(16):
                function()
        times, run = 16, graph.replay

    def measured(repeats):
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / repeats / times

    repeats = max(1, int(0.02 / (measured(1) * times)))
    return min(measured(repeats) for _ in range(5))


known = {}  # a convolution has a line for each of our kernels
for line in sys.stdin:
    words = line.split()
    if words[0] not in ("matmul", "conv"):
        print(line.rstrip() + f" {'PyTorch':>9} {'ratio':>7}", flush=True)
        continue
    ours, operations = float(words[-2]), float(words[-3])
    name = tuple(words[:8])
    if name not in known:
        known[name] = seconds(work(words))
    theirs = known[name]
    print(line.rstrip() + f" {operations / theirs / 1e3:>9.1f} {theirs * 1e6 / ours:>7.2f}", flush=True)
