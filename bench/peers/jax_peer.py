#!/usr/bin/env python3
"""The JAX side of the training-step comparison: the same networks, optimizers and protocol as `wholestep bench`.

usage: jax_peer.py [--work W1,W2] [--mode jit,scan] [--device cpu|cuda] [--infer] [--seconds S] [--tf32 0|1]

Prints one JSON line a workload and mode with the fields of `wholestep bench --json`. Images are NHWC, which XLA prefers. Modes: jit
(the whole step compiled, parameters donated) and scan (64 steps a call)."""
import argparse
import json
import os
import time

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
import jax
import jax.numpy as jnp
from jax import lax

WARM_UP, BATCHES, ROUNDS, SCANNED = 8, 4, 3, 64


def conv(x, weight, bias, stride=1, padding=1):
    pads = [(padding, padding)] * 2
    return lax.conv_general_dilated(x, weight, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def dense(parameters, x):
    for weight, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    return x @ parameters[-1][0] + parameters[-1][1]


def tiny(p, x):
    return dense(p[1:], jax.nn.relu(conv(x, *p[0])).mean((1, 2)))


def lenet(p, x):
    x = max_pool(jax.nn.relu(conv(x, *p[0], padding=2)))
    x = max_pool(jax.nn.relu(conv(x, *p[1], padding=0)))
    return dense(p[2:], x.reshape(x.shape[0], -1))


def convolutional(stride):
    def model(p, x):
        for weight, bias in p[:3]:
            x = jax.nn.relu(conv(x, weight, bias, stride))
        return dense(p[3:], x.reshape(x.shape[0], -1))
    return model


# name: (model, weight shapes, batch shape, classes, optimizer)
WORK = {
    "W1": (tiny, [(3, 3, 3, 8), (8, 2)], (32, 32, 32, 3), 2, "sgd"),
    "W2": (lenet, [(5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10)], (64, 28, 28, 1), 10, "momentum"),
    "W3": (dense, [(784, 256), (256, 128), (128, 10)], (32, 784), 10, "adam"),
    "W4": (convolutional(1), [(3, 3, 3, 16), (3, 3, 16, 32), (3, 3, 32, 64), (262144, 128), (128, 2)], (32, 64, 64, 3), 2, "adam"),
    "W4s": (convolutional(2), [(3, 3, 3, 8), (3, 3, 8, 16), (3, 3, 16, 32), (2048, 64), (64, 2)], (32, 64, 64, 3), 2, "adam"),
}


def initial(shapes):
    key, parameters = jax.random.PRNGKey(0), []
    for shape in shapes:
        key, own = jax.random.split(key)
        fan_in = 1
        for extent in shape[:-1]:
            fan_in *= extent
        parameters.append((jax.random.normal(own, shape) * (2.0 / fan_in) ** 0.5, jnp.zeros(shape[-1:])))
    return parameters


def make_step(model, optimizer):
    tree_map = jax.tree_util.tree_map

    def loss(parameters, x, labels):
        return -jnp.take_along_axis(jax.nn.log_softmax(model(parameters, x)), labels[:, None], 1).mean()

    def step(state, batch):
        p, m, v, t = state
        g = jax.grad(loss)(p, *batch)
        t = t + 1
        if optimizer == "sgd":
            p = tree_map(lambda a, b: a - 0.01 * b, p, g)
        elif optimizer == "momentum":
            m = tree_map(lambda a, b: 0.9 * a + b, m, g)
            p = tree_map(lambda a, b: a - 0.01 * b, p, m)
        else:
            m = tree_map(lambda a, b: 0.9 * a + 0.1 * b, m, g)
            v = tree_map(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
            c1, c2 = 1 - 0.9 ** t, 1 - 0.999 ** t
            p = tree_map(lambda a, b, c: a - 1e-3 * (b / c1) / (jnp.sqrt(c / c2) + 1e-8), p, m, v)
        return p, m, v, t

    return step


def measure(name, mode, a):
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if a.tf32 else "highest")
    model, shapes, shape, classes, optimizer = WORK[name]
    parameters = initial(shapes)
    zeros = lambda: jax.tree_util.tree_map(jnp.zeros_like, parameters)
    state = (parameters, zeros(), zeros(), jnp.zeros(()))
    key = jax.random.PRNGKey(1)
    xs, labels = jax.random.normal(key, (BATCHES, *shape)), jax.random.randint(key, (BATCHES, shape[0]), 0, classes)
    steps_a_call = 1
    if a.infer:
        predict, batches = jax.jit(model), [xs[i] for i in range(BATCHES)]
        call = lambda s, i: (s, predict(parameters, batches[i % BATCHES]))
    elif mode == "jit":
        step, batches = jax.jit(make_step(model, optimizer), donate_argnums=0), [(xs[i], labels[i]) for i in range(BATCHES)]
        call = lambda s, i: (step(s, batches[i % BATCHES]),) * 2
    else:
        step, steps_a_call = make_step(model, optimizer), SCANNED
        many = jax.jit(lambda s: lax.scan(lambda c, i: (step(c, (xs[i % BATCHES], labels[i % BATCHES])), 0), s, jnp.arange(SCANNED))[0],
                       donate_argnums=0)
        call = lambda s, i: (many(s),) * 2

    def run(calls):
        nonlocal state
        jax.block_until_ready(state)
        start, result = time.perf_counter(), None
        for i in range(calls):
            state, result = call(state, i)
        jax.block_until_ready(result)
        return calls * steps_a_call / (time.perf_counter() - start)

    run(WARM_UP)
    calls = max(5, int(a.seconds / ROUNDS * run(20) / steps_a_call))
    low, middle, high = sorted(run(calls) for _ in range(ROUNDS))
    return {"peer": f"JAX {jax.__version__}", "work": name, "mode": mode, "device": a.device, "infer": a.infer, "steps_s": round(middle, 2),
            "lo": round(low, 2), "hi": round(high, 2), "samples_s": round(middle * shape[0], 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", default=",".join(WORK))
    parser.add_argument("--mode", default="jit,scan")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--threads", type=int, default=0, help="accepted and unused: XLA takes all cores")
    parser.add_argument("--tf32", type=int, choices=[0, 1], default=1)
    parser.add_argument("--infer", action="store_true")
    a = parser.parse_args()
    jax.config.update("jax_platforms", a.device)
    for name in a.work.split(","):
        for mode in a.mode.split(","):
            print(json.dumps(measure(name, mode, a)), flush=True)


if __name__ == "__main__":
    main()
